import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imgsearch_assets.models.shipped import register_detector
from imgsearch_assets.sample.scenes import training_scene
from serving.errors import Unverified
from serving.images.box import Box
from serving.models.bundle import Bundle
from serving.models.detection import Detection
from serving.models.detector import MAX_ITEMS, MIN_SCORE, SAME_ITEM_IOU, Detector, corners, items, prominence
from serving.object_store import LocalObjectStore

CATEGORIES = ("hat", "shoe")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return register_detector(LocalObjectStore(tmp_path_factory.mktemp("store")))


def maps(*found: tuple[int, int, int, float, tuple[float, float, float, float]]):
    """Maps of an 8 x 8 head that says exactly ``found``: (kind, row, column, logit, sides)."""
    logits, sides = torch.full((1, 2, 8, 8), -20.0), torch.full((1, 4, 8, 8), 0.1)
    for kind, row, column, logit, four in found:
        logits[0, kind, row, column] = logit
        sides[0, :, row, column] = torch.tensor(four)
    return logits, sides


def test_a_peak_is_an_item() -> None:
    (found,) = items(*maps((1, 3, 4, 2.0, (0.25, 0.125, 0.25, 0.25))), CATEGORIES)
    # Row 3 and column 4 of eight have their centre at 3.5 / 8 and 4.5 / 8.
    assert [(one.box, one.category) for one in found] == [(Box(0.3125, 0.3125, 0.8125, 0.6875), "shoe")]
    assert found[0].score == pytest.approx(0.8808, abs=1e-4)


def test_one_item_is_said_once() -> None:
    same = (0.2, 0.2, 0.2, 0.2)
    (found,) = items(*maps((0, 3, 3, 2.0, same), (0, 3, 4, 1.0, same), (1, 3, 3, 1.5, same)), CATEGORIES)
    assert [one.category for one in found] == ["hat"]


def test_the_main_item_is_first_even_when_another_is_surer() -> None:
    (found,) = items(
        *maps((0, 4, 4, 2.0, (0.4, 0.4, 0.3, 0.3)), (1, 0, 0, 3.0, (0.05, 0.05, 0.1, 0.1))), CATEGORIES
    )
    assert [one.category for one in found] == ["hat", "shoe"]
    assert found[0].score < found[1].score


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_maps_give_sound_items(seed: int) -> None:
    torch.manual_seed(seed)
    for found in items(torch.randn(2, 2, 8, 8) * 3, torch.rand(2, 4, 8, 8) + 0.001, CATEGORIES):
        assert len(found) <= MAX_ITEMS
        assert all(MIN_SCORE <= one.score <= 1 for one in found)
        assert all(a.box.iou(b.box) < SAME_ITEM_IOU for a in found for b in found if a is not b)
        assert [prominence(one) for one in found] == sorted(map(prominence, found), reverse=True)


def test_corners_are_measured_from_cell_centres() -> None:
    boxes = corners(torch.full((1, 4, 4, 4), 0.125))
    assert boxes[0, :, 0, 0].tolist() == [0.0, 0.0, 0.25, 0.25]
    assert boxes[0, :, 3, 1].tolist() == [0.25, 0.75, 0.5, 1.0]


def test_the_shipped_detector_finds_the_main_item(bundle: Bundle) -> None:
    detector = Detector(bundle)
    scenes = [training_scene(np.random.default_rng([5, number])) for number in range(12)]
    found = detector.detect([picture for picture, _ in scenes])
    right = [
        bool(boxes) and boxes[0].box.iou(truth[0][0]) >= 0.5
        for boxes, (_, truth) in zip(found, scenes, strict=True)
    ]
    assert sum(right) >= 9
    assert {one.category for boxes in found for one in boxes} <= set(detector.categories)


def test_what_is_found_does_not_depend_on_company(bundle: Bundle) -> None:
    detector = Detector(bundle)
    pictures = [training_scene(np.random.default_rng([6, number]))[0] for number in range(6)]
    for together, one in zip(detector.detect(pictures), pictures, strict=True):
        (alone,) = detector.detect([one])
        assert len(alone) == len(together)
        assert all(a.box.iou(b.box) > 0.99 for a, b in zip(alone, together, strict=True))
    assert detector.detect([]) == []


def test_it_names_its_version_and_preprocessing(bundle: Bundle) -> None:
    detector = Detector(bundle)
    assert detector.version == bundle.version
    assert detector.preprocessing == bundle.card.preprocessing.fingerprint


def test_a_bundle_of_something_else_is_refused(bundle: Bundle) -> None:
    with pytest.raises(Unverified, match="the weights do not fit DetectorNetwork"):
        Detector(Bundle(bundle.card.model_copy(update={"categories": CATEGORIES}), bundle.tensors))


def test_prominence_grows_with_score_size_and_nearness_to_the_middle() -> None:
    plain = prominence(Detection(Box(0.3, 0.3, 0.7, 0.7), "hat", 0.5))
    assert prominence(Detection(Box(0.3, 0.3, 0.7, 0.7), "hat", 0.6)) > plain
    assert prominence(Detection(Box(0.2, 0.2, 0.8, 0.8), "hat", 0.5)) > plain
    assert prominence(Detection(Box(0.0, 0.3, 0.4, 0.7), "hat", 0.5)) < plain
