"""The difference between a snapshot and what is live."""

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from imgsearch_assets.catalogue.contract import PRODUCTS
from imgsearch_assets.catalogue.diff import apply, difference

PRODUCT: dict[str, Any] = {
    "name": "Shirt",
    "brand": "",
    "category": "shirt",
    "colour": "red",
    "price": 1,
    "currency": "EUR",
    "in_stock": True,
    "image_urls": ["http://shop.example/1.jpg"],
    "updated_at": datetime(2026, 1, 1, tzinfo=UTC),
}

urls = st.lists(st.sampled_from([f"http://shop.example/{number}.jpg" for number in range(3)]), min_size=1)
times = st.one_of(st.none(), st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 3), timezones=st.just(UTC)))
product = st.fixed_dictionaries(
    {
        **{name: st.just(value) for name, value in PRODUCT.items()},
        "price": st.integers(0, 2),
        "colour": st.sampled_from(["", "red"]),
        "image_urls": urls,
        "updated_at": times,
    }
)
catalogues = st.dictionaries(st.sampled_from("abcdef"), product)


def table(products: dict[str, dict[str, Any]]) -> pa.Table:
    rows = [{"product_id": name} | products[name] for name in sorted(products)]
    return pa.Table.from_pylist(rows, schema=PRODUCTS)


@given(catalogues, catalogues)
def test_applied_to_what_is_live_it_is_the_snapshot(
    now: dict[str, dict[str, Any]], before: dict[str, dict[str, Any]]
) -> None:
    snapshot, live = table(now), table(before)
    change = difference(snapshot, live)
    assert apply(change, live).equals(snapshot)
    assert apply(difference(snapshot, None), None).equals(snapshot)


@given(catalogues, catalogues)
def test_every_product_is_counted_once(
    now: dict[str, dict[str, Any]], before: dict[str, dict[str, Any]]
) -> None:
    counts = difference(table(now), table(before)).counts
    assert counts.pop("removed") == len(before.keys() - now.keys())
    assert sum(counts.values()) == len(now)
    assert counts["unchanged"] == sum(before.get(name) == value for name, value in now.items())


@given(catalogues)
def test_nothing_changes_nothing(now: dict[str, dict[str, Any]]) -> None:
    snapshot = table(now)
    counts = difference(snapshot, snapshot).counts
    assert counts.pop("unchanged") == len(now)
    assert set(counts.values()) == {0}


def test_each_kind_of_change() -> None:
    other = PRODUCT | {"updated_at": datetime(2026, 1, 2, tzinfo=UTC)}
    live = table(dict.fromkeys(("both", "gone", "pictures", "price", "same", "time"), PRODUCT))
    snapshot = table(
        {
            "both": other | {"price": 2},
            "new": PRODUCT,
            "pictures": other | {"image_urls": ["http://shop.example/2.jpg"], "price": 2},
            "price": PRODUCT | {"price": 2},
            "same": PRODUCT,
            "time": other,
        }
    )
    change = difference(snapshot, live)
    assert change.counts == {
        "new": 1,
        "removed": 1,
        "repictured": 1,
        "touched": 1,
        "reattributed": 2,
        "unchanged": 1,
    }
    assert change.new["product_id"].to_pylist() == ["new"]
    assert change.removed["product_id"].to_pylist() == ["gone"]
    assert change.repictured["product_id"].to_pylist() == ["pictures"]
    assert change.touched["product_id"].to_pylist() == ["time"]
    assert change.reattributed["product_id"].to_pylist() == ["both", "price"]
    assert change.rewritten["product_id"].to_pylist() == ["both", "pictures", "time"]


def test_other_columns_of_what_is_live_do_not_matter() -> None:
    snapshot = table({"a": PRODUCT})
    assert difference(snapshot, snapshot.append_column("rank", pa.array([1]))).unchanged == 1
