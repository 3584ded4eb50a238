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
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import faiss
import numpy as np
from numpy.typing import NDArray

from serving.index import cost
from serving.index.artifact import Generation
from serving.index.collapse import Collapse
from serving.index.groups import Grouping

# Rows that are compared one by one without a further thought, whatever the dimension.
EXACT_ROWS = 2_000
# A tenth of a millisecond; half of it loses several of a hundred neighbours where nothing is clustered.
MIN_BEAM = 128
# Of a beam's rows the nearer half are taken: the farther a row, the likelier the graph missed one like it.
_DEPTH = 2
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


@dataclass(frozen=True, slots=True)
class Hit:
    """A product, its best cosine over all pairs of query row and own row, and that own row.

    ``also``: up to ``MAX_ALSO`` further products of its group that fit the filter, best first.
    """

    product: int
    row: int
    score: float
    also: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """The best products of distinct groups, best first. ``exhausted``: no further group fits the filter."""

    hits: list[Hit]
    plan: Literal["exact", "graph"]
    rows_scanned: int
    exhausted: bool


def plan_search(k: int, kept_rows: int, rows: int, rows_per_group: float, dim: int) -> Plan:
    """How to begin: exact where that is small or cheap, else the graph as if everything fitted."""
    fetch = math.ceil(k * rows_per_group * _SLACK)
    if kept_rows <= EXACT_ROWS:
        return Plan("exact")
    if kept_rows == rows:
        return _cheaper(fetch, kept_rows, rows, dim)
    # All that the least beam has to give: it says more about what is kept here.
    return _cheaper(max(fetch, MIN_BEAM // _DEPTH), kept_rows, rows, dim, _WORTH_A_LOOK)


def _cheaper(fetch: int, kept_rows: int, rows: int, dim: int, worth: float = 1) -> Plan:
    graph_us, exact_us = cost.graph_us(_beam(fetch), dim), cost.exact_us(kept_rows, rows, dim)
    return Plan("graph", fetch) if fetch < rows and graph_us < worth * exact_us else Plan("exact")


def _beam(fetch: int, least: int = MIN_BEAM) -> int:
    return max(least, _DEPTH * fetch)


def search(
    generation: Generation,
    xq: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.bool_] | None = None,
    plan: Plan | None = None,
    collapse: Collapse = "product",
) -> Found:
    """The best products of the ``k`` best groups for the unit rows ``xq`` float32 (n, d).

    ``allowed`` bool (products,) is what ``Attributes.mask`` keeps; what it does not neither makes a group
    nor is named in one. ``plan`` is made here unless given.
    """
    rows, dim, grouping = generation.manifest.rows, generation.manifest.dim, generation.groupings[collapse]
    products = generation.manifest.products
    kept_products = products if allowed is None else int(np.count_nonzero(allowed))
    kept_groups = kept_products if grouping.count == products else grouping.kept(allowed)
    wanted, exhausted = min(k, kept_groups), kept_groups < k
    if not kept_groups:
        return Found([], "exact", 0, exhausted)
    rows_per_group = rows / grouping.count
    # About: to look at every row would take longer than many a search.
    kept_rows = round(kept_products / products * rows)
    if plan is None:
        plan = plan_search(wanted, kept_rows, rows, rows_per_group, dim)
    # What was measured on this very graph; but not with a filter, which leaves holes in what a beam holds.
    least = generation.manifest.figures.beam if allowed is None else MIN_BEAM
    scanned, kind, hits = 0, plan.kind, None
    while plan.kind == "graph" and hits is None:
        scanned += len(xq) * plan.fetch
        hits, share = _graph(generation, grouping, xq, wanted, allowed, plan.fetch, least)
        if hits is None:  # how far to look now, if the rest is as what was met
            enough = math.ceil(wanted * rows_per_group * _SLACK / share) if share else rows
            plan = _cheaper(max(enough, 2 * plan.fetch), kept_rows, rows, dim)
            kind = plan.kind
    if hits is None:
        hits, compared = _exact(generation, grouping, xq, wanted, allowed, kept_rows)
        scanned += len(xq) * compared
    if grouping.count < products:
        hits = _with_others(generation, grouping, xq, hits, allowed)
    return Found(hits, kind, scanned, exhausted)


@lru_cache(256)
def _parameters(beam: int) -> faiss.SearchParametersHNSW:
    return faiss.SearchParametersHNSW(efSearch=beam)  # nobody changes it, so threads may share it


def _graph(
    generation: Generation,
    grouping: Grouping,
    xq: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.bool_] | None,
    fetch: int,
    least: int,
) -> tuple[list[Hit] | None, float]:
    """The best from ``fetch`` rows a vector.

    None when some vector's rows hold fewer than ``k`` groups; then also what part of the rows fits, of the
    vector around which least did.
    """
    scores, found = generation.index.search(xq, fetch, params=_parameters(_beam(fetch, least)))
    fits = found >= 0
    if allowed is not None:
        fits &= allowed[generation.row_product[found]]
    hits = _best(generation, grouping, scores, found, fits, k)
    return hits, 0 if hits else float(fits.mean(axis=1).min())


def _exact(
    generation: Generation,
    grouping: Grouping,
    xq: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.bool_] | None,
    kept_rows: int,
) -> tuple[list[Hit], int]:
    """The best, and how many rows that took; ``kept_rows`` is about how many are kept."""
    rows, dim = generation.manifest.rows, generation.manifest.dim
    if allowed is None:
        kept = generation.flat.all()
    elif cost.gathered_us(kept_rows, rows, dim) < cost.scanned_us(kept_rows, rows, dim):
        kept = generation.flat.gathered(_rows_of(generation, allowed.nonzero()[0]))
    else:
        one_each = rows == generation.manifest.products
        kept = generation.flat.scanned(allowed if one_each else allowed[generation.row_product])
    fetch = math.ceil(k * rows / grouping.count * _SLACK)
    while True:
        fetch = min(fetch, kept.count)
        scores, found = kept.nearest(xq, fetch)
        hits = _best(generation, grouping, scores, found, found >= 0, k)
        if hits is not None:
            return hits, kept.count
        fetch *= 4  # ends: all kept rows hold all kept groups, of which there are at least k


def _rows_of(generation: Generation, products: NDArray[Any]) -> NDArray[np.int64]:
    """int64: the rows of ``products`` (integers), one product's after the other's."""
    if generation.manifest.rows == generation.manifest.products:
        return products.astype(np.int64, copy=False)
    counts = generation.first_row[products + 1] - generation.first_row[products]
    starts = np.cumsum(counts) - counts
    return np.repeat(generation.first_row[products] - starts, counts) + np.arange(counts.sum())


def _best(
    generation: Generation,
    grouping: Grouping,
    scores: NDArray[np.float32],
    found: NDArray[np.int64],
    fits: NDArray[np.bool_],
    k: int,
) -> list[Hit] | None:
    """The ``k`` best groups of ``found`` rows (int64 (n, fetch), cosines float32 alike) that fit.

    None when a vector's own list holds fewer than ``k`` groups: then a group just below that list might
    belong into the answer. With k of them in every list none does: it would have to beat k better ones.
    """
    for row_found, row_fits in zip(found, fits, strict=True):
        if len(set(grouping.of_row[row_found[row_fits]].tolist())) < k:
            return None
    rows, values = found[fits], scores[fits]
    order = np.lexsort((rows, -values))  # ties in the order of rows, so that answers repeat
    rows, values = rows[order], values[order]
    best: dict[int, Hit] = {}  # numpy's unique takes as long as the graph
    for row, value, group in zip(rows.tolist(), values.tolist(), grouping.of_row[rows].tolist(), strict=True):
        if group not in best:
            best[group] = Hit(int(generation.row_product[row]), row, min(value, 1.0))
            if len(best) == k:
                break
    return list(best.values())


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
    counts = generation.first_row[products + 1] - generation.first_row[products]
    starts = np.cumsum(counts) - counts
    scores = (generation.index.reconstruct_batch(_rows_of(generation, products)) @ xq.T).max(axis=1)
    best = np.maximum.reduceat(scores, starts)
    told, done = [], 0
    for hit, members in zip(hits, others, strict=True):
        order = np.argsort(-best[done : done + len(members)], kind="stable")[:MAX_ALSO]
        told.append(replace(hit, also=tuple(members[order].tolist())))
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
    plan = plan_search(wanted, rows, rows, rows / grouping.count, generation.manifest.dim)
    if plan.kind != "graph":
        return [search(generation, row[None], k, plan=plan, collapse=collapse) for row in xq]
    beam = _beam(plan.fetch, generation.manifest.figures.beam)
    scores, found = generation.index.search(xq, plan.fetch, params=_parameters(beam))
    columns = (-scores, found, grouping.of_row[found], generation.row_product[found])
    told = []
    for row, *lists in zip(xq, *(column.tolist() for column in columns), strict=True):
        hits = _first(wanted, sorted(zip(*lists, strict=True)))  # ties as in ``_best``
        if hits is None:  # a longer list is needed
            told.append(search(generation, row[None], k, plan=plan, collapse=collapse))
            continue
        if grouping.count < generation.manifest.products:
            hits = _with_others(generation, grouping, row[None], hits, None)
        told.append(Found(hits, "graph", plan.fetch, grouping.count < k))
    return told


def _first(k: int, rows: list[tuple[float, int, int, int]]) -> list[Hit] | None:
    """The first of each of ``k`` distinct groups, None when there are fewer.

    Of rows as score below zero, row (-1 is none), group and product.
    """
    best: dict[int, Hit] = {}
    for below, row, group, product in rows:
        if row >= 0 and group not in best:
            best[group] = Hit(product, row, min(-below, 1.0))
            if len(best) == k:
                return list(best.values())
    return None
