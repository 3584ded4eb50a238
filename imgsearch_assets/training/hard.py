"""Hard negatives: other products that an index, or the embedding of the moment, takes for the same."""

from collections.abc import Collection, Mapping

import faiss
import numpy as np
from numpy.typing import NDArray

from imgsearch_assets.progress import stage
from serving.index.loaded import Generation
from serving.index.search import search

# Of these many nearest groups of an index those are taken that are learned from.
_ASKED = 32
_SAME = 0.9999  # cosine


def confused(generation: Generation, products: Collection[str], k: int = 4) -> Mapping[str, tuple[str, ...]]:
    """Of each of ``products`` the up to ``k`` nearest others of them in ``generation``, the nearest first.

    Products of one picture are not told from each other: no head could, and they may well be the same thing.
    One that the generation does not have is left out.
    """
    ids = generation.products["product_id"].to_pylist()
    present = generation.present().tolist()
    groups = generation.groupings["picture"].of_product
    wanted = frozenset(products)
    found: dict[str, tuple[str, ...]] = {}
    with stage("looking up what the index confuses", len(present)) as advance:
        for place in present:
            if (product := ids[place]) in wanted:
                hits = search(generation, generation.vectors(place), _ASKED, collapse="picture").hits
                others = [ids[hit.product] for hit in hits if groups[hit.product] != groups[place]]
                found[product] = tuple(other for other in others if other in wanted)[:k]
            advance(1)
    return found


def nearest_others(
    xb: NDArray[np.float32], products: NDArray[np.int64], k: int = 4
) -> dict[int, NDArray[np.int64]]:
    """Of every product the up to ``k`` other ones with the nearest rows, the nearest first.

    One whose row is the very same is left out: it is the same picture, and may well be the same thing.
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
            if other != product and of.get(other, -np.inf) < score < _SAME:
                of[other] = score
    return {
        product: np.array(sorted(others, key=lambda other: (-others[other], other))[:k], np.int64)
        for product, others in best.items()
    }
