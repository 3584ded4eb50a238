"""The next page: what comes behind the last hit that was shown.

A deeper search finds what a shallower one did, more or less: a graph may meet a row that it missed before, or
miss one that it met. So of what it finds behind the last hit each group is compared once more, and whole. One
that was shown scores no worse than what it was shown with, so it comes no second time. Equal rows have equal
scores to the bit, whichever way they are found: FAISS compares them by the same code.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from serving.index.after import After, mark
from serving.index.collapse import Collapse
from serving.index.loaded import Generation
from serving.index.part import rows_in
from serving.index.search import Found, Hit, search, with_others


def search_after(
    generation: Generation,
    xq: NDArray[np.float32],
    k: int,
    after: After,
    most: int,
    allowed: NDArray[np.bool_] | None = None,
    collapse: Collapse = "product",
) -> Found:
    """As ``search.search``, the ``k`` hits behind ``after``. Looks no farther than ``most`` hits in all."""
    depth = min(after.shown + k, most)
    while True:
        found = search(generation, xq, depth, allowed, collapse=collapse)
        hits = _behind(generation, xq, found, after, allowed, collapse)
        if len(hits) >= k or found.exhausted or depth == most:
            break
        depth = min(2 * depth, most)
    page = hits[:k]
    grouping = generation.groupings[collapse]
    if page and not grouping.alone:
        page = with_others(generation, grouping, xq, page, generation.alive if allowed is None else allowed)
    return found._replace(hits=page, exhausted=found.exhausted and len(hits) <= k)


def _behind(
    generation: Generation,
    xq: NDArray[np.float32],
    found: Found,
    after: After,
    allowed: NDArray[np.bool_] | None,
    collapse: Collapse,
) -> list[Hit]:
    """Of what was found, what was not shown, best first, each with the best of its group."""
    candidates = [hit for hit in found.hits if hit.score <= after.score]
    hits = []
    for members in _compared(generation, xq, candidates, allowed, collapse):
        best = members[0]
        tied = (hit for hit in members if hit.score == after.score)
        if best.score < after.score or (
            best.score == after.score
            and not any(mark(generation.id_of(hit.product)) in after.tied for hit in tied)
        ):
            hits.append(best)
    return sorted(hits, key=lambda hit: (-hit.score, hit.row))


def _compared(
    generation: Generation,
    xq: NDArray[np.float32],
    candidates: list[Hit],
    allowed: NDArray[np.bool_] | None,
    collapse: Collapse,
) -> Iterator[list[Hit]]:
    """For each group its rows as hits, best first."""
    if not candidates:
        return
    grouping = generation.groupings[collapse]
    there = generation.alive if allowed is None else allowed
    groups = [np.append(grouping.others(hit.product, there), np.int32(hit.product)) for hit in candidates]
    products = np.concatenate(groups)
    starts, counts = generation.spans(products)
    rows = rows_in(starts, counts)
    scores, of_row = _scores(generation, xq, rows), np.repeat(products, counts)
    ends = np.cumsum(counts)[np.cumsum([len(members) for members in groups]) - 1]
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        order = start + np.lexsort((rows[start:end], -scores[start:end]))
        yield [Hit(int(of_row[at]), int(rows[at]), float(scores[at])) for at in order]


def _scores(generation: Generation, xq: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """float32 (rows,): the best cosine over ``xq`` of each of ``rows`` int64, at most 1 as of a hit."""
    scores = np.empty(len(rows), np.float32)
    first = 0
    for part in generation.parts:
        here = np.flatnonzero((rows >= first) & (rows < first + part.rows))
        if len(here):
            here = here[np.argsort(rows[here])]
            own = rows[here] - first
            kept = part.vectors.gathered(own)
            D, I = kept.nearest(xq, kept.count)  # noqa: E741 - faiss names them so
            places = here[np.searchsorted(own, I)]
            scores[here] = -2
            np.maximum.at(scores, places.ravel(), D.ravel())
        first += part.rows
    return np.minimum(scores, 1)
