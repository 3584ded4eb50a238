"""The nearest products to a few vectors, under a filter: a plan, then its run.

A graph under a tight filter finds too little: nearly everything it meets is not wanted. So what the filter
keeps is counted first. Little enough, or cheap enough, is compared one by one ("exact"); otherwise the
graph is asked for so many rows that enough of them fit, and asked again for more, or given up for "exact",
when they did not. Either way an answer holds nothing outside the filter, and lacks nothing while there is
more inside.

What an answer holds once is a group: a product, or products that look alike (``index.groups``). A group is
shown by its best product, so all of this is said of groups; a product is the smallest of them.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import faiss
import numpy as np
from numpy.typing import NDArray

from serving.index.artifact import Generation
from serving.index.collapse import Collapse
from serving.index.groups import Grouping

# Microseconds, measured at 256 dimensions on one core: a row compared, a row skipped by its bit, and the
# graph's beam, whose upkeep grows with its square.
_COMPARE_US, _SKIP_US = 0.06, 0.0026
_BEAM_US, _BEAM_SQUARED_US = 0.3, 0.0012

# Rows that are compared one by one without a further thought: half a millisecond.
EXACT_ROWS = 8_000
# A tenth of a millisecond; half of it loses several of a hundred neighbours where nothing is clustered.
MIN_BEAM = 128
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


def plan_search(k: int, kept_rows: int, rows: int, rows_per_group: float) -> Plan:
    """Exact where it is small or no dearer than the graph."""
    if kept_rows <= EXACT_ROWS:
        return Plan("exact")
    fetch = math.ceil(k * rows_per_group * _SLACK * rows / kept_rows)
    return _cheaper(fetch, kept_rows, rows)


def _cheaper(fetch: int, kept_rows: int, rows: int) -> Plan:
    beam = _beam(fetch)
    graph_us = _BEAM_US * beam + _BEAM_SQUARED_US * beam**2
    exact_us = _COMPARE_US * kept_rows + _SKIP_US * rows
    return Plan("graph", fetch) if fetch < rows and graph_us < exact_us else Plan("exact")


def _beam(fetch: int) -> int:
    return max(MIN_BEAM, 3 * fetch)


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
    rows, grouping = generation.manifest.rows, generation.groupings[collapse]
    keep = None if allowed is None else allowed[generation.row_product]
    kept_rows = rows if keep is None else int(np.count_nonzero(keep))
    kept_groups = grouping.kept(allowed)
    wanted, exhausted = min(k, kept_groups), kept_groups < k
    if not kept_rows:
        return Found([], "exact", 0, exhausted)
    if plan is None:
        plan = plan_search(wanted, kept_rows, rows, rows / grouping.count)
    scanned, kind, hits = 0, plan.kind, None
    while plan.kind == "graph" and hits is None:
        scanned += len(xq) * plan.fetch
        hits = _graph(generation, grouping, xq, wanted, keep, plan.fetch)
        if hits is None:
            plan = _cheaper(plan.fetch * 4, kept_rows, rows)
            kind = plan.kind
    if hits is None:
        scanned += len(xq) * kept_rows
        hits = _exact(generation, grouping, xq, wanted, keep, kept_rows)
    if grouping.count < generation.manifest.products:
        hits = _with_others(generation, grouping, xq, hits, allowed)
    return Found(hits, kind, scanned, exhausted)


def _graph(
    generation: Generation,
    grouping: Grouping,
    xq: NDArray[np.float32],
    k: int,
    keep: NDArray[np.bool_] | None,
    fetch: int,
) -> list[Hit] | None:
    """The best from ``fetch`` rows a vector; None when some vector's rows hold fewer than ``k`` groups."""
    parameters = faiss.SearchParametersHNSW(efSearch=_beam(fetch))
    scores, found = generation.index.search(xq, fetch, params=parameters)
    fits = found >= 0
    if keep is not None:
        fits &= keep[found]
    return _best(generation, grouping, scores, found, fits, k)


def _exact(
    generation: Generation,
    grouping: Grouping,
    xq: NDArray[np.float32],
    k: int,
    keep: NDArray[np.bool_] | None,
    kept_rows: int,
) -> list[Hit]:
    flat = faiss.downcast_index(generation.index.storage)
    parameters = None
    if keep is not None:
        bits = np.packbits(keep, bitorder="little")
        selector = faiss.IDSelectorBitmap(len(keep), faiss.swig_ptr(bits))
        parameters = faiss.SearchParameters(sel=selector)
    fetch = math.ceil(k * generation.manifest.rows / grouping.count * _SLACK)
    while True:
        fetch = min(fetch, kept_rows)
        scores, found = flat.search(xq, fetch, params=parameters)
        hits = _best(generation, grouping, scores, found, found >= 0, k)
        if hits is not None:
            return hits
        fetch *= 4  # ends: all kept rows hold all kept groups, of which there are at least k


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
        if len(np.unique(grouping.of_row[row_found[row_fits]])) < k:
            return None
    rows, values = found[fits], scores[fits]
    order = np.lexsort((rows, -values))  # ties in the order of rows, so that answers repeat
    rows, values = rows[order], values[order]
    _, first = np.unique(grouping.of_row[rows], return_index=True)
    best = np.sort(first)[:k]
    return [
        Hit(int(generation.row_product[row]), int(row), float(min(value, 1.0)))
        for row, value in zip(rows[best], values[best], strict=True)
    ]


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
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    rows = np.repeat(generation.first_row[products] - starts, counts) + np.arange(counts.sum())
    scores = (generation.index.reconstruct_batch(rows) @ xq.T).max(axis=1)
    best = np.maximum.reduceat(scores, starts)
    told, done = [], 0
    for hit, members in zip(hits, others, strict=True):
        order = np.argsort(-best[done : done + len(members)], kind="stable")[:MAX_ALSO]
        told.append(replace(hit, also=tuple(members[order].tolist())))
        done += len(members)
    return told
