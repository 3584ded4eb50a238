"""The nearest products to a few vectors, under a filter: a plan, then its run.

A graph under a tight filter finds too little: nearly everything it meets is not wanted. So what the filter
keeps is counted first. Little enough, or cheap enough, is compared one by one ("exact"). Otherwise the graph
is asked as if there were no filter: of the rows around the query all may fit (its own category) or none
(another one), whatever the filter keeps of the whole. Did enough fit, that is the answer; did they not, the
part that did says how far the graph would have to look, and the cheaper of that and "exact" comes next.
Either way an answer holds nothing outside the filter, and lacks nothing while there is more inside.

What an answer holds once is a group: a product, or products that look alike (``index.groups``). A group is
shown by its best product, so all of this is said of groups; a product is the smallest of them.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, compress
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serving.index import cost
from serving.index.collapse import Collapse
from serving.index.groups import Grouping
from serving.index.kinds import parameters
from serving.index.loaded import Generation
from serving.index.looked import Looked, by_all, by_graph
from serving.index.part import rows_in

# Rows that are compared one by one without a further thought, whatever the dimension.
EXACT_ROWS = 500
# Rows that the graph is asked for under a filter without a first look, at most; and rows of such a look.
_MANY, _LOOK = 64, 24
# The least beam was measured for ten rows; each row more wants so much more of it: the farther a row, the
# likelier the graph missed one like it.
_MEASURED, _A_ROW = 10, 1.25
# A look at the graph that may be in vain is taken where it costs at most this part of "exact".
_WORTH_A_LOOK = 0.5
# Beyond what the plan expects to need: a group is often found by several of its rows.
_SLACK = 1.5
# Named beside a group's best product, and weighed for it: the members of a group hardly differ.
MAX_ALSO = 8
_WEIGHED = 64


@dataclass(frozen=True, slots=True)
class Plan:
    """How to search: compare what is kept, or ask the graph for ``fetch`` rows a vector."""

    kind: Literal["exact", "graph"]
    fetch: int = 0


class Hit(NamedTuple):
    """A product, its best cosine over all pairs of query row and own row, and that own row.

    ``also``: up to ``MAX_ALSO`` further products of its group that fit the filter, best first.
    """

    product: int
    row: int
    score: float
    also: tuple[int, ...] = ()


class Found(NamedTuple):
    """The best products of distinct groups, best first. ``exhausted``: no further group fits the filter."""

    hits: list[Hit]
    plan: Literal["exact", "graph"]
    rows_scanned: int
    exhausted: bool


@lru_cache(4096)
def plan_search(k: int, kept_rows: int, rows: int, rows_per_group: float, dim: int, least: int) -> Plan:
    """How to begin: exact where that is small or cheap, else the graph as if everything fitted.

    ``least`` is the least beam of the graph.
    """
    fetch = math.ceil(k * rows_per_group * _SLACK) if rows_per_group > 1 else k
    if kept_rows <= EXACT_ROWS:
        return Plan("exact")
    if kept_rows == rows:
        return _cheaper(fetch, kept_rows, rows, dim, least)
    # As many as it takes where what is kept lies all about; were that many, a look tells whether it does.
    needed = math.ceil(_SLACK * k * rows / kept_rows)
    fetch = max(fetch, needed if needed <= _MANY else _LOOK)
    return _cheaper(fetch, kept_rows, rows, dim, least, _WORTH_A_LOOK)


def _cheaper(fetch: int, kept_rows: int, rows: int, dim: int, least: int, worth: float = 1) -> Plan:
    graph_us, exact_us = cost.graph_us(_beam(fetch, least), dim), cost.exact_us(kept_rows, rows, dim)
    return Plan("graph", fetch) if fetch < rows and graph_us < worth * exact_us else Plan("exact")


def _beam(fetch: int, least: int) -> int:
    return least + math.ceil(_A_ROW * max(0, fetch - _MEASURED))


def search(
    generation: Generation,
    xq: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.bool_] | None = None,
    plan: Plan | None = None,
    collapse: Collapse = "product",
) -> Found:
    """The best products of the ``k`` best groups for the unit rows ``xq`` float32 (n, d).

    ``allowed`` bool (stored products,) is what ``Generation.mask`` keeps; what it does not neither makes a
    group nor is named in one. ``plan`` is made here unless given.
    """
    rows, dim, grouping = generation.manifest.rows, generation.manifest.dim, generation.groupings[collapse]
    products = generation.manifest.products
    kept_products = products if allowed is None else int(np.count_nonzero(allowed))
    if allowed is None:
        kept_groups = grouping.count
    else:
        kept_groups = kept_products if grouping.alone else grouping.kept(allowed)
    wanted, exhausted = min(k, kept_groups), kept_groups < k
    if not kept_groups:
        return Found([], "exact", 0, exhausted)
    rows_per_group = generation.alive_rows / grouping.count
    # About: to look at every row would take longer than many a search.
    kept_rows = rows if allowed is None else round(kept_products / products * generation.alive_rows)
    figures = generation.manifest.figures
    least = figures.beams[0].rows
    if plan is None:
        plan = plan_search(wanted, kept_rows, rows, rows_per_group, dim, least)
    if allowed is None:
        allowed = generation.alive
    usual = len(xq) == 1 and allowed is None and generation.delta is None
    scanned, kind, hits = 0, plan.kind, None
    while plan.kind == "graph" and hits is None:
        beam, share = _beam(plan.fetch, least), 1.0
        if usual:
            scanned += plan.fetch
            hits = _usual(generation, grouping, xq, wanted, plan.fetch, beam)
            near = hits[-1].score if hits else 1.0
        else:
            looked = by_graph(generation, xq, allowed, plan.fetch, beam)
            scanned, share, near = scanned + looked.scanned, looked.share, looked.near
            hits = _best(generation, grouping, looked, wanted)
        if hits is not None and figures.beam(near) > beam:
            least, hits = figures.beam(near), None  # farther off than the beam is for
        elif hits is None:
            # How far to look now. What was met is a few rows, perhaps an exception: the whole counts as much.
            share = (share + kept_rows / rows) / 2
            enough = math.ceil(wanted * rows_per_group * _SLACK / share)
            plan = _cheaper(max(enough, 2 * plan.fetch), kept_rows, rows, dim, least)
            kind = plan.kind
    fetch = math.ceil(wanted * rows_per_group * _SLACK)
    while hits is None:
        looked = by_all(generation, xq, allowed, fetch, kept_rows)
        scanned += looked.scanned
        hits = _best(generation, grouping, looked, wanted)
        fetch *= 4  # ends: all kept rows hold all kept groups
    if not grouping.alone:
        hits = _with_others(generation, grouping, xq, hits, allowed)
    return Found(hits, kind, scanned, exhausted)


def _usual(
    generation: Generation, grouping: Grouping, xq: NDArray[np.float32], k: int, fetch: int, beam: int
) -> list[Hit] | None:
    """What ``by_graph`` and ``_best`` find of most searches, in few steps: one row, no filter, no deltas.

    A graph leaves the processor's caches full of vectors, and each step of Python after it takes twice as
    long.
    """
    index = generation.base.index
    scores, found = index.search(xq, fetch, params=parameters(index, beam))
    rows = found[0]
    if rows[-1] < 0:  # the graph led to fewer
        scores, rows = scores[:, rows >= 0], rows[rows >= 0]
    products = generation.row_product[rows]
    groups = products if grouping.alone else grouping.of_product[products]
    columns = (-scores[0], rows, groups, products)
    return _first(k, sorted(zip(*(column.tolist() for column in columns), strict=True)), -math.inf)


def _best(generation: Generation, grouping: Grouping, looked: Looked, k: int) -> list[Hit] | None:
    """The ``k`` best groups of what was found and fits.

    None when a vector's own list holds fewer than ``k`` groups above its bound: then a group that is not in
    it might belong into the answer. With k of them in every list none does: it would have to beat k better
    ones.
    """
    ranked = _ranked(generation, grouping, looked)
    each = [_first(k, rows, bound) for rows, bound in zip(ranked, looked.bound.tolist(), strict=True)]
    if len(each) == 1 or None in each:
        return None if None in each else each[0]
    return _first(k, sorted(chain.from_iterable(ranked)), -math.inf)


def _with_others(
    generation: Generation,
    grouping: Grouping,
    xq: NDArray[np.float32],
    hits: list[Hit],
    allowed: NDArray[np.bool_] | None,
) -> list[Hit]:
    """``hits`` with the further members of their groups, those most like ``xq`` first.

    Of a group of more than ``_WEIGHED`` the first so many by id are weighed, as those are hardly different.
    """
    others = [grouping.others(hit.product, allowed)[:_WEIGHED] for hit in hits]
    products = np.concatenate([np.empty(0, np.int32), *others])
    if not len(products):
        return hits
    starts, counts = generation.spans(products)
    scores = (generation.vectors_of(rows_in(starts, counts)) @ xq.T).max(axis=1)
    best = np.maximum.reduceat(scores, np.cumsum(counts) - counts)
    told, done = [], 0
    for hit, members in zip(hits, others, strict=True):
        order = np.argsort(-best[done : done + len(members)], kind="stable")[:MAX_ALSO]
        told.append(hit._replace(also=tuple(members[order].tolist())))
        done += len(members)
    return told


def search_each(
    generation: Generation, xq: NDArray[np.float32], k: int, collapse: Collapse = "product"
) -> list[Found]:
    """What ``search`` finds for each row of ``xq`` float32 (n, d) by itself, without a filter.

    The graph is asked once for all of them, without the interpreter in between.
    """
    rows, grouping = generation.manifest.rows, generation.groupings[collapse]
    wanted = min(k, grouping.count)
    rows_per_group = generation.alive_rows / grouping.count
    figures = generation.manifest.figures
    plan = plan_search(wanted, rows, rows, rows_per_group, generation.manifest.dim, figures.beams[0].rows)
    if plan.kind != "graph":
        return [search(generation, row[None], k, plan=plan, collapse=collapse) for row in xq]
    told: dict[int, Found] = {}
    beam, left = _beam(plan.fetch, figures.beams[0].rows), list(range(len(xq)))
    scanned = 0
    while left:
        looked = by_graph(generation, xq[left], generation.alive, plan.fetch, beam)
        scanned += looked.scanned // len(left)
        farther, wider = [], beam
        ranked = _ranked(generation, grouping, looked)
        for number, rows_of, bound in zip(left, ranked, looked.bound.tolist(), strict=True):
            hits = _first(wanted, rows_of, bound)
            if hits is None:  # a longer list
                told[number] = search(generation, xq[number][None], k, plan=plan, collapse=collapse)
            elif (needed := figures.beam(hits[-1].score)) > beam:
                farther.append(number)
                wider = max(wider, needed)
            else:
                if not grouping.alone:
                    hits = _with_others(generation, grouping, xq[number][None], hits, generation.alive)
                told[number] = Found(hits, "graph", scanned, grouping.count < k)
        left, beam = farther, wider
    return [told[number] for number in range(len(xq))]


# Score below zero, row, group and product of what fits: in this order the best come first, and equals in the
# order of rows, so that answers repeat.
_Ranked: TypeAlias = "list[tuple[float, int, int, int]]"


def _ranked(generation: Generation, grouping: Grouping, looked: Looked) -> list[_Ranked]:
    """What was found for each vector and fits, the best first."""
    products = generation.row_product[looked.found]
    groups = products if grouping.alone else grouping.of_product[products]
    columns = (-looked.scores, looked.found, groups, products)
    return [
        sorted(compress(zip(*lists, strict=True), fits))
        for fits, *lists in zip(looked.fits.tolist(), *(column.tolist() for column in columns), strict=True)
    ]


def _first(k: int, rows: _Ranked, bound: float) -> list[Hit] | None:
    """The first of each of ``k`` distinct groups, None when there are fewer that are surely the first."""
    best: list[Hit] = []
    groups: set[int] = set()
    for below, row, group, product in rows:
        if group not in groups:
            groups.add(group)
            best.append(Hit(product, row, -below if below > -1 else 1.0))
            if len(best) == k:
                return best if -below >= bound else None
    return None
