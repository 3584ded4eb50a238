from datetime import UTC, datetime

import numpy as np

from imgsearch_assets.sample.catalogue import PRODUCTS
from imgsearch_assets.sample.products import Product, number_of


def test_a_product_depends_on_seed_and_number_alone() -> None:
    assert Product.drawn(1, 7) == Product.drawn(1, 7)
    assert Product.drawn(1, 7).design != Product.drawn(2, 7).design
    assert Product.drawn(1, 7).design != Product.drawn(1, 8).design


def test_a_row_keeps_the_contract_of_the_catalogue() -> None:
    for number in range(200):
        row = Product.drawn(1, number).row(["http://127.0.0.1/x.jpg"])
        assert list(row) == PRODUCTS.names
        assert row["price"] > 0
        assert row["currency"] == "EUR"
        assert row["updated_at"] < datetime.now(UTC)
        assert row["name"][0].isupper()
        assert "  " not in row["name"]
        assert number_of(row["product_id"]) == number


def test_names_say_what_is_on_the_picture() -> None:
    names = {product.name: product.design for product in (Product.drawn(1, n) for n in range(300))}
    assert len(names) > 250
    assert all(design.colour.name in name for name, design in names.items())


def test_an_id_from_elsewhere_has_no_number() -> None:
    assert number_of("P000012") == 12
    assert number_of("dress/one") is None
    assert number_of("BAD-404") is None


def test_a_retake_is_another_picture() -> None:
    product = Product.drawn(1, 3)
    first = product.packshots()[0].picture
    assert not np.array_equal(first, product.retake(1).picture)
    np.testing.assert_array_equal(product.retake(1).picture, product.retake(1).picture)
