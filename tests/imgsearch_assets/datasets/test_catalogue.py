from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from imgsearch_assets.datasets.catalogue import load
from imgsearch_assets.images.store import Fetch, fetch_rows, fetch_table, picture_key
from imgsearch_assets.release import publish
from imgsearch_assets.snapshot import products_key
from imgsearch_assets.tables import parquet_bytes
from serving.errors import BadInput
from tests.conftest import Shop

_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def fetched(url: str, sha256: str) -> Fetch:
    return Fetch(url, "ok", None, 200, sha256, 9, 20, 20, None, None, _NOW, 0, None)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An installation with a live generation and the pictures of its products."""
    shop = Shop(tmp_path / "home" / "objects", products=2)
    rows = shop.products.append_column("updated_at", pa.array([_NOW] * 2, pa.timestamp("us", "UTC")))
    urls = [["http://shop/a", "http://shop/same", "http://shop/gone"], ["http://shop/b"]]
    rows = rows.set_column(rows.schema.get_field_index("image_urls"), "image_urls", pa.array(urls))
    shop.store.put(products_key("snapshot-1"), parquet_bytes(rows))
    hashes = {"a": "aa", "same": "aa", "gone": "cc", "b": "bb"}
    fetches = [fetched(f"http://shop/{name}", sha) for name, sha in hashes.items()]
    fetch_table(shop.store).append(fetch_rows(fetches))
    for sha in ("aa", "bb"):
        shop.store.put(picture_key(sha), sha.encode())
    publish(shop.store, "local", shop.build("snapshot-1").id, "test", "test")
    return tmp_path / "home"


def test_the_pictures_of_what_is_live(home: Path) -> None:
    dataset = load(home)
    assert sorted(one.path.name for one in dataset.pictures) == ["aa", "bb"]
    assert len({one.product for one in dataset.pictures}) == 2
    assert all(one.category for one in dataset.pictures)
    assert dataset.skipped == {"missing": 1}
    assert len(dataset.version) == 16


def test_where_there_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"/objects is not there; expected is the folder of an installation"):
        load(tmp_path)
    (tmp_path / "objects").mkdir()
    with pytest.raises(BadInput, match=r"^nothing was ever released in local; run the pipeline first$"):
        load(tmp_path)
