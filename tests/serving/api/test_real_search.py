"""The front before the real search service: a process of its own, a small generation, a change of it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from imgsearch_assets.index import build_generation
from serving.images.box import Box
from serving.index.generation import ITEMS, PRODUCTS
from serving.index.store import point, read_pointer
from serving.object_store import LocalObjectStore


@pytest.fixture
def search_address(tmp_path: Path) -> Iterator[str]:
    """``python -m serving search`` over ``tmp_path``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "serving", "search", "--port", "0"],
        env={**os.environ, "IMGSEARCH_HOME": str(tmp_path), "IMGSEARCH_POLL_INTERVAL_S": "0.1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip().removeprefix("listening on ")
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def publish(home: Path, catalogue: dict[str, Any]) -> str:
    """Makes these products, one row each, the live generation; its id."""
    store = LocalObjectStore(home / "objects")
    names = PRODUCTS.names
    rows = [{name: getattr(product, name) for name in names} for product, _ in catalogue.values()]
    for row in rows:
        row["image_urls"] = list(row["image_urls"])
    items = [
        {
            "product_id": row["product_id"],
            "image_url": row["image_urls"][0],
            "sha256": "0" * 64,
            "box": Box.whole().key,
        }
        for row in rows
    ]
    manifest = build_generation(
        store,
        pa.Table.from_pylist(rows, schema=PRODUCTS),
        pa.Table.from_pylist(items, schema=ITEMS),
        np.stack([vector for _, vector in catalogue.values()]),
        embedder="embedder-1",
        preprocessing="p",
        detector="detector-1",
        snapshot="s",
    )
    point(store, "local", manifest, "test", "test", read_pointer(store, "local"))
    return manifest.id


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_from_an_empty_shop_to_a_new_generation(
    tmp_path: Path, search_address: str, run_house: Any, patches: Callable[..., bytes]
) -> None:
    with run_house(search_address=search_address) as house:

        def search() -> dict[str, Any]:
            files = {"image": patches("red", "blue")}
            answer: dict[str, Any] = house.http.post("/v1/search/image", files=files).json()
            return answer

        assert search()["error"]["code"] == "unavailable"
        assert house.http.get("/v1/status").json()["state"] == "empty"

        catalogue = house.search.catalogue()
        catalogue["green-bag"][0].in_stock = False
        first = publish(tmp_path, catalogue)
        wait_until(lambda: house.http.get("/readyz").status_code == 200)
        answer = search()
        assert answer["generation"] == first
        assert answer["results"][0]["product_id"] == "red-dress"
        assert answer["results"][0]["score"] > 0.99
        status = house.http.get("/v1/status").json()
        assert status["products"] == 12
        assert sorted(status["values"]["colours"]) == ["blue", "green", "red", "yellow"]
        body = {"product_id": "green-shirt", "k": 2, "filters": {"in_stock_only": False}}
        similar = house.http.post("/v1/search", json=body).json()["results"]
        assert {result["colour"] for result in similar} == {"green"}
        similar = house.http.get("/v1/products/green-shirt/similar?k=2").json()["results"]
        assert [result["product_id"] for result in similar][:1] == ["green-dress"]
        assert "green-bag" not in [result["product_id"] for result in similar], "it is sold out"

        del catalogue["red-dress"]
        second = publish(tmp_path, catalogue)
        wait_until(lambda: search()["generation"] == second)
        assert search()["results"][0]["product_id"] == "red-bag"
        assert house.http.get("/v1/products/red-dress").status_code == 404
