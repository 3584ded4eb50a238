import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imgsearch_assets.index.duplicates import Alike, with_groups
from imgsearch_assets.training.hard import confused, nearest_others
from serving.index.artifact import load
from tests.conftest import Shop


def test_what_an_index_confuses_are_the_nearest_others_that_are_learned_from(shop: Shop) -> None:
    generation = load(shop.store, shop.build())
    learned = sorted(shop.ids)[::2]
    found = confused(generation, {*learned, "of another catalogue"}, k=3)
    assert sorted(found) == learned
    products = np.array([row["product_id"] for row in shop.items.to_pylist()])
    for product in learned[:5]:
        own = shop.vectors[products == product]
        scores = {
            other: float((shop.vectors[products == other] @ own.T).max())
            for other in learned
            if other != product
        }
        nearest = sorted(scores, key=lambda other: -scores[other])[:3]
        assert list(found[product]) == nearest[: len(found[product])]
        assert found[product]


def test_products_of_one_picture_are_not_told_from_each_other(shop: Shop) -> None:
    one, twin, *_ = shop.ids
    products = [row["product_id"] for row in shop.items.to_pylist()]
    rows = {name: products.index(name) + 1 for name in (one, twin)}  # of the whole picture
    shop.vectors[rows[twin]] = shop.vectors[rows[one]]
    before = confused(load(shop.store, shop.build()), shop.ids)
    assert before[one][0] == twin, "each by itself they would be the first to be confused"
    shop.products = with_groups(shop.products, shop.items, shop.vectors, Alike()).products
    found = confused(load(shop.store, shop.build()), shop.ids)
    assert twin not in found[one]
    assert one not in found[twin]


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


def test_the_same_picture_under_another_name_is_no_negative() -> None:
    angles = np.radians([0, 0, 20])
    xb = np.stack((np.cos(angles), np.sin(angles)), 1).astype(np.float32)
    found = nearest_others(xb, np.array([0, 1, 2]))
    assert {product: others.tolist() for product, others in found.items()} == {0: [2], 1: [2], 2: [0, 1]}


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(1, 4))
def test_no_product_is_its_own_neighbour(labels: list[int], k: int) -> None:
    xb = np.random.default_rng(0).normal(size=(len(labels), 4)).astype(np.float32)
    xb /= np.linalg.norm(xb, axis=1, keepdims=True)
    for product, others in nearest_others(xb, np.array(labels), k).items():
        assert product not in others
        assert len(others) == len(set(others.tolist())) == min(k, len(set(labels)) - 1)
