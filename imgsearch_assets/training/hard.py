"""Hard negatives: other products that the embedding of the moment takes for the same."""

import faiss
import numpy as np
from numpy.typing import NDArray


def nearest_others(
    xb: NDArray[np.float32], products: NDArray[np.int64], k: int = 4
) -> dict[int, NDArray[np.int64]]:
    """Of every product the up to ``k`` other ones with the nearest rows, the nearest first.

    ``xb`` float32 (n, d), rows unit length, of ``products`` int64 (n,): the vectors of an index or of a
    training's own rows. Exact search.
    """
    index = faiss.IndexFlatIP(xb.shape[1])
    index.add(np.ascontiguousarray(xb))
    own = int(np.unique(products, return_counts=True)[1].max(initial=0))
    D, I = index.search(np.ascontiguousarray(xb), min(len(xb), own + 4 * k))  # noqa: E741 - faiss names them so
    best: dict[int, dict[int, float]] = {int(product): {} for product in np.unique(products)}
    for product, scores, rows in zip(products.tolist(), D, I, strict=True):
        of = best[product]
        for score, other in zip(scores.tolist(), products[rows].tolist(), strict=True):
            if other != product and score > of.get(other, -np.inf):
                of[other] = score
    return {
        product: np.array(sorted(others, key=lambda other: (-others[other], other))[:k], np.int64)
        for product, others in best.items()
    }
