import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.errors import BadInput
from serving.index.artifact import load
from serving.index.filters import FACETS, Attributes, Facet, Filter
from serving.index.loaded import Generation


@pytest.fixture
def generation(shop) -> Generation:
    return load(shop.store, shop.build())


@pytest.fixture
def attributes(generation: Generation) -> Attributes:
    return generation.base.attributes


any_of = st.frozensets(
    st.sampled_from(["dress", "shirt", "shoe", "red", "blue", "brand 1", "unknown"]), max_size=3
)
filters = st.builds(
    Filter,
    category=any_of,
    brand=any_of,
    colour=any_of,
    price_min=st.none() | st.integers(900, 1_030),
    price_max=st.none() | st.integers(1_030, 1_100),
    in_stock_only=st.booleans(),
    excluded=st.frozensets(st.sampled_from(["p00001", "p00002", "nobody"])),
)


@given(wanted=filters)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_mask_is_what_a_person_would_tick(shop, generation: Generation, wanted: Filter) -> None:
    def fits(row: dict) -> bool:
        return (
            (not wanted.category or row["category"] in wanted.category)
            and (not wanted.brand or row["brand"] in wanted.brand)
            and (not wanted.colour or row["colour"] in wanted.colour)
            and (wanted.price_min is None or row["price"] >= wanted.price_min)
            and (wanted.price_max is None or row["price"] <= wanted.price_max)
            and (not wanted.in_stock_only or row["in_stock"])
            and row["product_id"] not in wanted.excluded
        )

    ticked = {row["product_id"] for row in shop.products.to_pylist() if fits(row)}
    mask = generation.mask(wanted)
    everything = np.array(generation.base.attributes.ids.to_pylist())
    assert set(everything if mask is None else everything[mask]) == ticked


def test_nothing_asked_is_no_mask(generation: Generation) -> None:
    assert generation.mask(Filter()) is None
    assert generation.mask(Filter(excluded=frozenset({"nobody"}))) is None


def test_an_unknown_value_fits_nothing(attributes: Attributes) -> None:
    mask = attributes.mask(Filter(category=frozenset({"spaceship"})))
    assert mask is not None
    assert not mask.any()


@pytest.mark.parametrize("values", [3, 300, 70_000])
@pytest.mark.parametrize("count", [1, 2, 16, 17, 200])
def test_a_facet_keeps_what_has_one_of_the_values(values: int, count: int) -> None:
    column = np.array([f"value {number * 7919 % values}" for number in range(2 * values)])
    facet = Facet.of(pa.chunked_array([column]))
    wanted = frozenset(f"value {number * 3}" for number in range(count))
    assert np.array_equal(facet.mask(wanted), np.isin(column, list(wanted)))


@pytest.mark.parametrize("far", [0, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**63 - 1, -(2**63)])
def test_a_price_of_any_size_is_compared(far: int) -> None:
    prices = pa.array([5, 10, far, 20])
    few = pa.table({name: ["x"] * 4 for name in ("product_id", *FACETS)} | {"in_stock": [True] * 4})
    priced = Attributes.of(few.append_column("price", prices))
    for least, most in ((6, 20), (-(2**63), 2**63 - 1), (2**31, 2**40), (-(2**62), 0)):
        mask = priced.mask(Filter(price_min=least, price_max=most))
        assert mask is not None
        assert mask.tolist() == [least <= price <= most for price in prices.to_pylist()]


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(in_stock_only=True),
        Filter(price_min=0),
        Filter(category=frozenset({"dress"}), in_stock_only=True),
        Filter(excluded=frozenset({"p00001"})),
    ],
)
def test_a_mask_is_the_callers_own(generation: Generation, wanted: Filter) -> None:
    first = generation.mask(wanted)
    assert first is not None
    kept = first.copy()
    first[:] = ~first
    again = generation.mask(wanted)
    assert again is not None
    assert np.array_equal(again, kept)


def test_a_product_has_its_place(shop, attributes: Attributes) -> None:
    assert [attributes.place(name) for name in sorted(shop.ids)] == list(range(len(shop.ids)))
    for stranger in ("", "p", "p00000x", "zzz", "p00060", "Ωmega"):
        assert attributes.place(stranger) is None


def test_a_range_that_is_none_is_refused() -> None:
    with pytest.raises(BadInput, match="filter: price_min 3 is above price_max 2"):
        Filter(price_min=3, price_max=2)
