"""The exact answer, and how much of it somebody else's has."""

import faiss
import numpy as np
from numpy.typing import NDArray

# A row this much below the tenth counts as the tenth: which of equals comes first is chance, and float16
# cannot tell them apart.
TOLERANCE = 1e-4


def tenth(xb: NDArray[np.float32], xq: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """float32 (nq,): the cosine of the ``k``-th nearest row (of the last, where there are fewer)."""
    D, _ = faiss.knn(xq, xb, min(k, len(xb)), metric=faiss.METRIC_INNER_PRODUCT)
    return np.asarray(D[:, -1])


def recall(
    xb: NDArray[np.float32], xq: NDArray[np.float32], found: NDArray[np.int64], least: NDArray[np.float32]
) -> float:
    """Share of the rows ``found`` int64 (nq, k), -1 for none, that belong into the answer.

    ``least`` is ``tenth``'s. Cosines are computed here from ``xb``, whatever an index said of them.
    """
    D = np.einsum("qd,qkd->qk", xq, xb[np.maximum(found, 0)])
    return float(((found >= 0) & (least[:, None] - TOLERANCE <= D)).mean())
