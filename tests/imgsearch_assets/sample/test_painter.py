import numpy as np
import pytest

from imgsearch_assets.sample.cloth import plain_cloth, smooth_surface
from imgsearch_assets.sample.curves import box, xy
from imgsearch_assets.sample.painter import Layer, Light, Piece, Seam, Stud, View, cast_shadow

LIGHT = Light(0.0, -1.0, 1.0, 7)
VIEW = View.looking((0, 0), (100, 80), 4.0)
RED = plain_cloth((200, 40, 40), "jersey")


def test_a_view_puts_its_centre_where_asked() -> None:
    view = View.looking((3, -2), (50, 60), 5.0, turn=0.4, squeeze=0.8, shear=0.1)
    np.testing.assert_allclose(view.pixels(xy([(3, -2)])), [[50, 60]], atol=1e-3)
    np.testing.assert_allclose(view.moved(5, -1).pixels(xy([(3, -2)])), [[55, 59]], atol=1e-3)


def test_a_piece_covers_its_outline_in_its_colour() -> None:
    layer = Layer(160, 200)
    covered = layer.paint([Piece(box(-10, -10, 10, 10), RED)], VIEW, LIGHT)
    ys, xs = np.nonzero(covered > 127)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == pytest.approx((60, 140, 40, 120), abs=1)
    assert layer.rgb[80, 100, 0] > 2 * layer.rgb[80, 100, 1]


def test_paint_tells_only_what_the_call_covered() -> None:
    layer = Layer(160, 200)
    layer.paint([Piece(box(-20, -10, -15, 10), RED)], VIEW, LIGHT)
    covered = layer.paint([Piece(box(15, -10, 20, 10), RED)], VIEW, LIGHT)
    assert covered[80, 30] == 0
    assert layer.cover[80, 30] == 255


@pytest.mark.parametrize("far", [(500.0, 0.0), (-500.0, 0.0), (0.0, 500.0), (0.0, -500.0)])
def test_what_lies_beside_the_picture_is_not_painted(far: tuple[float, float]) -> None:
    layer = Layer(160, 200)
    shapes = [
        Piece(box(-5, -5, 5, 5) + xy(far), RED),
        Seam(xy([(0, 0), (4, 4)]) + xy(far)),
        Stud(far[0], far[1], 1.0, (9, 9, 9)),
    ]
    assert layer.paint(shapes, VIEW, LIGHT).max() == 0


@pytest.mark.parametrize("px_per_cm", [0.5, 3.0, 30.0])
def test_pieces_of_any_size_can_be_painted(px_per_cm: float) -> None:
    layer = Layer(97, 61)
    view = View.looking((0, 0), (30, 48), px_per_cm)
    layer.paint([Piece(box(-1, -1, 1, 1), RED), Seam(xy([(-1, 0), (1, 0)]), dashed=True)], view, LIGHT)
    assert layer.cover[48, 30] == 255


def test_a_seam_marks_only_what_is_painted() -> None:
    layer = Layer(160, 200)
    layer.paint([Piece(box(-10, -10, 10, 10), smooth_surface((200, 200, 200), 0, 0, 0), edge=0)], VIEW, LIGHT)
    before = layer.rgb.copy()
    layer.paint([Seam(xy([(-20, 0), (20, 0)]), tone=0.5, width_cm=1)], VIEW, LIGHT)
    assert layer.rgb[80, 100].mean() < 0.6 * before[80, 100].mean()
    np.testing.assert_array_equal(layer.rgb[80, 30], before[80, 30])


def test_laying_a_layer_leaves_the_rest_of_the_ground() -> None:
    layer = Layer(160, 200)
    layer.paint([Piece(box(-10, -10, 10, 10), RED)], VIEW, LIGHT)
    ground = np.full((160, 200, 3), 77, np.uint8)
    layer.laid_on(ground)
    assert (ground[5, 5] == 77).all()
    assert ground[80, 100, 0] > 120


def test_an_empty_layer_changes_nothing() -> None:
    ground = np.full((160, 200, 3), 77, np.uint8)
    Layer(160, 200).laid_on(ground)
    assert (ground == 77).all()


def test_a_shadow_falls_away_from_the_light() -> None:
    layer = Layer(160, 200)
    layer.paint([Piece(box(-10, -10, 10, 10), RED)], VIEW, LIGHT)
    ground = np.full((160, 200, 3), 200, np.uint8)
    cast_shadow(layer.cover, ground, 0, 20, 8, 0.5)
    assert ground[130, 100, 0] < 150
    assert ground[25, 100, 0] > 190
