"""The base of an index: how it is built, and what it was found to do.

The order in which rows are added decides how well a graph of clustered rows is found through. Added batch by
batch as they come, 200,000 rows of 2,000 kinds end at recall 0.97 however wide the beam: the first batches
find hardly any upper level to descend by, and are linked to neighbours of the wrong kind. Those of the upper
levels first, all of them, it is 0.99 at a beam of 24.
"""

import math
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from imgsearch_assets.index import gpu
from imgsearch_assets.progress import Advance
from serving.errors import BadInput
from serving.index import kinds
from serving.index.generation import GRAPH, Beam, Figures

_ADD_ROWS = 10_000
# With 80 in its place street pictures find 0.98 of 200,000 packshots at a beam of 160, and not at 64.
_EF_CONSTRUCTION = 200
# What FAISS asks for at least to find the middle of a list, and what it looks at of more.
_ROWS_A_LIST, _LEARNED_ROWS_A_LIST = 39, 256
_RECALL_QUERIES = 500
_BEAMS = (16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256)
# Of its own: made-up vectors that were drawn from 0 on must not be disturbed by the very same numbers.
_SEED = 7_919
# A query is a row with so much of another direction added, and wants so much of recall, and then so many
# times the beam. With the most it is as far from the nearest rows (cosine 0.65) as street pictures are from
# packshots; those lie all to one side, though, and need two to three times the beam for the same recall.
_QUERIES = ((0.3, 0.99, 1), (0.6, 0.99, 2), (1.0, 0.99, 3))
# This part of the queries of a disturbance is farther than those that its beam is for.
_FARTHEST = 0.02


def build_base(vectors: NDArray[np.float32], factory: str, advance: Advance) -> faiss.Index:
    """An index of ``vectors`` float32 (n, d), row i of it row i of them; ``advance`` is told of every row.

    ``factory`` is one of ``generation.FACTORY``. A GPU is used where FAISS has one. Raises ``BadInput`` when
    the rows are too few for it, or their dimensions do not divide into its parts.
    """
    try:
        index = kinds.empty(vectors.shape[1], factory)
    except RuntimeError:
        raise BadInput(f"{factory} is not for vectors of {vectors.shape[1]} dimensions") from None
    if isinstance(index, faiss.IndexHNSW):
        return gpu.graph(vectors, index, advance) if gpu.builds_graphs() else _graph(vectors, index, advance)
    return _lists(vectors, index, factory, advance)


def _lists(vectors: NDArray[np.float32], index: faiss.Index, factory: str, advance: Advance) -> faiss.Index:
    lists = faiss.extract_index_ivf(index.base_index)
    least = lists.nlist * _ROWS_A_LIST
    if len(vectors) < least:
        raise BadInput(
            f"{factory} needs {least:,} rows to learn {lists.nlist} lists, there are {len(vectors):,}; "
            f"{GRAPH} needs none"
        )
    gpu.train_on(lists)
    chosen = np.random.default_rng(0).permutation(len(vectors))[: lists.nlist * _LEARNED_ROWS_A_LIST]
    index.train(vectors[np.sort(chosen)])
    lists.clustering_index = None
    for start in range(0, len(vectors), _ADD_ROWS):
        part = vectors[start : start + _ADD_ROWS]
        index.add(part)
        advance(len(part))
    return index


def _graph(vectors: NDArray[np.float32], index: faiss.IndexHNSWSQ, advance: Advance) -> faiss.Index:
    index.hnsw.efConstruction = _EF_CONSTRUCTION
    levels = _levels(len(vectors), index.hnsw.nb_neighbors(1))
    order = np.argsort(-levels, kind="stable")
    upper = int(np.count_nonzero(levels > 1))
    ends = [end for end in (upper, *range(upper + _ADD_ROWS, len(levels), _ADD_ROWS), len(levels)) if end]
    start = 0
    for end in ends:
        # Levels that are there already are taken: FAISS draws its own for those that are not.
        faiss.copy_array_to_vector(levels[order[:end]], index.hnsw.levels)
        index.add(vectors[order[start:end]])
        advance(end - start)
        start = end
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    index.permute_entries(place)
    return index


def _levels(n: int, links: int) -> NDArray[np.int32]:
    """int32 (n,): on how many levels each row lies; one in ``links`` of a level is on the next, too."""
    drawn = 1 - np.random.default_rng(0).random(n)
    return (1 - np.log(drawn) / math.log(links)).astype(np.int32)


def figures_of(index: faiss.Index, xb: NDArray[np.float32]) -> Figures:
    """What ``index`` finds of ``xb`` float32 (n, d), its rows before they were rounded; with which beams."""
    found = [_measured(index, xb, *how) for how in _QUERIES]
    beams, nearest, widest = [], 1.0, 0
    for one in found:
        nearest, widest = min(nearest, one.cosine), max(widest, one.beam)
        beams.append(Beam(cosine=-1 if one is found[-1] else nearest, rows=widest))
    return Figures(
        beams=tuple(beams),
        recall_at_10=sum(one.recall for one in found) / len(found),
        recall_queries=sum(one.queries for one in found),
        norm_error=float(np.abs(np.linalg.norm(xb, axis=1) - 1).max()),
    )


@dataclass(frozen=True)
class _Measured:
    """Of queries of one disturbance: what nearly all tenths lie above, and the beam that finds enough."""

    cosine: float
    beam: int
    recall: float
    queries: int


def _measured(
    index: faiss.Index, xb: NDArray[np.float32], disturbance: float, wanted: float, times: int
) -> _Measured:
    """A row at the distance of the tenth counts as found: which of equals comes first is chance."""
    rng = np.random.default_rng(_SEED)
    k = min(10, len(xb))
    noise = rng.normal(size=(min(_RECALL_QUERIES, len(xb)), xb.shape[1]))
    noise *= disturbance / np.linalg.norm(noise, axis=1, keepdims=True)
    xq = (xb[rng.choice(len(xb), len(noise), replace=False)] + noise).astype(np.float32)
    xq /= np.linalg.norm(xq, axis=1, keepdims=True)
    exact, _ = faiss.knn(xq, xb, k, metric=faiss.METRIC_INNER_PRODUCT)

    def recall(beam: int) -> float:
        _, found = index.search(xq, k, params=kinds.parameters(index, beam))
        scores = np.einsum("qd,qkd->qk", xq, xb[np.maximum(found, 0)])
        return float(((found >= 0) & (scores >= exact[:, -1:] - 1e-4)).mean())

    beam = times * next((beam for beam in _BEAMS if recall(beam) >= wanted), _BEAMS[-1])
    return _Measured(float(np.quantile(exact[:, -1], _FARTHEST)), beam, recall(beam), len(xq))
