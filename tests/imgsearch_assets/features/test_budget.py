import numpy as np
import pytest

from imgsearch_assets.features.budget import WORTH_MEASURING, Budget, measured_speed, plan


def never() -> float:
    raise AssertionError("nobody asked for that")


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        (Budget("boxes", 0, None, ""), "no boxes are lacking"),
        (Budget("boxes", 12, None, ""), "12 boxes are lacking"),
        (
            Budget("boxes", 1_460_000, 120.0, "as it was last"),
            "1,460,000 boxes are lacking: about 3.4 h at 120.0 a second (as it was last)",
        ),
        (
            Budget("pictures", 30_000, 50.0, "measured on noise"),
            "30,000 pictures are lacking: about 10 min at 50.0 a second (measured on noise)",
        ),
        (
            Budget("pictures", 500, 50.0, "measured on noise"),
            "500 pictures are lacking: about 10 s at 50.0 a second (measured on noise)",
        ),
    ],
)
def test_it_is_one_sentence(budget: Budget, sentence: str) -> None:
    assert budget.sentence == budget.figures()["budget"] == sentence


def test_what_is_known_is_not_measured_and_little_is_not_worth_it() -> None:
    assert plan("boxes", 0, never, never) == Budget("boxes", 0, None, "")
    assert plan("boxes", 9, lambda: 2.0, never) == Budget("boxes", 9, 2.0, "as it was last")
    assert plan("boxes", 9, lambda: None, never) == Budget("boxes", 9, None, "")
    much = plan("boxes", WORTH_MEASURING, lambda: None, lambda: 64.0)
    assert much == Budget("boxes", WORTH_MEASURING, 64.0, "measured on noise")
    assert much.figures() == {
        "lacking": 256,
        "expected_seconds": 4.0,
        "expected_per_second": 64.0,
        "budget": "256 boxes are lacking: about 4 s at 64.0 a second (measured on noise)",
    }


def test_a_look_is_given_pictures_as_a_shop_has_them() -> None:
    shapes = []
    assert measured_speed(lambda pictures: shapes.extend(one.shape for one in pictures), 2) > 0
    assert set(shapes) == {(600, 600, 3)}
    assert len(shapes) % 4 == 0
    assert np.prod(shapes[0]) == 1_080_000
