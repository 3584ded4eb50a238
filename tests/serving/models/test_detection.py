from hypothesis import given
from hypothesis import strategies as st

from serving.images.box import Box
from serving.models.detection import SAME_AS_WHOLE, Detection, item_box, item_boxes

fractions = st.integers(0, 10_000).map(lambda v: v / 10_000)


@st.composite
def boxes(draw) -> Box:
    x0, x1 = sorted(draw(st.lists(fractions, min_size=2, max_size=2, unique=True)))
    y0, y1 = sorted(draw(st.lists(fractions, min_size=2, max_size=2, unique=True)))
    return Box(x0, y0, x1, y1)


detections = st.lists(
    st.builds(Detection, boxes(), st.sampled_from(["shoe", "bag", "Hat"]), st.floats(0, 1)), max_size=5
)


@given(detections, st.sampled_from([None, "shoe", "hat", "sofa"]))
def test_rows_are_the_item_and_the_picture_but_not_twice(found, category) -> None:
    rows = item_boxes(found, category)
    assert 1 <= len(rows) <= 2
    assert len(set(rows)) == len(rows)
    assert all(box.iou(Box.whole()) <= SAME_AS_WHOLE for box in rows[:-1])
    assert rows[-1] == Box.whole() or rows == [item_box(found, category)]
    assert (item_box(found, category) is None) == (not found)


def test_the_item_is_the_one_of_the_category_if_it_is_known() -> None:
    shoe = Detection(Box(0.1, 0.1, 0.4, 0.4), "shoe", 0.9)
    hat = Detection(Box(0.5, 0.5, 0.9, 0.9), "hat", 0.4)
    assert item_box([shoe, hat]) == shoe.box
    assert item_box([shoe, hat], "Hat") == hat.box
    assert item_box([shoe, hat], "sofa") == shoe.box
    assert item_boxes([], "hat") == [Box.whole()]
