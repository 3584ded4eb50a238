import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from serving.index.artifact import load
from serving.index.loaded import Generation


@pytest.fixture(scope="module")
def big(big_shop) -> Generation:
    return load(big_shop.store, big_shop.build())


@pytest.mark.parametrize("count", [1, 3, 500, 20_000])
def test_rows_in_place_and_copied_rows_are_the_same(big: Generation, count: int) -> None:
    rng = np.random.default_rng(count)
    rows = np.sort(rng.choice(big.manifest.rows, count, replace=False))
    xq = rng.normal(size=(2, big.manifest.dim)).astype(np.float32)
    keep = np.zeros(big.manifest.rows, bool)
    keep[rows] = True
    in_place, copied = big.base.vectors.scanned(keep), big.base.vectors.gathered(rows)
    assert in_place.count == copied.count == count
    (D, ids), (D_copied, ids_copied) = (
        in_place.nearest(xq, min(10, count)),
        copied.nearest(xq, min(10, count)),
    )
    np.testing.assert_allclose(D, D_copied, atol=1e-5)
    assert set(ids_copied.ravel()) <= set(rows)
    assert (ids == ids_copied).mean() > 0.9, "but for equals"


def test_threads_do_not_share_what_they_copy(big: Generation) -> None:
    both = threading.Barrier(2)

    def ask(first: int) -> bool:
        rows = np.arange(first, first + 50)
        right = True
        for _ in range(200):
            kept = big.base.vectors.gathered(rows)
            both.wait()
            _, ids = kept.nearest(big.base.index.reconstruct(first)[None], 50)
            right &= set(ids[0]) == set(rows)
        return right

    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(ask, (0, 5_000)))


def test_everything(big: Generation) -> None:
    row = big.base.index.reconstruct(7)[None]
    kept = big.base.vectors.all()
    assert kept.count == big.manifest.rows
    assert kept.nearest(row, 1)[1].item() == 7


def test_the_vectors_outlive_whoever_made_them(shop) -> None:
    """They lie in the graph, and FAISS counts no references."""
    vectors = load(shop.store, shop.build()).base.vectors
    rows = np.arange(5)
    D, _ = vectors.gathered(rows).nearest(shop.vectors[:1], 5)
    assert np.isfinite(D).all()
