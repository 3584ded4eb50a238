"""The benchmark itself runs, on next to nothing: its figures here mean nothing."""

from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.mark.slow
def test_drawn_products(benchmark) -> None:
    ran = benchmark("quality", "--products", "6", "--scenes", "4", "--seed", "2345678")
    said = ran.figures
    assert "ours" in ran.stdout
    assert said["products"] == 6
    assert 0 <= said["recall_at_1"] <= said["recall_at_10"] == 1
    assert said["gain_recall_at_1"] == pytest.approx(
        said["recall_at_1"] - said["frozen_recall_at_1"], abs=1e-3
    )
    assert 0.5 < said["ap50"] <= 1


@pytest.mark.slow
def test_photographs(benchmark, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind, colour in (("hat", (200, 40, 40)), ("shoe", (40, 40, 200))):
        (tmp_path / kind).mkdir()
        for number in range(8):
            picture = np.clip(rng.integers(0, 60, (70, 60, 3)) + colour, 0, 255)
            cv2.imwrite(str(tmp_path / kind / f"{number}.jpg"), picture)
    said = benchmark("quality", "--photos", str(tmp_path)).figures
    assert 0 < said["photos"] < 16
    assert {"category_precision_at_5", "self_recall_at_1", "frozen_self_recall_at_1"} <= said.keys()


def test_a_folder_that_is_not_there_is_one_sentence(benchmark, tmp_path: Path) -> None:
    done = benchmark("quality", "--photos", str(tmp_path / "none"))
    assert done.returncode == 1
    assert done.stderr.startswith("no figures: ")
