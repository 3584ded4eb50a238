"""The nearest rows to a few vectors, by the graph or by comparing all that are wanted; deltas beside it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.index import cost
from serving.index.kinds import parameters
from serving.index.loaded import Generation
from serving.index.part import Part


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """The nearest rows to each vector: cosines float32 (n, m), ``found`` rows int64 (n, m), -1 for none.

    ``fits`` bool (n, m): a product that is wanted. ``bound`` float32 (n,): rows that are not here may have
    cosines up to this. The first columns are the graph's, the best first, wanted or not, then come those of
    the deltas.
    """

    scores: NDArray[np.float32]
    found: NDArray[np.int64]
    fits: NDArray[np.bool_]
    bound: NDArray[np.float32]
    scanned: int


def by_graph(
    generation: Generation,
    xq: NDArray[np.float32],
    allowed: NDArray[np.bool_] | None,
    fetch: int,
    beam: int,
) -> Looked:
    """The best ``fetch`` rows a vector of the graph, and of the deltas."""
    base = generation.base
    scores, found = base.index.search(xq, fetch, params=parameters(base.index, beam))
    bound = scores[:, -1]
    fits = found >= 0
    if allowed is not None:
        fits &= allowed[base.row_product[found]]
    looked = Looked(scores, found, fits, bound, len(xq) * fetch)
    if generation.delta is None:
        return looked
    return _beside(looked, _compared(generation.delta, xq, _behind(generation, allowed), fetch), base.rows)


def by_all(
    generation: Generation,
    xq: NDArray[np.float32],
    allowed: NDArray[np.bool_] | None,
    fetch: int,
    kept_rows: int,
) -> Looked:
    """The best ``fetch`` rows a vector, all compared; ``kept_rows`` is about how many are kept."""
    base = generation.base
    of_base = None if allowed is None else allowed[: base.size]
    looked = _compared(base, xq, of_base, fetch, kept_rows)
    if generation.delta is None:
        return looked
    return _beside(looked, _compared(generation.delta, xq, _behind(generation, allowed), fetch), base.rows)


def _behind(generation: Generation, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """What is allowed of the products of deltas; None where that is all."""
    behind = None if allowed is None else allowed[generation.base.size :]
    return None if behind is None or behind.all() else behind


def _compared(
    part: Part,
    xq: NDArray[np.float32],
    allowed: NDArray[np.bool_] | None,
    fetch: int,
    kept_rows: int | None = None,
) -> Looked:
    """The best of the rows of ``allowed`` bool (products of the part,), each compared; rows as in the part.

    ``kept_rows`` is about how many they are, where that is known.
    """
    dim = xq.shape[1]
    if allowed is None:
        kept = part.vectors.all()
    else:
        if kept_rows is None:
            kept_rows = round(np.count_nonzero(allowed) / part.size * part.rows)
        if cost.gathered_us(kept_rows, part.rows, dim) < cost.scanned_us(kept_rows, part.rows, dim):
            kept = part.vectors.gathered(part.rows_of(allowed.nonzero()[0]))
        else:
            one_each = part.rows == part.size
            kept = part.vectors.scanned(allowed if one_each else allowed[part.row_product])
    fetch = min(fetch, kept.count)
    if not fetch:
        none = np.empty((len(xq), 0))
        found = none.astype(np.int64)
        return Looked(none.astype(np.float32), found, found >= 0, np.full(len(xq), -2, np.float32), 0)
    scores, found = kept.nearest(xq, fetch)
    bound = scores[:, -1] if fetch < kept.count else np.full(len(xq), -2, np.float32)
    return Looked(scores, found, found >= 0, bound, len(xq) * kept.count)


def _beside(one: Looked, other: Looked, first_row: int) -> Looked:
    """Both as one; the rows of ``other`` are numbered from ``first_row`` on."""
    return Looked(
        np.concatenate([one.scores, other.scores], axis=1),
        np.concatenate([one.found, other.found + first_row], axis=1),
        np.concatenate([one.fits, other.fits], axis=1),
        np.maximum(one.bound, other.bound),
        one.scanned + other.scanned,
    )
