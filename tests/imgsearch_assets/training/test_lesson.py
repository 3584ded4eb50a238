from pathlib import Path

import cv2
import numpy as np
import pytest

from imgsearch_assets.training.lesson import OF_KINDS, OF_PRODUCTS, lesson
from serving.errors import BadInput
from tests.conftest import Shop
from tests.imgsearch_assets.datasets.installed import install, put_picture

PRODUCTS = 12


def picture(path: Path, number: int) -> bytes:
    small = np.random.default_rng(number).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    cv2.imwrite(str(path), cv2.resize(small, (96, 96), interpolation=cv2.INTER_CUBIC))
    return path.read_bytes()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An installation with a live generation, and two pictures of each of its products."""
    shop = Shop(tmp_path / "home" / "objects", products=PRODUCTS)
    urls = [[f"http://shop/{number}", f"http://shop/{number + 1_000}"] for number in range(PRODUCTS)]
    hashes = {url: f"{number:064x}" for number, url in enumerate(url for some in urls for url in some)}
    install(shop, urls, hashes)
    for number, sha in enumerate(hashes.values()):
        put_picture(shop, sha, picture(tmp_path / "one.jpg", number))
    return tmp_path / "home"


def test_the_products_of_an_installation_with_what_its_index_confuses(home: Path, tmp_path: Path) -> None:
    taught = lesson(f"catalogue:{home}", 0, 0, tmp_path / "work")
    learned = {one.product for one in taught.pictures}
    unseen = {one.product for one in taught.unseen.pictures}
    assert learned
    assert unseen
    assert not learned & unseen
    assert len(learned | unseen) == PRODUCTS
    assert (taught.recipe, taught.boxes, taught.left_out) == (OF_PRODUCTS, "detected", {})
    assert len(taught.generation) == 16
    assert set(taught.confused) == learned
    assert {other for others in taught.confused.values() for other in others} <= learned
    assert all(taught.confused.values())


def test_the_seed_of_what_is_measured_with_teaches_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="seed 1000003 draws what models are measured with"):
        lesson("drawn", 4, 1_000_003, tmp_path)


def test_a_damaged_held_out_photo_is_named(tmp_path: Path) -> None:
    for number in range(12):
        folder = tmp_path / "photos" / ("hat", "shoe")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        data = picture(folder / f"{number}.jpg", number)
        (folder / f"{number}.jpg").write_bytes(data[: len(data) // 2])
    (tmp_path / "photos" / "hat" / "none.jpg").write_bytes(b"text")
    with pytest.raises(BadInput, match=r"\.jpg cannot be read as a picture .*; mend it, or take it out"):
        lesson(str(tmp_path / "photos"), 0, 0, tmp_path / "work")


def test_photos_by_category_teach_kinds_and_copies_of_held_out_ones_nothing(tmp_path: Path) -> None:
    for number in range(30):
        folder = tmp_path / "photos" / ("hat", "shoe")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        picture(folder / f"{number}.jpg", number // 2)  # of two kinds, yet each twice
    taught = lesson(str(tmp_path / "photos"), 0, 0, tmp_path / "work")
    assert (taught.recipe, taught.boxes, taught.generation) == (OF_KINDS, "whole", "")
    assert taught.left_out["picture_like_a_held_out_one"] > 0
    assert len(taught.dataset) == 16
    held = {one.path.read_bytes() for one in taught.unseen.pictures if one.kind == "shop"}
    assert not held & {one.path.read_bytes() for one in taught.pictures}
    assert {one.kind for one in taught.unseen.pictures} == {"shop", "again"}
