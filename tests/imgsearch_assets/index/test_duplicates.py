from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsearch_assets.index import duplicates
from imgsearch_assets.index.duplicates import Alike, design_name, near_pairs, with_groups
from serving.images.box import Box
from serving.index.generation import ITEMS, PRODUCTS

WHOLE, ITEM = Box.whole().key, Box(0.1, 0.1, 0.6, 0.6).key
DIM = 16


def at(degrees: float, axis: int = 1) -> np.ndarray:
    """A unit vector at that angle from the first axis."""
    row = np.zeros(DIM, np.float32)
    row[0], row[axis] = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return row


class Catalogue:
    def __init__(self) -> None:
        self.products: list[dict[str, Any]] = []
        self.items: list[dict[str, Any]] = []
        self.vectors: list[np.ndarray] = []

    def add(self, product_id: str, *pictures: tuple[str, np.ndarray], **fields: str) -> None:
        """A product; a picture is its hash and vector."""
        urls = [f"http://shop/{product_id}/{number}.jpg" for number in range(len(pictures))]
        given = dict.fromkeys(PRODUCTS.names, "") | {"product_id": product_id, "price": 1, "in_stock": True}
        self.products.append(given | {"image_urls": urls, "name": product_id} | fields)
        for url, (sha, vector) in zip(urls, pictures, strict=True):
            self.items.append({"product_id": product_id, "image_url": url, "sha256": sha, "box": WHOLE})
            self.vectors.append(vector)

    def groups(self, **alike: float) -> tuple[dict[str, str], dict[str, str]]:
        table = pa.Table.from_pylist(self.products[::-1], schema=PRODUCTS)
        items = pa.Table.from_pylist(self.items, schema=ITEMS)
        vectors = np.stack(self.vectors) if self.vectors else np.empty((0, DIM), np.float32)
        found = with_groups(table, items, vectors, Alike(**alike)).products
        assert found.select(PRODUCTS.names) == table, "all else as it was"
        ids = found["product_id"].to_pylist()
        picture, variant = found["picture_group"].to_pylist(), found["variant_group"].to_pylist()
        return dict(sorted(zip(ids, picture, strict=True))), dict(sorted(zip(ids, variant, strict=True)))


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue()


def test_the_same_bytes_and_nearly_the_same_picture(catalogue: Catalogue) -> None:
    catalogue.add("a", ("s1", at(0)))
    catalogue.add("b", ("s2", at(10)))  # cosine 0.985
    catalogue.add("c", ("s3", at(20, 2)))  # 0.94
    catalogue.add("d", ("s1", at(0)))
    catalogue.add("e", ("s4", at(90, 3)))
    picture, variant = catalogue.groups()
    assert list(picture.values()) == ["a", "a", "c", "a", "e"]
    assert variant == picture
    assert list(catalogue.groups(picture=0.99)[0].values()) == ["a", "b", "c", "a", "e"]


def test_likeness_is_not_handed_on(catalogue: Catalogue) -> None:
    """A chain of ten, each 0.985 like the next, is no group of ten."""
    for number in range(10):
        catalogue.add(f"p{number}", (f"s{number}", at(10 * number)))
    picture, _ = catalogue.groups()
    assert list(picture.values()) == ["p0", "p0", "p2", "p2", "p4", "p4", "p6", "p6", "p8", "p8"]


def test_a_table_of_sizes_is_no_likeness(catalogue: Catalogue) -> None:
    sizes = ("sizes", at(90, 9))
    catalogue.add("a", ("s1", at(0)), sizes)
    catalogue.add("b", ("s2", at(40)), sizes)
    catalogue.add("c", ("s3", at(40, 2)), ("s4", at(40, 3)), sizes)
    assert list(catalogue.groups()[0].values()) == ["a", "b", "c"]


def test_a_product_of_which_only_the_table_was_had_draws_nobody_in(catalogue: Catalogue) -> None:
    sizes = ("sizes", at(90, 9))
    catalogue.add("a", sizes)
    catalogue.add("b", ("s2", at(40)), sizes)
    catalogue.add("c", ("s3", at(40, 2)), sizes)
    assert list(catalogue.groups()[0].values()) == ["a", "b", "c"]


def test_most_of_the_pictures_or_the_first(catalogue: Catalogue) -> None:
    front, back, side = ("s1", at(0)), ("s2", at(40)), ("s3", at(40, 2))
    catalogue.add("a", front, back, side)
    catalogue.add("b", ("s4", at(90, 4)), back, side)
    catalogue.add("c", ("s5", at(90, 5)), ("s6", at(90, 6)), side)
    catalogue.add("d", front, ("s7", at(90, 7)), ("s8", at(90, 8)))
    catalogue.add("e", back)
    assert list(catalogue.groups()[0].values()) == ["a", "a", "c", "a", "e"]


def test_what_very_many_have_is_seen_as_their_first_alone(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "COMMON", 3)
    common, other = ("none", at(0)), ("more", at(90))
    for name in "abcd":
        catalogue.add(name, common)
    for number, name in enumerate("efgh"):
        catalogue.add(name, (name, at(90, 2 + number)), common, other)
    assert list(catalogue.groups()[0].values()) == [*"aaaa", *"efgh"]


def test_variants_need_the_catalogues_word_and_the_eye(catalogue: Catalogue) -> None:
    shirt = {"brand": "Elm", "category": "shirt"}
    catalogue.add("a", ("s1", at(0)), name="Linen shirt in navy", colour="blue", **shirt)
    catalogue.add("b", ("s2", at(25)), name="Linen shirt in dark red", colour="red", **shirt)  # 0.906
    catalogue.add(
        "c", ("s3", at(25, 2)), name="Linen shirt in sand", colour="beige", brand="Oak", category="shirt"
    )
    catalogue.add("d", ("s4", at(25, 3)), name="Linen dress in sand", colour="beige", **shirt)
    catalogue.add("e", ("s5", at(60, 4)), name="Linen shirt, white", colour="white", **shirt)  # 0.5
    catalogue.add("f", ("s2", at(25)), name="Something else", colour="", brand="Pine", category="shirt")
    picture, variant = catalogue.groups()
    assert list(picture.values()) == ["a", "b", "c", "d", "e", "b"]
    assert list(variant.values()) == ["a", "a", "c", "d", "e", "a"], "one picture is one variant"


def test_a_name_that_is_everybodys_names_nothing(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "GENERIC", 2)
    for number, name in enumerate("abc"):
        catalogue.add(name, (name, at(25, 1 + number)), name="T-shirt", colour=name)
    catalogue.add("d", ("d", at(25, 5)), name="Blue", colour="blue")
    catalogue.add("e", ("e", at(25, 6)), name="Blue", colour="blue")
    assert list(catalogue.groups(variant=0.8)[1].values()) == [*"abcde"]


def test_the_whole_picture_is_compared(catalogue: Catalogue) -> None:
    for name, item in (("a", 0), ("b", 50)):
        catalogue.add(name, (name, at(90, 3)))
        catalogue.items.append({**catalogue.items[-1], "box": ITEM})
        catalogue.vectors.append(at(item))
    assert list(catalogue.groups()[0].values()) == ["a", "a"]


def test_products_without_pictures_are_alone(catalogue: Catalogue) -> None:
    catalogue.add("a")
    catalogue.add("b")
    assert catalogue.groups() == ({"a": "a", "b": "b"}, {"a": "a", "b": "b"})


@pytest.mark.parametrize(
    ("name", "colour", "wanted"),
    [
        ("Linen shirt in navy", "blue", "linen shirt"),
        ("Linen Shirt - Dark Blue", "blue", "linen shirt"),
        ("Hemd, blau", "blau", "hemd"),
        ("Hemd, blau", "rot", "hemd blau"),
        ("Black", "black", ""),
    ],
)
def test_a_name_without_its_colour(name: str, colour: str, wanted: str) -> None:
    assert design_name(name, colour) == wanted


@given(st.integers(0, 2**16), st.integers(1, 60))
def test_every_member_is_like_the_first_of_its_group(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    catalogue = Catalogue()
    xb = rng.normal(size=(count, 3))
    xb /= np.linalg.norm(xb, axis=1, keepdims=True)
    for number, row in enumerate(xb):
        catalogue.add(f"p{number:03d}", (f"s{number}", np.append(row, np.zeros(DIM - 3)).astype(np.float32)))
    picture, _ = catalogue.groups(picture=0.9)
    places = {name: number for number, name in enumerate(picture)}
    for name, group in picture.items():
        assert group <= name
        assert picture[group] == group
        assert xb[places[name]] @ xb[places[group]] >= 0.9 - 1e-5


def test_large_catalogues_are_compared_by_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    xb = rng.normal(size=(3_000, 32)).astype(np.float32)
    xb[1::2] = xb[::2] + rng.normal(size=(1_500, 32)) * 0.1
    xb /= np.linalg.norm(xb, axis=1, keepdims=True)
    exact, crowded = near_pairs(xb, 0.97)
    assert not crowded.any()
    assert len(exact) >= 1_400
    monkeypatch.setattr(duplicates, "EXACT_PICTURES", 1_000)
    cells, crowded = near_pairs(xb, 0.97)
    assert not crowded.any()
    assert (cells == near_pairs(xb, 0.97)[0]).all()
    assert len(set(map(tuple, cells)) & set(map(tuple, exact))) >= 0.97 * len(exact)


@pytest.mark.parametrize("exact", [10_000, 100])
def test_very_many_files_of_one_picture_are_one_group(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, exact: int
) -> None:
    monkeypatch.setattr(duplicates, "EXACT_PICTURES", exact)
    rng = np.random.default_rng(0)
    for number in range(300):
        row = at(0) + rng.normal(size=DIM) * 0.01
        catalogue.add(f"p{number:03d}", (f"s{number}", (row / np.linalg.norm(row)).astype(np.float32)))
    for number in range(3_000):
        row = rng.normal(size=DIM)
        catalogue.add(f"q{number:04d}", (f"o{number}", (row / np.linalg.norm(row)).astype(np.float32)))
    picture, _ = catalogue.groups()
    assert {group for name, group in picture.items() if name.startswith("p")} == {"p000"}


@pytest.mark.parametrize("first", [True, False])
def test_whoever_is_like_a_crowded_picture_is_found(catalogue: Catalogue, first: bool) -> None:
    """A hub that a hundred pictures are like, which are not like one another."""
    spokes = np.eye(110, dtype=np.float32)[1:101] * 0.27
    spokes[:, 0] = (1 - 0.27**2) ** 0.5
    rows = [(f"p{number:03d}", row) for number, row in enumerate(spokes, 1)]
    hub = ("p000", np.eye(110, dtype=np.float32)[0])
    for place, (name, row) in enumerate([hub, *rows] if first else [*rows, hub]):
        catalogue.add(name, (f"s{place:03d}", row))
    assert set(catalogue.groups(picture=0.96)[0].values()) == {"p000"}


def test_a_picture_of_very_many_keeps_the_nearest() -> None:
    xb = np.zeros((150, DIM), np.float32)
    xb[:, 0] = 1
    pairs, crowded = near_pairs(xb, 0.97)
    assert crowded.all()
    assert np.bincount(pairs[:, 0]).max() == duplicates.NEIGHBOURS
    assert (pairs[:, 0] < pairs[:, 1]).all()
