"""What is asked of a catalogue, wherever it lies: the same of each."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgsearch_assets.catalogue import diff
from imgsearch_assets.catalogue.contract import COLUMNS, check_rows
from imgsearch_assets.catalogue.warehouse import FileWarehouse
from imgsearch_assets.warehouse.location import open_warehouse
from imgsearch_assets.warehouse.settings import WarehouseSettings
from serving.errors import BadInput, BadSettings
from tests.imgsearch_assets.catalogue.test_diff import PRODUCT, product, table
from tests.imgsearch_assets.warehouse.conftest import Place

ROWS = table({"a": PRODUCT, "b": PRODUCT | {"updated_at": None, "name": "Ünlü \"shirt\"\n'x'"}, "c": PRODUCT})


def test_the_rows_are_those_that_were_written(place: Place) -> None:
    place.write(ROWS)
    for rows in (place.warehouse().read(COLUMNS), place.warehouse().snapshot().value):
        checked = check_rows(rows)
        assert checked.rejected.num_rows == 0
        assert checked.products.equals(ROWS)


def test_some_columns_alone_are_read(place: Place) -> None:
    place.write(ROWS)
    rows = place.warehouse().read(("product_id", "in_stock"))
    assert rows.column_names[:2] == ["product_id", "in_stock"]
    assert rows["in_stock"].to_pylist() == [True] * 3


def test_bad_rows_are_rejected_with_the_same_reasons(place: Place) -> None:
    bad = table({"a": PRODUCT, "b": PRODUCT | {"image_urls": []}, "c": PRODUCT | {"price": -1}})
    place.write(bad)
    checked = check_rows(place.warehouse().snapshot().value)
    assert checked.products["product_id"].to_pylist() == ["a"]
    assert checked.rejections() == {"no_picture": 1, "bad_price": 1}


def test_the_stamp_and_the_version_tell_of_a_change(place: Place) -> None:
    place.write(ROWS)
    warehouse = place.warehouse()
    stamp, version = warehouse.stamp(), warehouse.version()
    assert (warehouse.stamp(), warehouse.version()) == (stamp, version)
    place.write(ROWS.slice(1))
    assert warehouse.stamp() != stamp
    assert warehouse.version() != version
    assert len(version) == 16


def test_an_empty_catalogue_is_refused(place: Place) -> None:
    place.write(ROWS.slice(0, 0))
    warehouse = place.warehouse()
    for read in (warehouse.snapshot, lambda: warehouse.read(COLUMNS)):
        with pytest.raises(BadInput, match=r"^the catalogue .* has no rows; what is live stays as it is$"):
            read()


def test_missing_columns_are_named(place: Place) -> None:
    place.write(ROWS.drop_columns(["colour", "price"]))
    warehouse = place.warehouse()
    for read in (warehouse.version, warehouse.snapshot, lambda: warehouse.read(("product_id", "in_stock"))):
        with pytest.raises(BadInput) as refused:
            read()
        assert str(refused.value) == (
            f"the catalogue {place.named} lacks the columns colour, price; the contract has "
            f"{', '.join(COLUMNS)}: rename what is there, or make a view"
        )


def test_other_columns_are_not_read(place: Place) -> None:
    place.write(ROWS)
    assert set(place.warehouse().snapshot().value.column_names) == set(COLUMNS)


Shop = dict[str, dict[str, Any]]


many = st.dictionaries(st.sampled_from([f"p{number}" for number in range(40)]), product, min_size=20)


# A place is used again by each example: it keeps nothing between them. Few examples of many products each, as
# a query takes a second.
@settings(max_examples=4, suppress_health_check=list(HealthCheck))
@given(many, many)
def test_the_difference_is_that_of_the_tables(place: Place, now: Shop, before: Shop) -> None:
    snapshot, live = table(now), table(before)
    found = place.warehouse().difference(snapshot, live).value
    assert_same(found, diff.difference(snapshot, live))
    assert diff.apply(found, live).equals(snapshot)


def test_each_change_is_found_once_in_any_order_of_what_is_live(place: Place) -> None:
    kinds: Shop = {
        "new": {},
        "pictures": {"image_urls": ["http://shop.example/2.jpg", "http://shop.example/1.jpg"], "price": 2},
        "same": {},
        "time": {"updated_at": None},
        "time and price": {"updated_at": None, "price": 2},
        **{
            name: {name: f"other 'é' {name}\\"}
            for name in ("name", "brand", "category", "colour", "currency")
        },
        "price": {"price": 2**53 + 1},
        "stock": {"in_stock": False},
    }
    snapshot = table({name: PRODUCT | change for name, change in kinds.items()})
    before = [*kinds, "gone", "Gone", "göne"]
    live = table(dict.fromkeys(before[1:], PRODUCT))
    live = pa.concat_tables([live.slice(5), live.slice(0, 5)]).append_column(
        "rank", pa.array(range(len(live)))
    )
    answer = place.warehouse().difference(snapshot, live)
    assert answer.value.counts == {
        "new": 1,
        "removed": 3,
        "repictured": 1,
        "touched": 1,
        "reattributed": 8,
        "unchanged": 1,
    }
    assert_same(answer.value, diff.difference(snapshot, live))


def test_before_the_first_release_everything_is_new(place: Place) -> None:
    assert_same(place.warehouse().difference(ROWS, None).value, diff.difference(ROWS, None))


def assert_same(found: diff.Difference, wanted: diff.Difference) -> None:
    assert found.counts == wanted.counts
    for name in ("new", "removed", "repictured", "touched", "reattributed", "rewritten"):
        ours, theirs = getattr(found, name), getattr(wanted, name)
        assert ours.equals(theirs), name
        assert ours.schema.equals(theirs.schema), name


def test_the_location_says_which_it_is() -> None:
    settings = WarehouseSettings()
    assert open_warehouse("c.parquet", settings, "local") == FileWarehouse("c.parquet")
    warehouse = open_warehouse("bigquery:shop-prod.retail.products", settings, "production")
    assert warehouse.location == "bigquery:shop-prod.retail.products"
    assert list(warehouse.resources) == ["bigquery"]


@pytest.mark.parametrize(
    "name", ["", "products", "retail.products", "shop.retail.a b", "shop.retail.a`b", "a.b.c.d"]
)
def test_what_is_no_table_is_refused(name: str) -> None:
    with pytest.raises(BadSettings) as refused:
        open_warehouse(f"bigquery:{name}", WarehouseSettings(), "local")
    assert str(refused.value) == f"{name} is no table of BigQuery: bigquery:PROJECT.DATASET.TABLE is wanted"
