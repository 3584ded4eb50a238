from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgsearch_assets.datasets import folder
from imgsearch_assets.datasets.split import split
from imgsearch_assets.models.measuring import left_out, yardstick
from imgsearch_assets.models.shipped import register_embedder
from serving.object_store import LocalObjectStore


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for kind in ("hat", "shoe"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            picture = Image.fromarray(pixels).resize((96, 96), Image.Resampling.NEAREST)
            picture.save(tmp_path / "photos" / kind / f"{number}.png")
    return tmp_path / "photos"


def test_what_a_training_left_out_is_asked_for_again(photos: Path, tmp_path: Path) -> None:
    dataset = folder.load(photos)
    unseen = left_out(dataset, 0.5, 0, tmp_path / "again")
    held = split(dataset, 0.5, 0).held_out
    assert 0 < len(held) < 12
    assert sorted(one.product for one in unseen.pictures if one.kind == "shop") == sorted(
        one.path.relative_to(dataset.root).as_posix() for one in held
    )
    assert len(unseen.pictures) == 2 * len(held)
    assert len(left_out(dataset, None, 0, tmp_path / "all").pictures) == 24


def test_an_embedder_is_judged_by_kinds_and_by_identity(photos: Path, tmp_path: Path) -> None:
    by = yardstick(left_out(folder.load(photos), None, 0, tmp_path / "again"))
    figures = by.measure(register_embedder(LocalObjectStore(tmp_path / "store")))
    assert by.samples == 24
    assert {"self_recall_at_1", "in_shop_category_precision_at_5"} <= set(figures)
