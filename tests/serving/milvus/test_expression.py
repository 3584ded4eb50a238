"""Filters as expressions: what a caller says never becomes part of one."""

import re

from hypothesis import given
from hypothesis import strategies as st

from serving.index.filters import FACETS, Filter
from serving.milvus.expression import expression, product_key

CODES = {"category": {"dress": 0, "shoe": 1}, "brand": {"": 0, 'a" or 1 == 1': 1}, "colour": {"red": 0}}

_CLAUSE = r"(\w+ (not )?in \[\d+(, \d+)*\]|price [<>]= -?\d+|in_stock == true)"


def test_nothing_asked_keeps_everything() -> None:
    assert expression(None, CODES) == ""
    assert expression(Filter(), CODES) == ""


def test_every_part_is_a_clause() -> None:
    wanted = Filter(
        category=frozenset({"shoe", "dress", "boat"}),
        brand=frozenset({'a" or 1 == 1'}),
        price_min=-5,
        price_max=900,
        in_stock_only=True,
        excluded=frozenset({"p1"}),
    )
    assert expression(wanted, CODES) == (
        "category_code in [0, 1] and brand_code in [1] and price >= -5 and price <= 900 "
        f"and in_stock == true and product_key not in [{product_key('p1')}]"
    )


def test_a_value_that_no_product_has_keeps_nothing() -> None:
    assert expression(Filter(colour=frozenset({"blue"}), in_stock_only=True), CODES) is None


def test_prices_end_where_milvus_can_read_them() -> None:
    assert expression(Filter(price_min=-(2**63)), CODES) == f"price >= -{2**63 - 1}"


texts = st.frozensets(st.text() | st.sampled_from(sorted(CODES["brand"])), max_size=4)
prices = st.none() | st.integers(0, 2**63 - 1)


@given(texts, texts, texts, texts, st.none() | st.integers(-(2**63), 0), prices, st.booleans())
def test_only_numbers_come_into_an_expression(category, brand, colour, excluded, low, high, in_stock) -> None:
    codes = CODES | {"category": {value: place for place, value in enumerate(sorted(category))}}
    found = expression(Filter(category, brand, colour, low, high, in_stock, excluded), codes)
    if found:
        assert re.fullmatch(rf"{_CLAUSE}( and {_CLAUSE})*", found, re.ASCII)
    for facet, asked in zip(FACETS, (category, brand, colour), strict=True):
        if asked and not asked & set(codes[facet]):
            assert found is None


@given(st.text())
def test_keys_of_products_are_numbers_milvus_can_read(product_id: str) -> None:
    assert 0 <= product_key(product_id) < 2**63
