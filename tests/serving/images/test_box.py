import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import BadInput
from serving.images.box import GRID, Box, crop

edges = st.integers(0, GRID)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x0, x1 = sorted(draw(st.lists(edges, min_size=2, max_size=2, unique=True)))
    y0, y1 = sorted(draw(st.lists(edges, min_size=2, max_size=2, unique=True)))
    return Box(x0 / GRID, y0 / GRID, x1 / GRID, y1 / GRID)


@given(boxes())
def test_a_key_is_the_box(box: Box) -> None:
    assert Box.from_key(box.key) == box
    assert Box.from_key(box.key).key == box.key


@given(boxes(), boxes())
def test_iou_is_symmetric_and_one_for_the_same(one: Box, other: Box) -> None:
    assert one.iou(one) == pytest.approx(1.0)
    assert one.iou(other) == pytest.approx(other.iou(one))
    assert 0.0 <= one.iou(other) <= 1.0
    assert Box.whole().iou(one) == pytest.approx(one.area)


def test_boxes_apart_do_not_overlap() -> None:
    assert Box(0, 0, 0.5, 0.5).iou(Box(0.5, 0.5, 1, 1)) == 0.0
    assert Box(0, 0, 0.5, 1).iou(Box(0.25, 0, 0.75, 1)) == pytest.approx(1 / 3)


@given(boxes(), st.integers(1, 50), st.integers(1, 50))
def test_a_crop_is_never_empty_and_is_a_view(box: Box, width: int, height: int) -> None:
    picture = np.zeros((height, width, 3), np.uint8)
    part = crop(picture, box)
    assert part.shape[0] >= 1
    assert part.shape[1] >= 1
    assert np.shares_memory(part, picture)


def test_a_crop_takes_the_named_pixels() -> None:
    picture = np.arange(10 * 20 * 3, dtype=np.uint8).reshape(10, 20, 3)
    assert (crop(picture, Box(0.5, 0.2, 1.0, 0.4)) == picture[2:4, 10:20]).all()
    assert (crop(picture, Box.whole()) == picture).all()


def test_detector_output_is_clipped() -> None:
    assert Box.clipped(-0.2, 0.1, 1.3, 0.9) == Box(0.0, 0.1, 1.0, 0.9)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ((-0.1, 0, 1, 1), "box: x0 is -0.1; it must be a fraction of the picture, 0 to 1"),
        ((0, 0, 1, 1.5), "box: y1 is 1.5; it must be a fraction of the picture, 0 to 1"),
        ((0, float("nan"), 1, 1), "box: y0 is nan; it must be a fraction of the picture, 0 to 1"),
        ((0.5, 0, 0.5, 1), "box: (0.5, 0.0, 0.5, 1.0) is empty; x0 < x1 and y0 < y1"),
        ((0, 0.50001, 1, 0.50002), "box: (0.0, 0.5, 1.0, 0.5) is empty; x0 < x1 and y0 < y1"),
    ],
)
def test_what_is_no_box(edges: tuple[float, float, float, float], message: str) -> None:
    with pytest.raises(BadInput) as raised:
        Box(*edges)
    assert raised.value.message == message
