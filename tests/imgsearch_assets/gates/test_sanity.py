from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from imgsearch_assets.catalogue.contract import PRODUCTS
from imgsearch_assets.catalogue.diff import difference
from imgsearch_assets.environment import read_environment
from imgsearch_assets.gates.generation import Gate
from imgsearch_assets.gates.sanity import (
    Bounds,
    complete,
    coverage,
    enough_rows,
    few_not_downloaded,
    few_rejected,
    of_difference,
)
from serving.index.artifact import load

STRICT = Bounds(spare=0)


@pytest.mark.parametrize(
    ("products", "live", "bounds", "passed"),
    [
        (1, None, STRICT, True),
        (500, 1_000, STRICT, True),
        (499, 1_000, STRICT, False),
        (10, 30, Bounds(), True),  # what is spare in a small shop
        (9, 30, Bounds(), False),
        (1, 2, STRICT, True),
    ],
)
def test_half_a_catalogue_is_no_snapshot(
    products: int, live: int | None, bounds: Bounds, passed: bool
) -> None:
    assert enough_rows(products, live, bounds).passed == passed


def test_a_gate_says_what_it_measured_and_what_it_wants() -> None:
    assert enough_rows(9, 30, Bounds()) == Gate(
        "enough_rows", False, 9, 10, "9 products in the snapshot, at least 10 wanted: 30 are live"
    )
    assert few_rejected(790, 210, STRICT) == Gate(
        "few_rejected", False, 210, 200, "210 of 1000 rows rejected, at most 200 allowed"
    )
    assert few_not_downloaded(20, 100, STRICT).passed
    assert not few_not_downloaded(21, 100, STRICT).passed


ROW: dict[str, Any] = {
    **dict.fromkeys(("name", "brand", "category", "colour", "currency"), ""),
    "price": 1,
    "in_stock": True,
    "image_urls": ["http://shop.example/1.jpg"],
    "updated_at": datetime(2026, 1, 1, tzinfo=UTC),
}
WRITTEN = {"updated_at": datetime(2026, 1, 2, tzinfo=UTC)}


def rows(numbers: range, **other: Any) -> pa.Table:
    return pa.Table.from_pylist(
        [{"product_id": f"p{number:03}"} | ROW | other for number in numbers], schema=PRODUCTS
    )


def gates_of(*snapshot: pa.Table) -> list[Gate]:
    """Of a snapshot of these tables, where a hundred products are live."""
    return of_difference(difference(pa.concat_tables(snapshot), rows(range(100))), STRICT)


def test_new_products_and_rows_written_again_are_no_absurd_difference() -> None:
    removed, changed = gates_of(
        rows(range(20, 45), image_urls=["http://shop.example/2.jpg"]),
        rows(range(45, 70), price=2),
        rows(range(70, 100), **WRITTEN),
        rows(range(100, 999)),
    )
    assert removed == Gate("few_removed", True, 20, 20, "20 of 100 live products removed, at most 20 allowed")
    assert changed == Gate("few_changed", True, 50, 50, "50 of 100 live products changed, at most 50 allowed")
    worse = gates_of(rows(range(21, 72), image_urls=["http://shop.example/2.jpg"]), rows(range(72, 100)))
    assert [gate.passed for gate in worse] == [False, False]
    first = difference(rows(range(900)), None)
    assert [gate.passed for gate in of_difference(first, STRICT)] == [True, True]


@pytest.mark.parametrize(
    "other", [{"price": 0}, {"name": "rubbish"}, {"category": "x"}, {"image_urls": ["http://a.example/"]}]
)
@pytest.mark.parametrize("written", [{}, WRITTEN, {"updated_at": None}])
def test_what_differs_counts_whatever_the_feed_says_of_when_it_wrote_it(
    other: dict[str, Any], written: dict[str, Any]
) -> None:
    few, many = (
        gates_of(rows(range(count), **other, **written), rows(range(count, 100), **written))[1]
        for count in (50, 51)
    )
    assert (few.passed, many.passed, many.measured) == (True, False, 51)


def test_what_is_sold_out_need_not_be_searchable(shop) -> None:
    generation = load(shop.store, shop.build())
    some = shop.without(shop.build(), shop.ids[:6])  # every fifth of which is sold out
    gone = load(shop.store, some)
    active = sum(shop.products["in_stock"].to_pylist())
    lost = sum(shop.products["in_stock"].to_pylist()[:6])
    assert coverage(shop.products, generation, STRICT).message == (
        f"{active} of {active} products in stock are searchable, at least {active - active // 10} wanted"
    )
    found = coverage(shop.products, gone, STRICT)
    assert (found.passed, found.measured) == (lost <= active // 10, (active - lost) / active)
    assert not coverage(shop.products, gone, Bounds(spare=0, min_searchable=0.95)).passed
    nothing = shop.products.slice(0, 0)
    assert coverage(nothing, generation, STRICT).passed


def test_one_value_that_is_not_there_is_not_complete() -> None:
    assert complete(10, 0).passed
    assert complete(10, 1).message == (
        "9 of 10 pictures read back from Redis as they were written; is its memory full?"
    )
    assert not complete(10, 1).passed


def test_the_bounds_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_environment().bounds == Bounds()
    monkeypatch.setenv("IMGSEARCH_GATE_SPARE", "3")
    monkeypatch.setenv("IMGSEARCH_GATE_MAX_REMOVED", "0.1")
    assert read_environment().bounds == Bounds(spare=3, max_removed=0.1)
