from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from imgsearch_assets.datasets.dataset import Labelled
from imgsearch_assets.training.crops import detected
from serving.images.box import Box
from serving.models.detection import Detection

ITEM, OTHER = Box(0.1, 0.1, 0.7, 0.8), Box(0.6, 0.7, 1.0, 1.0)


class Eyes:
    """Stands for a detector: says of a picture what its first pixel numbers."""

    version = "0123456789abcdef"
    said: tuple[tuple[Detection, ...], ...] = (
        (Detection(OTHER, "shoe", 0.9), Detection(Box(0.12, 0.1, 0.7, 0.82), "hat", 0.4)),
        (Detection(OTHER, "shoe", 0.9),),
        (),
    )

    def __init__(self) -> None:
        self.looks = 0

    def detect(self, pictures: list[NDArray[np.uint8]]) -> list[list[Detection]]:
        self.looks += len(pictures)
        return [list(self.said[int(picture[0, 0, 0]) // 80]) for picture in pictures]


@pytest.fixture
def pictures(tmp_path: Path) -> list[Labelled]:
    found = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), np.full((40, 30, 3), 80 * number, np.uint8))
        found.append(Labelled(path, category="hat", items=((ITEM, "hat"),)))
    return found


def found(pictures: list[Labelled], eyes: Any, folder: Path, version: str = "v") -> dict[str, Box]:
    return {path.name: box for path, box in detected(pictures, eyes, folder, version).items()}


def test_the_item_that_is_labelled_or_none(pictures: list[Labelled], tmp_path: Path) -> None:
    boxes = found(pictures, Eyes(), tmp_path / "items")
    assert boxes == {"0.png": Box(0.12, 0.1, 0.7, 0.82)}, "of its category; not of something else beside it"


def test_without_a_label_the_main_item(pictures: list[Labelled], tmp_path: Path) -> None:
    unlabelled = [Labelled(one.path) for one in pictures]
    assert found(unlabelled, Eyes(), tmp_path / "items") == {"0.png": OTHER, "1.png": OTHER}


def test_what_was_found_is_read_again(pictures: list[Labelled], tmp_path: Path) -> None:
    eyes = Eyes()
    first = found(pictures, eyes, tmp_path / "items")
    assert found(pictures, eyes, tmp_path / "items") == first
    assert eyes.looks == 3
    found(pictures, eyes, tmp_path / "items", version="other pictures")
    assert eyes.looks == 6
