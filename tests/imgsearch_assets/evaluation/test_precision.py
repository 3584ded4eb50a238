import pytest

from imgsearch_assets.evaluation.precision import detector_figures, figures_by_category, main_item_found
from serving.images.box import Box
from serving.models.detection import Detection

LEFT, RIGHT = Box(0.0, 0.0, 0.4, 1.0), Box(0.6, 0.0, 1.0, 1.0)
KINDS = ("hat", "bag", "shoe")


def test_all_found_and_nothing_else_is_one(capsys) -> None:
    found = [[Detection(LEFT, "hat", 0.9), Detection(RIGHT, "bag", 0.5)]]
    figures = detector_figures(found, [[(LEFT, "hat"), (RIGHT, "bag")]], KINDS)
    assert figures == pytest.approx(dict.fromkeys(figures, 1.0))
    assert list(figures) == ["ap50", "ap75", "ap", "map50", "map", "main_item_iou50", "main_item_iou75"]
    assert capsys.readouterr() == ("", "")


def test_an_item_found_twice_is_right_once() -> None:
    found = [[Detection(LEFT, "hat", 0.9), Detection(LEFT, "hat", 0.8), Detection(RIGHT, "bag", 0.7)]]
    # Precision 1 up to the first half of the items, 2/3 over the second; COCO looks at 101 recalls.
    truth = [[(LEFT, "hat"), (RIGHT, "bag")]]
    assert detector_figures(found, truth, KINDS)["ap50"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_wrong_box_that_is_less_sure_costs_nothing() -> None:
    found = [[Detection(LEFT, "hat", 0.9), Detection(RIGHT, "hat", 0.1)]]
    assert detector_figures(found, [[(LEFT, "hat")]], KINDS)["ap50"] == pytest.approx(1)
    found = [[Detection(LEFT, "hat", 0.1), Detection(RIGHT, "hat", 0.9)]]
    assert detector_figures(found, [[(LEFT, "hat")]], KINDS)["ap50"] == pytest.approx(0.5)


def test_a_loose_box_counts_at_the_overlaps_it_has() -> None:
    # IoU 0.8: right at 0.50, 0.55 .. 0.80, which are seven of ten.
    found = [[Detection(Box(0.0, 0.0, 0.4, 0.8), "hat", 0.9)]]
    figures = detector_figures(found, [[(LEFT, "hat")]], KINDS)
    assert (figures["ap50"], figures["ap75"], figures["ap"]) == pytest.approx((1, 1, 0.7))


def test_nothing_found_or_nothing_there() -> None:
    assert detector_figures([[]], [[(LEFT, "hat")]], KINDS)["ap50"] == 0
    assert detector_figures([[Detection(LEFT, "hat", 0.9)]], [[]], KINDS)["map50"] == 0
    assert figures_by_category([[]], [[]], KINDS)[1] == {}


def test_the_mean_is_over_categories_that_occur() -> None:
    found = [[Detection(LEFT, "hat", 0.9), Detection(RIGHT, "hat", 0.5)]]
    truth = [[(LEFT, "hat"), (RIGHT, "bag")]]
    figures, each = figures_by_category(found, truth, KINDS)
    assert (figures["ap50"], figures["map50"]) == pytest.approx((1, 0.5))
    assert each == {"hat": pytest.approx({"ap50": 1, "ap": 1}), "bag": {"ap50": 0, "ap": 0}}


def test_the_main_item_must_come_first() -> None:
    found = [[Detection(LEFT, "hat", 0.9)], [Detection(RIGHT, "hat", 0.9), Detection(LEFT, "hat", 0.9)], []]
    truth = [[(LEFT, "hat")]] * 3
    assert main_item_found(found, truth, 0.5) == pytest.approx(1 / 3)
