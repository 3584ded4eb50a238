"""Which rows a catalogue may have."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsearch_assets.catalogue.contract import COLUMNS, MALFORMED, PRODUCTS, REASONS, check_rows

GOOD: dict[str, Any] = {
    "product_id": "p1",
    "name": "Shirt",
    "brand": "Acme",
    "category": "shirt",
    "colour": "red",
    "price": 1999,
    "currency": "EUR",
    "in_stock": True,
    "image_urls": ["http://shop.example/1.jpg"],
    "updated_at": datetime(2026, 1, 2, tzinfo=UTC),
}


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([GOOD | row for row in rows], schema=pa.schema([*PRODUCTS]))


def text_table(*rows: dict[str, str | None]) -> pa.Table:
    """As CSV gives it."""
    good = {name: str(value) for name, value in GOOD.items()} | {"image_urls": GOOD["image_urls"][0]}
    return pa.table({name: pa.array([(good | row)[name] for row in rows], pa.string()) for name in COLUMNS})


def rejection(raw: pa.Table) -> tuple[int, str | None, str, str]:
    checked = check_rows(raw)
    (row,) = checked.rejected.to_pylist()
    return row["row"], row["product_id"], row["reason"], row["detail"]


def test_good_rows_are_kept_in_order_of_id() -> None:
    checked = check_rows(table({"product_id": "b"}, {"product_id": "a"}))
    assert checked.products.schema == PRODUCTS
    assert checked.products["product_id"].to_pylist() == ["a", "b"]
    assert checked.rejected.num_rows == 0


@pytest.mark.parametrize(
    ("wrong", "reason", "detail"),
    [
        ({"product_id": None}, "missing_id", "product_id is empty"),
        ({"product_id": "  "}, "missing_id", "product_id is empty"),
        ({"product_id": "p" * 201}, "too_long", "too long: product_id"),
        ({"name": "n" * 1001}, "too_long", "too long: name"),
        ({"image_urls": ["http://shop.example/1.jpg"] * 51}, "too_long", "too long: image_urls"),
        ({"price": -1}, "bad_price", "price is -1, not an integer of 0 or more"),
        ({"price": None}, "bad_price", "price is None, not an integer of 0 or more"),
        ({"currency": None}, "bad_type", "currency is None"),
        ({"in_stock": None}, "bad_type", "in_stock is None"),
        ({"image_urls": None}, "no_picture", "image_urls is empty"),
        ({"image_urls": []}, "no_picture", "image_urls is empty"),
        (
            {"image_urls": ["http://shop.example/1.jpg", "ftp://shop.example/2.jpg"]},
            "bad_url",
            "'ftp://shop.example/2.jpg' is not an http(s) URL of at most 2048 characters",
        ),
        ({"image_urls": [None]}, "bad_url", "None is not an http(s) URL of at most 2048 characters"),
        (
            {"image_urls": ["javascript:alert(1)"]},
            "bad_url",
            "'javascript:alert(1)' is not an http(s) URL of at most 2048 characters",
        ),
    ],
)
def test_a_bad_row_has_a_reason(wrong: dict[str, Any], reason: str, detail: str) -> None:
    row, _, found, said = rejection(table({}, {"product_id": "p2"} | wrong))
    assert (row, found, said) == (2, reason, detail)


def test_a_url_that_is_too_long_is_shortened_in_its_reason() -> None:
    *_, reason, detail = rejection(table({"image_urls": ["http://shop.example/" + "x" * 3000]}))
    assert reason == "bad_url"
    assert len(detail) < 300


def test_of_a_repeated_id_the_first_row_stays() -> None:
    raw = table({"name": "first"}, {"product_id": "p2"}, {"name": "second"}, {"name": "third"})
    checked = check_rows(raw)
    assert checked.products["name"].to_pylist() == ["first", "Shirt"]
    assert checked.rejected["row"].to_pylist() == [3, 4]
    assert checked.rejections() == {"duplicate_id": 2}
    assert checked.rejected["detail"][0].as_py() == "product_id is that of row 1"


def test_missing_texts_are_empty() -> None:
    checked = check_rows(table({"name": None, "brand": None, "category": None, "colour": None}))
    (row,) = checked.products.to_pylist()
    assert [row[name] for name in ("name", "brand", "category", "colour")] == [""] * 4


def test_text_is_read_as_what_it_says() -> None:
    raw = text_table(
        {"product_id": "a", "image_urls": "http://s.example/1.jpg|http://s.example/2.jpg"},
        {"product_id": "b", "image_urls": " http://s.example/1.jpg  http://s.example/2.jpg", "price": " 5 "},
        {"product_id": "c", "in_stock": "no", "updated_at": "2026-01-02T03:04:05+02:00"},
        {"product_id": "d", "updated_at": None, "price": "7.0"},
    )
    checked = check_rows(raw)
    assert checked.rejected.num_rows == 0
    rows = checked.products.to_pylist()
    urls = ["http://s.example/1.jpg", "http://s.example/2.jpg"]
    assert [row["image_urls"] for row in rows[:2]] == [urls, urls]
    assert [row["price"] for row in rows] == [1999, 5, 1999, 7]
    assert [row["in_stock"] for row in rows] == [True, True, False, True]
    assert rows[2]["updated_at"] == datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)
    assert rows[3]["updated_at"] is None


@pytest.mark.parametrize(
    ("wrong", "reason", "detail"),
    [
        ({"price": "19.99"}, "bad_price", "price is '19.99', not an integer of 0 or more"),
        ({"price": "9" * 30}, "bad_price", f"price is '{'9' * 30}', not an integer of 0 or more"),
        ({"in_stock": "maybe"}, "bad_type", "in_stock is 'maybe'"),
        ({"price": "1_000"}, "bad_price", "price is '1_000', not an integer of 0 or more"),
        ({"price": "٣"}, "bad_price", "price is '٣', not an integer of 0 or more"),
        ({"updated_at": "yesterday"}, "bad_type", "updated_at is 'yesterday'"),
        (
            {"updated_at": "0001-01-01T00:00:00+01:00"},
            "bad_type",
            "updated_at is '0001-01-01T00:00:00+01:00'",
        ),
        ({"image_urls": "see our website"}, "bad_url", None),
    ],
)
def test_text_that_cannot_be_read_has_a_reason(
    wrong: dict[str, str | None], reason: str, detail: str | None
) -> None:
    _, product_id, found, said = rejection(text_table(wrong))
    assert (product_id, found) == ("p1", reason)
    if detail:
        assert said == detail


def test_columns_of_other_types_are_read_where_they_can_be() -> None:
    raw = table({}).set_column(5, "price", pa.array([19.5])).set_column(0, "product_id", pa.array([17]))
    assert rejection(raw) == (1, "17", "bad_price", "price is 19.5, not an integer of 0 or more")
    raw = table({}).set_column(5, "price", pa.array([19.0]))
    assert check_rows(raw).products["price"].to_pylist() == [19]
    raw = table({}).set_column(1, "name", pa.array([["a", "list"]]))
    assert rejection(raw)[2:] == ("bad_type", "name is ['a', 'list']")


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
@pytest.mark.parametrize("far", [2**63 - 1, -(2**63 - 1)])  # the first is DuckDB's infinity
def test_a_time_that_no_calendar_has_is_a_rejected_row(unit: Any, far: int) -> None:
    kind = pa.timestamp(unit, "UTC")
    times = pa.array([far, 0, None], pa.int64()).cast(kind)
    raw = table({"product_id": "a"}, {"product_id": "b"}, {"product_id": "c"})
    raw = raw.set_column(COLUMNS.index("updated_at"), "updated_at", times)
    assert rejection(raw) == (1, "a", "bad_type", "updated_at is outside of the years 1 to 9999")
    assert check_rows(raw).products["updated_at"].to_pylist() == [datetime(1970, 1, 1, tzinfo=UTC), None]


def test_days_are_times_where_a_calendar_has_them() -> None:
    days = pa.array([2**31 - 1, (date(2026, 1, 2) - date(1970, 1, 1)).days], pa.int32()).cast(pa.date32())
    raw = table({"product_id": "a"}, {}).set_column(COLUMNS.index("updated_at"), "updated_at", days)
    assert rejection(raw) == (1, "a", "bad_type", "updated_at is outside of the years 1 to 9999")
    assert check_rows(raw).products["updated_at"].to_pylist() == [datetime(2026, 1, 2, tzinfo=UTC)]


def latin_1(*values: str) -> pa.Array:
    """Texts as a Parquet file may hold them, though it should not."""
    encoded = pa.array([value.encode("latin-1") for value in values], pa.binary())
    return pa.StringArray.from_buffers(len(encoded), *encoded.buffers()[1:])


@pytest.mark.parametrize("name", ["product_id", "name", "currency", "price", "image_urls"])
def test_a_text_that_is_no_utf_8_is_a_rejected_row(name: str) -> None:
    raw = table({"product_id": "a"}, {"product_id": "b"}, {"product_id": "c"})
    column = latin_1("Blåbär", "Möhre", "7")
    if name == "image_urls":
        column = pa.ListArray.from_arrays(
            [0, 1, 2, 3], latin_1("http://å/", "http://ö/", "http://s.example/")
        )
    checked = check_rows(raw.set_column(COLUMNS.index(name), name, column))
    assert checked.products[name].to_pylist() == [
        {"price": 7, "image_urls": ["http://s.example/"]}.get(name, "7")
    ]
    reason = "bad_price" if name == "price" else "bad_type"
    assert checked.rejections() == {reason: 2}
    detail = checked.rejected["detail"].to_pylist()[0]
    if name == "name":
        assert detail == "name is b'Bl\\xe5b\\xe4r', which is no UTF-8"
    assert "\\xe5" in detail


def test_a_whole_number_is_a_price_however_it_is_written() -> None:
    for prices, wanted in (
        (pa.array([Decimal("2.00"), Decimal("2.50")]), [2]),
        (pa.array([1e16, float("nan")]), [10**16]),
        (pa.array(["+7.00", "7."]), [7]),
    ):
        raw = table({"product_id": "a"}, {"product_id": "b"}).set_column(5, "price", prices)
        checked = check_rows(raw)
        assert checked.products["price"].to_pylist() == wanted
        assert checked.rejections() == {"bad_price": 1}


def test_a_malformed_line_is_a_row() -> None:
    raw = text_table({}, {"product_id": None}).append_column(MALFORMED, pa.array([None, "a,b"], pa.string()))
    assert rejection(raw) == (2, None, "malformed_row", "'a,b'")


anything = st.one_of(st.none(), st.text(max_size=8), st.sampled_from(["p1", "1", "-1", "http://s.example/a"]))


@given(
    st.lists(st.fixed_dictionaries(dict.fromkeys(COLUMNS, anything)), max_size=12),
)
def test_every_row_ends_on_one_side_and_nothing_crashes(rows: list[dict[str, str | None]]) -> None:
    raw = pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in COLUMNS})
    checked = check_rows(raw)
    assert checked.products.num_rows + checked.rejected.num_rows == len(rows)
    assert set(checked.rejected["reason"].to_pylist()) <= set(REASONS)
    ids = checked.products["product_id"].to_pylist()
    assert ids == sorted(set(ids))
    assert check_rows(checked.products).products.equals(checked.products)
