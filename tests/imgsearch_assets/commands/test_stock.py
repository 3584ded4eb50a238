"""``imgsearch stock`` as processes, over a DuckDB catalogue that a shop writes to."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pyarrow as pa
import pytest

from imgsearch_assets.catalogue.contract import COLUMNS
from imgsearch_assets.local.processes import free_port
from serving.cache.stock import IN_STOCK, SOLD_OUT
from serving.cache.stock_log import StockLog
from tests.running import until


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    path = tmp_path / "c.duckdb"
    columns: dict[str, Any] = dict.fromkeys(COLUMNS, [""] * 1000)
    columns["product_id"] = [f"p{number}" for number in range(1000)]
    columns["in_stock"] = [number % 10 > 0 for number in range(1000)]
    with duckdb.connect(str(path)) as connection:
        connection.from_arrow(pa.table(columns)).create("products")
    return path


@pytest.fixture
def environment(catalogue: Path, redis_process: Any) -> dict[str, str]:
    return os.environ | {"IMGSEARCH_CATALOGUE": str(catalogue), "IMGSEARCH_REDIS_URL": redis_process.url}


@pytest.fixture
def log(redis_process: Any) -> Iterator[StockLog]:
    found = StockLog(redis_process.url, "local")
    yield found
    found.close()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "imgsearch_assets.commands.stock", *arguments]


def said(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        command(*arguments), env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


def sell(catalogue: Path, *products: str, in_stock: bool = False) -> None:
    for _ in range(500):
        try:
            with duckdb.connect(str(catalogue)) as connection:
                connection.execute(
                    "UPDATE products SET in_stock = ? WHERE product_id IN (SELECT unnest(?))",
                    [in_stock, list(products)],
                )
            return
        except duckdb.IOException:  # the feed reads
            time.sleep(0.02)
    pytest.fail("the catalogue stays locked")


def value(log: StockLog, product: str) -> int | None:
    known = log.whole()
    if known is None:
        return None
    ids, values = known.all()
    return dict(zip(ids.to_pylist(), values.tolist(), strict=True)).get(product)


def test_a_sale_is_in_redis_within_a_moment(
    catalogue: Path, environment: dict[str, str], log: StockLog, redis_process: Any, tmp_path: Path
) -> None:
    told, port = tmp_path / "feed.log", free_port()
    with told.open("w") as stderr:
        feed = subprocess.Popen(command("feed", "--metrics-port", str(port)), env=environment, stderr=stderr)
    try:
        until(lambda: value(log, "p1") == IN_STOCK)
        figures = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert "imgsearch_build_info" in figures
        assert "process_resident_memory_bytes" in figures
        sell(catalogue, "p1", "p2")
        until(lambda: value(log, "p1") == SOLD_OUT and value(log, "p2") == SOLD_OUT, timeout_s=5)
        sell(catalogue, "p1", in_stock=True)
        until(lambda: value(log, "p1") == IN_STOCK, timeout_s=5)

        redis_process.kill()
        sell(catalogue, "p3")
        until(lambda: "cannot be reached" in told.read_text())
        redis_process.start()
        until(lambda: value(log, "p3") == SOLD_OUT)
        assert (value(log, "p1"), value(log, "p2"), value(log, "p4")) == (IN_STOCK, SOLD_OUT, IN_STOCK)

        sell(catalogue, *(f"p{number}" for number in range(1000)))
        until(lambda: "--once --allow" in told.read_text())
        assert value(log, "p4") == IN_STOCK
        until(log.halted)
        halted = said(environment, "show", "--changes", "0")[1]
        assert re.match(
            r"the feed halted \d+ s ago: 898 of 898 products in stock would leave at once", halted
        )
        assert said(environment, "feed", "--once")[0] == 1
        assert said(environment, "feed", "--once", "--allow") == (0, "0 came into stock, 898 are sold out\n")
        assert value(log, "p4") == SOLD_OUT
        sell(catalogue, "p4", in_stock=True)
        until(lambda: value(log, "p4") == IN_STOCK)
        assert "halted" not in said(environment, "show")[1]
    finally:
        feed.send_signal(signal.SIGTERM)
        feed.wait(20)
    lines = [json.loads(line) for line in told.read_text().splitlines() if line.startswith("{")]
    assert {"in_stock": 0, "sold_out": 2} in [
        {name: line.get(name) for name in ("in_stock", "sold_out")} for line in lines
    ]
    assert all(line["level"] in ("info", "error") and "exception" not in line for line in lines)


def test_what_is_known_is_shown(catalogue: Path, environment: dict[str, str]) -> None:
    assert said(environment, "show") == (
        1,
        "imgsearch: nothing is known of the stock; imgsearch stock feed writes it\n",
    )
    assert said(environment, "feed", "--once") == (0, "900 came into stock, 100 are sold out\n")
    sell(catalogue, "p1")
    assert said(environment, "feed", "--once") == (0, "0 came into stock, 1 are sold out\n")
    status, text = said(environment, "show", "--changes", "2")
    assert status == 0
    assert text.startswith("101 of 1000 products are sold out, as of ")
    assert "p1" in text
    assert "everything anew" in text


def test_half_of_what_is_needed_is_told(environment: dict[str, str]) -> None:
    assert "add --once" in said(environment, "feed", "--allow")[1]
    del environment["IMGSEARCH_REDIS_URL"]
    assert said(environment, "feed") == (
        1,
        "imgsearch: IMGSEARCH_REDIS_URL is not set; features and stock need a Redis\n",
    )
