"""An installation whose products have pictures, as the pipeline leaves it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pyarrow as pa

from imgsearch_assets.catalogue.snapshot import products_key
from imgsearch_assets.images.store import Fetch, fetch_rows, fetch_table, picture_key
from imgsearch_assets.release.publish import publish
from imgsearch_assets.tables import parquet_bytes
from tests.conftest import Shop

_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def install(shop: Shop, urls: Sequence[Sequence[str]], hashes: Mapping[str, str]) -> None:
    """Release ``shop`` with each product's ``urls``, fetched as files of those ``hashes``."""
    count = len(shop.ids)
    rows = shop.products.append_column("updated_at", pa.array([_NOW] * count, pa.timestamp("us", "UTC")))
    rows = rows.set_column(rows.schema.get_field_index("image_urls"), "image_urls", pa.array(urls))
    shop.store.put(products_key("snapshot-1"), parquet_bytes(rows))
    fetches = [
        Fetch(url, "ok", None, 200, sha, 9, 20, 20, None, None, _NOW, 0, None) for url, sha in hashes.items()
    ]
    fetch_table(shop.store).append(fetch_rows(fetches))
    publish(shop.store, "local", shop.build("snapshot-1").id, "test", "test")


def put_picture(shop: Shop, sha: str, data: bytes) -> None:
    shop.store.put(picture_key(sha), data)
