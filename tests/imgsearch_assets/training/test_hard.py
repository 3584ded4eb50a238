import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imgsearch_assets.training.hard import nearest_others


def test_neighbours_are_other_products_the_nearest_first() -> None:
    angles = np.radians([0, 5, 12, 40, 41, 180])
    xb = np.stack((np.cos(angles), np.sin(angles)), 1).astype(np.float32)
    found = nearest_others(xb, np.array([0, 0, 1, 2, 2, 3]), k=2)
    assert {product: others.tolist() for product, others in found.items()} == {
        0: [1, 2],
        1: [0, 2],
        2: [1, 0],
        3: [2, 1],
    }


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(1, 4))
def test_no_product_is_its_own_neighbour(labels: list[int], k: int) -> None:
    xb = np.random.default_rng(0).normal(size=(len(labels), 4)).astype(np.float32)
    xb /= np.linalg.norm(xb, axis=1, keepdims=True)
    for product, others in nearest_others(xb, np.array(labels), k).items():
        assert product not in others
        assert len(others) == len(set(others.tolist())) == min(k, len(set(labels)) - 1)
