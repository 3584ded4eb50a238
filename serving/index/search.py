"""The nearest products to a few vectors, under a filter: a plan (``index.plan``), then its run.

An answer holds nothing outside the filter, and lacks nothing while there is more inside: what was found too
little of is looked for again, farther.

What an answer holds once is a group: a product, or products that look alike (``index.groups``). A group is
shown by its best product, so all of this is said of groups; a product is the smallest of them.
"""

from collections.abc import Sequence
from itertools import chain, islice
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serving.index.collapse import MAX_ALSO, Collapse
from serving.index.groups import Grouping
from serving.index.kept import Kept
from serving.index.loaded import Generation
from serving.index.looked import Looked, by_all, by_graph
from serving.index.part import rows_in
from serving.index.plan import TENTH, Plan, Scope, plan_search

# Members of a group that are weighed for being named beside its best product.
_WEIGHED = 64


class Hit(NamedTuple):
    """A product, its best cosine over all pairs of query row and own row, and that own row.

    ``also``: up to ``MAX_ALSO`` further products of its group that fit the filter, best first.
    """

    product: int
    row: int
    score: float
    also: tuple[int, ...] = ()


class Found(NamedTuple):
    """The best products of distinct groups, best first. ``exhausted``: no further group fits the filter.

    ``rows_scanned``: rows that were compared; of the graph those that it gave, not all it met.
    """

    hits: list[Hit]
    plan: Literal["exact", "graph"]
    rows_scanned: int
    exhausted: bool


def search(
    generation: Generation,
    xq: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.bool_] | Kept | None = None,
    plan: Plan | None = None,
    collapse: Collapse = "product",
) -> Found:
    """The best products of the ``k`` best groups for the unit rows ``xq`` float32 (n, d).

    ``allowed`` bool (stored products,) is what ``Generation.mask`` keeps, counted already where many searches
    share it; what it does not keep neither makes a group nor is named in one. ``plan`` is made here unless
    given.
    """
    return search_each(generation, [xq], k, allowed, plan, collapse)[0]


def search_each(
    generation: Generation,
    queries: Sequence[NDArray[np.float32]],
    k: int,
    allowed: NDArray[np.bool_] | Kept | None = None,
    plan: Plan | None = None,
    collapse: Collapse = "product",
) -> list[Found]:
    """What ``search`` finds for each of ``queries`` by itself.

    The graph is asked once for all of them, without the interpreter in between.
    """
    grouping = generation.groupings[collapse]
    kept = Kept(generation, allowed) if isinstance(allowed, np.ndarray) else allowed
    scope, exhausted = _scope(generation, collapse, k, kept)
    if not scope.groups or not queries:
        return [Found([], "exact", 0, exhausted) for _ in queries]
    allowed = generation.alive if kept is None else kept.allowed
    states = [_State(xq) for xq in queries]
    # How to look, and for which rows of which queries.
    plans = {plan or plan_search(scope): [(state, state.rows) for state in states]}
    while plans:
        plan, asked = plans.popitem()
        parts = [state.xq if rows is state.rows else state.xq[rows] for state, rows in asked]
        xq = parts[0] if len(parts) == 1 else np.concatenate(parts)
        looked, beams = _look(generation, xq, allowed, plan, scope)
        ranked, bounds, end = _ranked(generation, grouping, looked, scope.groups), looked.bound.tolist(), 0
        for state, rows in asked:
            start, end = end, end + len(rows)
            state.scanned += looked.scanned * len(rows) // len(xq)
            for place, row in enumerate(rows, start):
                state.lists[row], state.bounds[row] = ranked[place], bounds[place]
            hits, beam = _best(state.lists, state.bounds, scope.groups), max(beams[start:end])
            if hits is None:
                share = float(looked.fits[start:end, : plan.fetch].mean(axis=1).min())
                plans.setdefault(scope.farther(plan, share, beam), []).append((state, state.rows))
            elif beam > plan.beam:
                # Some rows lie farther off than the beam is for.
                far = [row for place, row in enumerate(rows, start) if beams[place] > plan.beam]
                plans.setdefault(plan._replace(beam=beam), []).append((state, far))
            else:
                if not grouping.alone:
                    hits = with_others(generation, grouping, state.xq, hits, allowed)
                state.found = Found(hits, plan.kind, state.scanned, exhausted)
    return [state.found for state in states]


def _look(
    generation: Generation,
    xq: NDArray[np.float32],
    allowed: NDArray[np.bool_] | None,
    plan: Plan,
    scope: Scope,
) -> tuple[Looked, list[int]]:
    """What ``plan`` finds for each of ``xq``, and the beam that each turned out to want, 0 for none."""
    if plan.kind == "exact":
        return by_all(generation, xq, allowed, plan.fetch, scope.kept_rows), [0] * len(xq)
    looked = by_graph(generation, xq, allowed, plan.fetch, plan.beam)
    figures = generation.manifest.figures
    near = figures.beams[0].cosine  # for which the least beam is enough
    tenths = looked.scores[:, TENTH - 1].tolist()
    return looked, [scope.least if tenth >= near else figures.beam(tenth) for tenth in tenths]


class _State:
    """A query under way: of each of its rows what was found, and how good what was not may be."""

    __slots__ = ("bounds", "found", "lists", "rows", "scanned", "xq")

    def __init__(self, xq: NDArray[np.float32]) -> None:
        self.xq = xq
        self.rows = list(range(len(xq)))
        self.lists: list[_Ranked] = [[]] * len(xq)
        self.bounds = [0.0] * len(xq)
        self.scanned = 0
        self.found: Found


def _scope(generation: Generation, collapse: Collapse, k: int, kept: Kept | None) -> tuple[Scope, bool]:
    """Of a search for ``k`` groups; and whether there are fewer."""
    manifest, grouping = generation.manifest, generation.groupings[collapse]
    if kept is None:
        kept_groups, kept_rows = grouping.count, manifest.rows
    else:
        kept_groups = kept.groups(collapse)
        # About: to look at every row would take longer than many a search.
        kept_rows = round(kept.products / manifest.products * generation.alive_rows)
    scope = Scope(
        groups=min(k, kept_groups),
        kept_rows=kept_rows,
        rows=manifest.rows,
        rows_per_group=generation.alive_rows / grouping.count,
        dim=manifest.dim,
        least=manifest.figures.beams[0].rows,
    )
    return scope, kept_groups < k


# The first of each group is sooner found for several vectors at once: of more than this, that each found more
# than so many times what is wanted. 20 by 203 rows took 304 us then, and 731 one by one.
_MANY = 3
# Score below zero, row, group and product of what fits: in this order the best come first, and equals in the
# order of rows, so that answers repeat.
_Ranked: TypeAlias = "list[tuple[float, int, int, int]]"


def _ranked(generation: Generation, grouping: Grouping, looked: Looked, k: int) -> list[_Ranked]:
    """What was found for each vector and fits, the best first; of groups the first ``k`` at least."""
    products = generation.row_product[looked.found]
    groups = products if grouping.alone else grouping.of_product[products]
    wanted = looked.fits
    if wanted.shape[1] > _MANY * k and len(wanted) > _MANY:
        in_order: NDArray[np.bool_] = np.all(looked.scores[:, 1:] < looked.scores[:, :-1], axis=1)
        wanted = np.where(in_order[:, None], _firsts(groups, wanted, k), wanted)
    columns = (-looked.scores, looked.found, groups, products)
    rows = zip(*(column[wanted].tolist() for column in columns), strict=True)
    return [sorted(islice(rows, count)) for count in np.count_nonzero(wanted, axis=1).tolist()]


def _firsts(groups: NDArray[np.int32], fits: NDArray[np.bool_], k: int) -> NDArray[np.bool_]:
    """Bool (n, m): what comes first of its group among what ``fits`` in a row, of ``k`` groups a row."""
    groups = np.where(fits, groups, -1)
    order = groups.argsort(axis=1, kind="stable")
    sorted_groups = np.take_along_axis(groups, order, axis=1)
    new = sorted_groups >= 0
    new[:, 1:] &= sorted_groups[:, 1:] != sorted_groups[:, :-1]
    firsts = np.empty_like(new)
    np.put_along_axis(firsts, order, new, axis=1)
    return firsts & (firsts.cumsum(axis=1) <= k)


def _best(lists: Sequence[_Ranked], bounds: Sequence[float], k: int) -> list[Hit] | None:
    """The ``k`` best groups of what was found for the vectors of a query.

    None when a vector's own list holds fewer than ``k`` groups above its bound: then a group that is not in
    it might belong into the answer. With k of them in every list none does: it would have to beat k better
    ones.
    """
    each = []
    for rows, bound in zip(lists, bounds, strict=True):
        first = _first(k, rows)
        if len(first) < k or -first[-1][0] < bound:
            return None
        each.append(first)
    # What comes behind the first k groups of a list is not among the k best of all.
    best = each[0] if len(each) == 1 else _first(k, sorted(chain.from_iterable(each)))
    return [Hit(product, row, -below if below > -1 else 1.0) for below, row, _, product in best]


def _first(k: int, rows: _Ranked) -> _Ranked:
    """The first of each of ``k`` distinct groups, or of as many as there are."""
    best: _Ranked = []
    groups: set[int] = set()
    for one in rows:
        if one[2] not in groups:
            groups.add(one[2])
            best.append(one)
            if len(best) == k:
                break
    return best


def with_others(
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
