import pytest

from imgsearch_assets.training.precision import average_precision, main_item_found, mean_average_precision
from serving.images.box import Box
from serving.models.detection import Detection

LEFT, RIGHT = Box(0.0, 0.0, 0.4, 1.0), Box(0.6, 0.0, 1.0, 1.0)


def test_all_found_and_nothing_else_is_one() -> None:
    found = [[Detection(LEFT, "hat", 0.9), Detection(RIGHT, "bag", 0.5)]]
    assert average_precision(found, [[(LEFT, "hat"), (RIGHT, "bag")]], 0.5) == 1.0


def test_an_item_found_twice_is_right_once() -> None:
    found = [[Detection(LEFT, "hat", 0.9), Detection(LEFT, "hat", 0.8), Detection(RIGHT, "bag", 0.7)]]
    # Precision 1 up to the first half of the items, 2/3 over the second.
    truth = [[(LEFT, "hat"), (RIGHT, "bag")]]
    assert average_precision(found, truth, 0.5) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_a_wrong_box_that_is_less_sure_costs_nothing() -> None:
    found = [[Detection(LEFT, "hat", 0.9), Detection(RIGHT, "hat", 0.1)]]
    assert average_precision(found, [[(LEFT, "hat")]], 0.5) == 1.0
    found = [[Detection(LEFT, "hat", 0.1), Detection(RIGHT, "hat", 0.9)]]
    assert average_precision(found, [[(LEFT, "hat")]], 0.5) == 0.5


def test_nothing_found_or_nothing_there() -> None:
    assert average_precision([[]], [[(LEFT, "hat")]], 0.5) == 0.0
    assert average_precision([[Detection(LEFT, "hat", 0.9)]], [[]], 0.5) == 0.0


def test_the_mean_is_over_categories_that_occur() -> None:
    found = [[Detection(LEFT, "hat", 0.9), Detection(RIGHT, "hat", 0.5)]]
    truth = [[(LEFT, "hat"), (RIGHT, "bag")]]
    assert mean_average_precision(found, truth, 0.5, ("hat", "bag", "shoe")) == 0.5


def test_the_main_item_must_come_first() -> None:
    found = [[Detection(LEFT, "hat", 0.9)], [Detection(RIGHT, "hat", 0.9), Detection(LEFT, "hat", 0.9)], []]
    truth = [[(LEFT, "hat")]] * 3
    assert main_item_found(found, truth, 0.5) == pytest.approx(1 / 3)
