import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imgsearch_assets.training.targets import targets
from serving.images.box import Box
from serving.models.detector import corners

CATEGORIES = ("hat", "bag")


def test_heat_is_one_at_the_centre_and_the_point_has_the_box() -> None:
    box = Box(0.2, 0.1, 0.6, 0.9)
    heat, boxes, weights = targets([(box, "bag")], CATEGORIES, 8)
    assert heat[0].max() == 0
    assert np.argwhere(heat[1].numpy() == 1).tolist() == [[4, 3]]
    assert boxes[:, 4, 3].tolist() == np.float32([0.2, 0.1, 0.6, 0.9]).tolist()
    assert weights.argmax() == 4 * 8 + 3


def test_where_items_overlap_the_smaller_has_the_point() -> None:
    small, large = Box(0.4, 0.4, 0.6, 0.6), Box.whole()
    _, boxes, _ = targets([(small, "bag"), (large, "hat")], CATEGORIES, 8)
    assert boxes[:, 4, 4].tolist() == np.float32([0.4, 0.4, 0.6, 0.6]).tolist()


@given(st.integers(1, 9_000), st.integers(1, 9_000), st.integers(300, 1_000), st.integers(300, 1_000))
def test_any_item_is_worth_one(x: int, y: int, wide: int, tall: int) -> None:
    box = Box(x / 10_000, y / 10_000, (x + wide) / 10_000, (y + tall) / 10_000)
    heat, _, weights = targets([(box, "hat")], CATEGORIES, 28)
    assert (heat == 1).sum() == 1
    assert abs(float(weights.sum()) - 1) < 1e-4
    assert 0 <= heat.min() <= heat.max() <= 1


def test_corners_of_the_targets_have_the_form_of_a_head() -> None:
    _, boxes, _ = targets([(Box.whole(), "hat")], CATEGORIES, 8)
    assert boxes[None].shape == corners(boxes[None]).shape
