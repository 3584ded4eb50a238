import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsearch_assets.sample.curves import along, both_sides, box, flipped, outline, smooth, tube, xy

coordinates = st.floats(-50, 50, width=32)
runs = st.lists(st.tuples(coordinates, coordinates), min_size=2, max_size=8)


@given(runs)
def test_a_smooth_run_passes_through_its_ends(run: list[tuple[float, float]]) -> None:
    curve = smooth(run)
    assert curve.dtype == np.float32
    np.testing.assert_allclose(curve[[0, -1]], xy([run[0], run[-1]]), atol=1e-4)


@given(runs)
def test_flipping_twice_changes_nothing(run: list[tuple[float, float]]) -> None:
    np.testing.assert_array_equal(flipped(flipped(run)), xy(run))


def test_an_outline_told_from_its_right_half_is_even() -> None:
    points = both_sides([(0, 0), (5, 1), (8, 4)], [(8, 4), (6, 9), (0, 10)])
    np.testing.assert_allclose(points[: len(points) // 2], flipped(points[len(points) // 2 :])[::-1])


def test_runs_meet_in_a_corner() -> None:
    points = outline([(0, 0), (10, 0)], [(10, 0), (10, 10)])
    assert [10.0, 0.0] in points.tolist()


def test_places_along_a_line_are_even() -> None:
    places = along(xy([(0, 0), (1, 0), (10, 0)]), 0.0, 1.0, 6)
    np.testing.assert_allclose(places[:, 0], [0, 2, 4, 6, 8, 10], atol=1e-5)


@pytest.mark.parametrize("width", [0.5, 3.0])
def test_the_sides_of_a_tube_are_as_far_apart_as_asked(width: float) -> None:
    left, right = tube(xy([(0, 0), (0, 5), (0, 10)]), np.full(3, width, np.float32))
    np.testing.assert_allclose(np.linalg.norm(left - right, axis=1), 2 * width, atol=1e-5)


def test_round_corners_stay_inside_the_rectangle() -> None:
    points = box(-2, -1, 6, 3, corner=1)
    assert (points.min(axis=0) >= [-2, -1]).all()
    assert (points.max(axis=0) <= [6, 3]).all()
