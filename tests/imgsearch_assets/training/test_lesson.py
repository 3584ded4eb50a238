from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from imgsearch_assets.images.store import Fetch, fetch_rows, fetch_table, picture_key
from imgsearch_assets.release import publish
from imgsearch_assets.snapshot import products_key
from imgsearch_assets.tables import parquet_bytes
from imgsearch_assets.training.lesson import OF_KINDS, OF_PRODUCTS, lesson
from tests.conftest import Shop

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
PRODUCTS = 12


def picture(path: Path, number: int) -> bytes:
    small = np.random.default_rng(number).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    cv2.imwrite(str(path), cv2.resize(small, (96, 96), interpolation=cv2.INTER_CUBIC))
    return path.read_bytes()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An installation with a live generation, and two pictures of each of its products."""
    shop = Shop(tmp_path / "home" / "objects", products=PRODUCTS)
    rows = shop.products.append_column("updated_at", pa.array([_NOW] * PRODUCTS, pa.timestamp("us", "UTC")))
    urls = [[f"http://shop/{number}", f"http://shop/{number + 1_000}"] for number in range(PRODUCTS)]
    rows = rows.set_column(rows.schema.get_field_index("image_urls"), "image_urls", pa.array(urls))
    shop.store.put(products_key("snapshot-1"), parquet_bytes(rows))
    fetches = []
    for number, url in enumerate(url for some in urls for url in some):
        sha = f"{number:064x}"
        shop.store.put(picture_key(sha), picture(tmp_path / "one.jpg", number))
        fetches.append(Fetch(url, "ok", None, 200, sha, 9, 96, 96, None, None, _NOW, 0, None))
    fetch_table(shop.store).append(fetch_rows(fetches))
    publish(shop.store, "local", shop.build("snapshot-1").id, "test", "test")
    return tmp_path / "home"


def test_the_products_of_an_installation_with_what_its_index_confuses(home: Path, tmp_path: Path) -> None:
    taught = lesson(f"catalogue:{home}", 0, 0, tmp_path / "work")
    learned = {one.product for one in taught.pictures}
    unseen = {one.product for one in taught.unseen.pictures}
    assert learned
    assert unseen
    assert not learned & unseen
    assert len(learned | unseen) == PRODUCTS
    assert (taught.recipe, taught.boxes, taught.left_out) == (OF_PRODUCTS, "detected", 0)
    assert len(taught.generation) == 16
    assert set(taught.confused) == learned
    assert {other for others in taught.confused.values() for other in others} <= learned
    assert all(taught.confused.values())


def test_photos_by_category_teach_kinds_and_copies_of_held_out_ones_nothing(tmp_path: Path) -> None:
    for number in range(30):
        folder = tmp_path / "photos" / ("hat", "shoe")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        picture(folder / f"{number}.jpg", number // 2)  # of two kinds, yet each twice
    taught = lesson(str(tmp_path / "photos"), 0, 0, tmp_path / "work")
    assert (taught.recipe, taught.boxes, taught.generation) == (OF_KINDS, "whole", "")
    assert taught.left_out > 0
    held = {one.path.read_bytes() for one in taught.unseen.pictures if one.kind == "shop"}
    assert not held & {one.path.read_bytes() for one in taught.pictures}
    assert {one.kind for one in taught.unseen.pictures} == {"shop", "again"}
