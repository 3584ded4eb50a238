import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serving.api.schemas import BoxFields, Filters, SearchBody
from serving.images.box import Box
from serving.proto import geometry_pb2

side = st.floats(0, 1)


@given(side, side, side, side)
def test_a_box_survives_the_wire(a: float, b: float, c: float, d: float) -> None:
    """A message's float32 must not make another box of it: boxes are keys."""
    x0, x1 = sorted((a, c))
    y0, y1 = sorted((b, d))
    if round(x0 * 10_000) == round(x1 * 10_000) or round(y0 * 10_000) == round(y1 * 10_000):
        return
    box = Box(x0, y0, x1, y1)
    message = geometry_pb2.Box(x0=box.x0, y0=box.y0, x1=box.x1, y1=box.y1)
    assert BoxFields.of(message).box() == box


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({}, "give exactly one of image_url, product_id, image_base64 and text"),
        (
            {"product_id": "a", "text": "b"},
            "give exactly one of image_url, product_id, image_base64 and text",
        ),
        (
            {"text": "a", "box": {"x0": 0, "y0": 0, "x1": 1, "y1": 1}},
            "a box belongs to a picture; leave it out with text",
        ),
        ({"text": "   "}, "String should have at least 1 character"),
        ({"text": "x" * 201}, "String should have at most 200 characters"),
        ({"text": "a", "collapse": "design"}, "Input should be 'product', 'variant' or 'picture'"),
        (
            {"product_id": "a", "box": {"x0": 0, "y0": 0, "x1": 1, "y1": 1}},
            "a box belongs to a picture; leave it out with product_id",
        ),
        ({"product_id": "a", "colour": "red"}, "Extra inputs are not permitted"),
        ({"product_id": "a", "k": True}, "Input should be a valid integer"),
        ({"product_id": "a", "k": "5"}, "Input should be a valid integer"),
        ({"product_id": "a", "filters": {"price_min": "5"}}, "Input should be a valid integer"),
        ({"product_id": "a", "filters": {"in_stock_only": "no"}}, "Input should be a valid boolean"),
        (
            {"image_url": "a", "box": {"x0": "0", "y0": 0, "x1": 1, "y1": 1}},
            "Input should be a valid number",
        ),
    ],
)
def test_a_body_asks_for_one_thing(body: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        SearchBody.model_validate(body)


def test_prices_come_in_order() -> None:
    with pytest.raises(ValidationError, match=r"price_min \(5\) is more than price_max \(4\)"):
        Filters(price_min=5, price_max=4)


@pytest.mark.parametrize("values", [["\ud800"], ["x" * 257]])
def test_a_value_of_a_filter_is_a_text_that_travels(values: list[str]) -> None:
    with pytest.raises(ValidationError):
        Filters(brands=values)
