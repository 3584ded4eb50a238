from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsearch_assets.datasets.dataset import Labelled
from imgsearch_assets.evaluation import retrieval
from imgsearch_assets.evaluation.retrieval import Embedded, Retrieval, flat, retrieve
from serving.errors import BadInput


def embedded(pictures: list[Labelled], rows: list[list[list[float]]]) -> Embedded:
    """Pictures, each with its rows."""
    of = [number for number, some in enumerate(rows) for _ in some]
    return Embedded(
        tuple(pictures), np.array([row for some in rows for row in some], np.float32), np.array(of, np.int64)
    )


def naive(queries: Embedded, gallery: Embedded) -> dict[str, float]:
    """The same figures as loops over single pairs."""

    def score(q: int, g: int) -> float:
        return max(
            float(np.dot(queries.vectors[i], gallery.vectors[j]))
            for i in np.flatnonzero(queries.picture_of == q)
            for j in np.flatnonzero(gallery.picture_of == g)
        )

    recalls: dict[int, list[bool]] = {1: [], 10: [], 20: []}
    precisions, kin = [], []
    for q, query in enumerate(queries.pictures):
        name = queries.products[q]
        seen = [g for g, one in enumerate(gallery.pictures) if one.path != query.path]
        pairs = sorted((-score(q, g), gallery.products[g] == name, gallery.products[g], g) for g in seen)
        products: dict[str, int] = {}
        for _, _, product, g in pairs:
            products.setdefault(product, g)
        others = [g for product, g in products.items() if product != name]
        if query.category and others:
            same = [gallery.pictures[g].category == query.category for g in others[:5]]
            kin.append(sum(same) / len(same))
        if name not in products:
            continue
        for k, hits in recalls.items():
            hits.append(name in list(products)[:k])
        right = [product == name for _, _, product, _ in pairs]
        gained = sum(sum(right[: i + 1]) / (i + 1) for i in range(min(10, len(right))) if right[i])
        precisions.append(gained / min(10, sum(right)))
    every = {f"recall_at_{k}": hits for k, hits in recalls.items()}
    figures: dict[str, list[bool] | list[float]] = {
        **every,
        "map_at_10": precisions,
        "category_precision_at_5": kin,
    }
    return {name: float(np.mean(values)) for name, values in figures.items() if values}


@st.composite
def sides(draw: st.DrawFn) -> tuple[Embedded, Embedded]:
    # Few and small whole numbers: many equal scores, and sums that are exact in any order.
    row = st.lists(st.integers(-2, 2).map(float), min_size=3, max_size=3)
    rows = st.lists(row, min_size=1, max_size=3)
    product = st.sampled_from(["", "a", "b", "c", "d"])
    # A product has one category.
    category = {"a": "shoe", "b": "shoe", "c": "hat", "d": ""}

    def side(least: int, most: int, name: str) -> Embedded:
        count = draw(st.integers(least, most))
        pictures = []
        for number in range(count):
            one = draw(product)
            path = Path("both" if name == "q" and draw(st.booleans()) else name) / str(number)
            pictures.append(Labelled(path, one, category.get(one, "hat")))
        return embedded(pictures, [draw(rows) for _ in range(count)])

    gallery = side(1, 14, "both")
    return side(1, 6, "q"), gallery


@given(sides(), st.integers(1, 40))
def test_it_is_what_a_loop_says(both: tuple[Embedded, Embedded], block: int) -> None:
    queries, gallery = both
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "_BLOCK", block)
        found = retrieve(queries, gallery)
    figures = dict(found.figures)
    assert figures.pop("queries") == len(queries.pictures)
    assert figures == pytest.approx(naive(queries, gallery))


@pytest.fixture
def shop() -> Retrieval:
    gallery = embedded(
        [
            Labelled(Path("a1"), "a", "shoe"),
            Labelled(Path("b1"), "b", "shoe"),
            Labelled(Path("a2"), "a", "shoe"),
            Labelled(Path("c1"), "c", "hat"),
        ],
        [[[1, 0]], [[0.9, 0.1], [0, 1]], [[0.8, 0.2]], [[0, 0.9]]],
    )
    queries = embedded(
        [
            Labelled(Path("q1"), "a", "shoe", "street"),
            Labelled(Path("q2"), "c", "hat", "street"),
            Labelled(Path("a1"), "a", "shoe"),
            Labelled(Path("q3"), "none", "shoe"),
        ],
        [[[1, 0]], [[0.1, 0], [0, 1]], [[1, 0]], [[1, 0]]],
    )
    return retrieve(queries, gallery)


def test_ranks_are_of_products_and_the_own_picture_is_left_out(shop: Retrieval) -> None:
    assert shop.ranks.tolist() == [1, 2, 2, 0]
    assert shop.answers[:, :4].tolist() == [[0, 1, 3, -1], [1, 3, 2, -1], [1, 2, 3, -1], [0, 1, 3, -1]]
    assert shop.scores[0, :3].tolist() == pytest.approx([1, 0.9, 0])


def test_average_precision_is_of_pictures(shop: Retrieval) -> None:
    # Places 1 and 3 of two; place 2 of one; place 2 of the one that is left.
    assert shop.average_precision[:3].tolist() == pytest.approx([(1 + 2 / 3) / 2, 1 / 2, 1 / 2])
    assert np.isnan(shop.average_precision[3])


def test_figures_by_kind_and_category(shop: Retrieval) -> None:
    assert shop.recall_at(1) == pytest.approx(1 / 3)
    assert shop.by_kind["street"]["recall_at_1"] == 0.5
    assert shop.by_kind["shop"] == {
        "queries": 2,
        "recall_at_1": 0,
        "recall_at_10": 1,
        "recall_at_20": 1,
        "map_at_10": 0.5,
        "category_precision_at_5": pytest.approx((1 / 2 + 2 / 3) / 2),
    }
    assert list(shop.by_category) == ["hat", "shoe"]
    assert shop.by_category["hat"]["category_precision_at_5"] == 0
    assert shop.worst(2) == [1, 2]
    assert shop.worst(9) == [1, 2]


def test_one_vector_for_everything_finds_nothing() -> None:
    pictures = [Labelled(Path(name), name) for name in "abcd"]
    same = embedded(pictures, [[[1.0, 0.0]]] * 4)
    asked = embedded([Labelled(Path(f"q{one.product}"), one.product) for one in pictures], [[[1.0, 0.0]]] * 4)
    assert retrieve(asked, same).recall_at(1) == 0


def test_what_cannot_be_measured() -> None:
    one = embedded([Labelled(Path("a"), "a")], [[[1.0]]])
    with pytest.raises(BadInput, match=r"^nothing to measure: there must be pictures to ask with"):
        retrieve(one, Embedded((), np.zeros((0, 1), np.float32), np.zeros(0, np.int64)))
    with pytest.raises(BadInput, match="the embedder's weights are damaged"):
        embedded([Labelled(Path("a"), "a")], [[[float("nan")]]])
    with pytest.raises(ValueError, match="count up"):
        Embedded(one.pictures, one.vectors, np.array([1]))
    with pytest.raises(ValueError, match="do not fit"):
        Embedded(one.pictures, one.vectors, np.array([0, 0]))


def test_figures_of_parts_get_their_names() -> None:
    assert flat({"street": {"recall_at_1": 0.5}}) == {"street_recall_at_1": 0.5}
