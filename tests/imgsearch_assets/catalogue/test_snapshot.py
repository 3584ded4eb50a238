"""Snapshots, and the tables between one and an index."""

from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imgsearch_assets.catalogue.contract import PRODUCTS, REJECTED
from imgsearch_assets.catalogue.diff import difference
from imgsearch_assets.catalogue.snapshot import (
    changes_of,
    failures_of,
    items_of,
    keep,
    live_manifest,
    live_products,
    look_of,
    newest_change,
    pictures_of,
    products_key,
    rejected_key,
    take_snapshot,
    touched_now,
    urls_of,
    with_vectors,
)
from imgsearch_assets.catalogue.warehouse import Answer, FileWarehouse
from imgsearch_assets.features.tables import DETECTIONS, embeddings_schema
from imgsearch_assets.index.generation import build_generation
from imgsearch_assets.release.publish import publish
from imgsearch_assets.tables import read_parquet
from serving.errors import BadInput, Unverified
from serving.images.box import Box
from serving.index.generation import ITEMS
from serving.object_store import LocalObjectStore

THEN = datetime(2026, 1, 1, tzinfo=UTC)


def product(product_id: str, *views: str, **columns: Any) -> dict[str, Any]:
    return {
        "product_id": product_id,
        "name": "",
        "brand": "",
        "category": "shirt",
        "colour": "",
        "price": 1,
        "currency": "EUR",
        "in_stock": True,
        "image_urls": [f"http://shop.example/{view}.jpg" for view in views],
        "updated_at": THEN,
    } | columns


def products(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=PRODUCTS)


@pytest.fixture
def store(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path / "objects")


def test_a_snapshot_is_named_by_its_content(store: LocalObjectStore, tmp_path: Path) -> None:
    file = tmp_path / "c.parquet"
    bad = product("b") | {"image_urls": []}
    rows = pa.Table.from_pylist([product("a", "1"), bad], schema=pa.schema([*PRODUCTS]))
    pq.write_table(rows, file)
    warehouse = FileWarehouse(str(file))
    found, taken = take_snapshot(store, warehouse)
    assert take_snapshot(store, warehouse)[0] == found
    assert look_of(store, found) == 2, "whatever the clock says"
    assert read_parquet(store, products_key(found)).equals(taken.value.products)
    assert read_parquet(store, rejected_key(found)).equals(taken.value.rejected)
    assert taken.value.rejected.schema == REJECTED
    pq.write_table(rows.slice(0, 1), file)
    assert take_snapshot(store, warehouse)[0] != found


def test_what_is_read_last_is_kept_last(store: LocalObjectStore, tmp_path: Path) -> None:
    """Also where the catalogue changes while another reads it."""
    file = tmp_path / "c.parquet"
    pq.write_table(products(product("a", "1")), file)
    later: Future[str] = Future()

    class Changing(FileWarehouse):
        def snapshot(self) -> Answer[pa.Table]:
            rows = super().snapshot()
            pq.write_table(products(product("b", "2")), file)
            other = Thread(
                target=lambda: later.set_result(take_snapshot(store, FileWarehouse(self.location))[0])
            )
            other.start()
            other.join(0.5)
            return rows

    first, _ = take_snapshot(store, Changing(str(file)))
    second = later.result(20)
    assert first != second
    assert store.age_s(products_key(second)) < store.age_s(products_key(first))


def test_a_catalogue_without_a_good_row_is_refused(store: LocalObjectStore, tmp_path: Path) -> None:
    file = tmp_path / "c.parquet"
    pq.write_table(products(product("a"), product("b"), product("b")), file)
    with pytest.raises(BadInput) as refused:
        take_snapshot(store, FileWarehouse(str(file)))
    assert str(refused.value) == (f"none of the 3 rows of {file} can be used (no_picture 2, duplicate_id 1)")
    assert not list(store.list("snapshots"))


def test_the_newest_change_is_of_those_that_a_calendar_has(store: LocalObjectStore, tmp_path: Path) -> None:
    file = tmp_path / "c.duckdb"
    rows = pa.Table.from_pylist(
        [product("a", "http://s/1", updated_at=THEN), product("b", "http://s/2")], schema=PRODUCTS
    )
    with duckdb.connect(str(file)) as connection:
        connection.register("rows", rows)
        connection.execute("CREATE TABLE products AS SELECT * FROM rows")
        connection.execute("UPDATE products SET updated_at = 'infinity' WHERE product_id = 'b'")
    snapshot, taken = take_snapshot(store, FileWarehouse(str(file)))
    assert taken.value.rejected.select(["product_id", "reason"]).to_pylist() == [
        {"product_id": "b", "reason": "bad_type"}
    ]
    assert newest_change(store, snapshot) == THEN.timestamp()


def test_a_table_is_kept_under_its_content(store: LocalObjectStore) -> None:
    table = pa.table({"a": [1]})
    key = keep(store, "s", "pictures", table)
    assert key.startswith("snapshots/s/pictures-")
    assert keep(store, "s", "pictures", table) == key
    assert keep(store, "s", "pictures", pa.table({"a": [2]})) != key
    assert read_parquet(store, key).equals(table)


def test_a_picture_counts_once_a_product() -> None:
    urls = urls_of(products(product("a", "2", "1", "2"), product("b", "1")))
    assert urls.select(["product_id", "image_url"]).to_pylist() == [
        {"product_id": "a", "image_url": "http://shop.example/2.jpg"},
        {"product_id": "a", "image_url": "http://shop.example/1.jpg"},
        {"product_id": "b", "image_url": "http://shop.example/1.jpg"},
    ]
    assert set(urls.column_names) == {"product_id", "category", "image_url", "updated_at"}


def test_touched_products_count_as_touched_now() -> None:
    rows = products(*(product(name, name) for name in "abcd"))
    moved = products(
        product("a", "a", updated_at=None),
        product("b", "b", updated_at=None, price=7),
        product("c", "c", price=7),
        product("d", "d"),
    )
    changes = changes_of(difference(rows, moved))
    assert changes.sort_by("product_id").to_pylist() == [
        {"product_id": "a", "change": "touched", "rewritten": True},
        {"product_id": "b", "change": "reattributed", "rewritten": True},
        {"product_id": "c", "change": "reattributed", "rewritten": False},
    ]
    now = datetime(2026, 6, 1, tzinfo=UTC)
    assert touched_now(urls_of(rows), changes, now)["updated_at"].to_pylist() == [now, now, THEN, THEN]


def test_pictures_and_failures() -> None:
    urls = urls_of(products(product("a", "1", "2"), product("b", "1", "3")))
    fetches = pa.table(
        {
            "url": [f"http://shop.example/{view}.jpg" for view in (1, 2)],
            "status": ["ok", "failed"],
            "sha256": ["s1", None],
            "reason": [None, "timeout"],
        }
    )
    assert [(row["product_id"], row["sha256"]) for row in pictures_of(urls, fetches).to_pylist()] == [
        ("a", "s1"),
        ("b", "s1"),
    ]
    assert failures_of(urls, fetches).to_pylist() == [
        {"product_id": "a", "image_url": "http://shop.example/2.jpg", "reason": "timeout"}
    ]


def test_items_are_boxes_of_good_pictures() -> None:
    pictures = pa.table(
        {
            "product_id": ["a", "b", "c"],
            "category": ["shirt", "hat", "hat"],
            "image_url": ["u1", "u1", "u2"],
            "sha256": ["s1", "s1", "s2"],
        }
    )
    shirt, hat = Box(0, 0, 0.5, 0.5), Box(0.5, 0.5, 1, 1)
    detections = pa.Table.from_pylist(
        [
            {
                "sha256": "s1",
                "status": "ok",
                "boxes": [shirt.key, hat.key],
                "categories": ["shirt", "hat"],
                "scores": [0.9, 0.8],
            },
            {"sha256": "s2", "status": "failed", "reason": "truncated"},
        ],
        schema=DETECTIONS,
    )
    items = items_of(pictures, detections)
    assert items.schema == ITEMS
    assert [(row["product_id"], row["box"]) for row in items.to_pylist()] == [
        ("a", shirt.key),
        ("a", Box.whole().key),
        ("b", hat.key),
        ("b", Box.whole().key),
    ]


def test_items_get_their_vectors_and_those_without_are_left_out() -> None:
    items = pa.Table.from_pylist(
        [
            {"product_id": name, "image_url": "u", "sha256": sha, "box": "b"}
            for name, sha in (("a", "s2"), ("b", "s1"), ("c", "s2"), ("d", "s3"))
        ],
        schema=ITEMS,
    )
    embeddings = pa.Table.from_pylist(
        [
            {"sha256": "s1", "box": "b", "status": "ok", "vector": [np.float16(1), np.float16(0)]},
            {"sha256": "s2", "box": "b", "status": "ok", "vector": [np.float16(0), np.float16(1)]},
            {"sha256": "s3", "box": "b", "status": "failed", "reason": "truncated"},
        ],
        schema=embeddings_schema(2),
    )
    found = with_vectors(items, embeddings)
    assert [(row["product_id"], row["vector"]) for row in found.to_pylist()] == [
        ("a", [0, 1]),
        ("b", [1, 0]),
        ("c", [0, 1]),
    ]


def test_what_is_live_is_what_was_released(store: LocalObjectStore) -> None:
    assert live_manifest(store, "local") is None
    assert live_products(store, "local") is None
    rows = products(product("a", "1"), product("b", "2"), product("c", "3"))
    items = pa.Table.from_pylist(
        [{"product_id": name, "image_url": "u", "sha256": "s", "box": "0,0,1,1"} for name in "ab"],
        schema=ITEMS,
    )
    built = build_generation(
        store,
        rows,
        items,
        np.eye(2, 8, dtype=np.float32),
        embedder="e",
        preprocessing="p",
        detector="d",
        snapshot="s",
    )
    publish(store, "local", built.id, who="test", why="test")
    assert live_manifest(store, "local") == built
    live = live_products(store, "local")
    assert live is not None
    # c has no picture, so it is not live, and new the next time.
    assert difference(rows, live).counts == {
        **dict.fromkeys(("removed", "repictured", "touched", "reattributed"), 0),
        "new": 1,
        "unchanged": 2,
    }
    store.put(built.segment("products").key, b"x" * built.segment("products").size_bytes)
    with pytest.raises(Unverified, match="does not have the hash that its name says"):
        live_products(store, "local")
