from pathlib import Path

import pytest

from imgsearch_assets.datasets.dataset import Labelled
from imgsearch_assets.evaluation.detection import detection
from serving.images.box import Box
from serving.models.detection import Detection

_BOX = Box(0.1, 0.1, 0.6, 0.7)
_FOUND = {Path("a"): [Detection(_BOX, "shoe", 0.9)], Path("b"): []}


def test_figures_are_of_pictures_whose_boxes_are_known() -> None:
    pictures = [Labelled(Path("a"), items=((_BOX, "shoe"),)), Labelled(Path("b")), Labelled(Path("unseen"))]
    figures = detection(pictures * 2, _FOUND, ["shoe", "hat"])
    assert figures["pictures"] == 1
    assert [figures[name] for name in ("ap50", "ap", "map50")] == pytest.approx([1, 1, 1])
    assert detection(pictures[1:], _FOUND, ["shoe"]) == {}


def test_categories_of_another_make_give_no_figures_within_categories() -> None:
    figures = detection([Labelled(Path("a"), items=((_BOX, "Denim"),))], _FOUND, ["shoe"])
    assert figures["ap50"] == pytest.approx(1)
    assert not [name for name in figures if name.startswith("map")]
