from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from imgsearch_assets.datasets.dataset import Labelled
from imgsearch_assets.training.described import PLAIN, describe, loose, views
from serving.errors import BadInput
from serving.images.box import Box


class Grey:
    """Stands for the trunk: the mean of each channel."""

    name = "grey"

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.looks += len(x)
        return x.float().mean((2, 3))


@pytest.fixture
def pictures(tmp_path: Path) -> list[Labelled]:
    rng = np.random.default_rng(0)
    found = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), rng.integers(0, 256, (40, 30, 3), np.uint8))
        box = Box(0.1, 0.1, 0.7, 0.8)
        found.append(Labelled(path, product="ab"[number // 2], category="hat", items=((box, "hat"),)))
    return found


def test_a_picture_has_its_item_the_whole_and_copies(pictures: list[Labelled], tmp_path: Path) -> None:
    found = describe(pictures, 3, 0, tmp_path / "said", "v", engine=Grey)
    assert found.rows.shape == (3, PLAIN + 3, 3)
    assert found.products.tolist() == [0, 0, 1]
    assert found.categories.tolist() == [0, 0, 0]


def test_what_was_described_is_read_again(pictures: list[Labelled], tmp_path: Path) -> None:
    engine = Grey()
    first = describe(pictures, 1, 0, tmp_path / "said", "v", engine=lambda: engine)
    again = describe(pictures, 1, 0, tmp_path / "said", "v", engine=lambda: engine)
    assert engine.looks == 9
    assert np.array_equal(first.rows, again.rows)
    describe(pictures, 1, 1, tmp_path / "said", "v", engine=lambda: engine)
    assert engine.looks == 18


def test_a_detectors_box_comes_before_the_label(pictures: list[Labelled], tmp_path: Path) -> None:
    other = describe(pictures, 0, 0, tmp_path, "v", {one.path: Box.whole() for one in pictures}, engine=Grey)
    assert np.array_equal(other.rows[:, 0], other.rows[:, 1])


def test_views_are_those_of_the_seed(pictures: list[Labelled]) -> None:
    one, two = pictures[:2]
    first = views(0, one, one.box, two, copies=2, seed=5)
    assert first.shape == (4, 3, 224, 224)
    assert np.array_equal(first, views(0, one, one.box, two, copies=2, seed=5))
    assert not np.array_equal(first[2:], views(0, one, one.box, two, copies=2, seed=6)[2:])


def test_a_loose_box_still_holds_most_of_the_item() -> None:
    rng = np.random.default_rng(1)
    box = Box(0.6, 0.0, 1.0, 0.3)
    overlaps = [loose(box, rng).iou(box) for _ in range(200)]
    assert min(overlaps) > 0.4
    assert 0.7 < float(np.mean(overlaps)) < 0.98


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "not.jpg"
    path.write_bytes(b"text")
    with pytest.raises(BadInput, match=r"not\.jpg cannot be read as a picture .*; mend it, or take it out"):
        views(0, Labelled(path), Box.whole(), Labelled(path), copies=0, seed=0)


def test_nothing_to_learn_from_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there are no pictures to learn from"):
        describe([], 1, 0, tmp_path, "v", engine=Grey)


def test_the_trunk_gives_a_descriptor() -> None:
    from imgsearch_assets.training.described import trunk_engine

    found = trunk_engine()(torch.zeros(2, 3, 224, 224, dtype=torch.uint8))
    assert isinstance(found, Tensor)
    assert found.shape == (2, 1432)
