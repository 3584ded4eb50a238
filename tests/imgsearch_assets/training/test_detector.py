"""The detector's trainer on pictures small enough to be seen in a moment."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray

from imgsearch_assets.datasets.scenes import Truth
from imgsearch_assets.models.shipped import Shipped
from imgsearch_assets.training.checkpoint import Checkpoint
from imgsearch_assets.training.curves import Curves
from imgsearch_assets.training.detector import Recipe, fit, measure, train
from imgsearch_assets.training.looks import GRID, Seen
from serving.errors import BadInput, BadSettings
from serving.images.box import Box
from serving.models.backbone import TAP_CHANNELS, TAP_STRIDES
from serving.models.bundle import list_versions
from serving.models.detector import NAME, Detector, Head
from serving.object_store import LocalObjectStore

KINDS = ("disc", "stripes", "square")


@dataclass(frozen=True)
class Painted:
    """One coloured rectangle on grey: a data set of a few milliseconds."""

    first: int
    count: int
    categories: tuple[str, ...] = KINDS

    @property
    def fingerprint(self) -> str:
        return f"painted-{self.first}-{self.count}"

    def __len__(self) -> int:
        return self.count

    def scene(self, i: int) -> tuple[NDArray[np.uint8], Truth]:
        rng = np.random.default_rng(self.first + i)
        picture = np.full((64, 64, 3), 128, np.uint8)
        x, y = rng.integers(0, 32, 2)
        kind = int(rng.integers(len(KINDS)))
        picture[y : y + 28, x : x + 28, kind] = 250
        return picture, [(Box(x / 64, y / 64, (x + 28) / 64, (y + 28) / 64), KINDS[kind])]

    def content(self, i: int) -> str:
        return str(self.first + i)


# Fits in the folder of its first argument, and prints the hash of the weights.
TRAINER = """
import sys
from pathlib import Path
from imgsearch_assets.training.checkpoint import Checkpoint, sha256_of
from imgsearch_assets.training.curves import Curves
from imgsearch_assets.training.detector import Recipe, fit
from serving.models import runtime
from tests.imgsearch_assets.training.test_detector import KINDS, seen
runtime.tune(threads=1)
folder = Path(sys.argv[1])
recipe = Recipe(epochs=7, batch=4)
head = fit(seen(8), seen(2), KINDS, Checkpoint(folder, {"seed": 0}), Curves(folder), recipe)
print(sha256_of(head.state_dict()))
"""


def trainer(folder: Path) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[3])
    return subprocess.Popen(
        [sys.executable, "-c", TRAINER, folder],
        env=os.environ | {"PYTHONPATH": root},
        stdout=subprocess.PIPE,
        text=True,
    )


def seen(count: int) -> Seen:
    """Maps on which an item is what it is on no photograph: one channel a category, lit inside the box."""
    rng = np.random.default_rng(0)
    maps = [
        torch.zeros(count, GRID * 8 // s, GRID * 8 // s, c)
        for c, s in zip(TAP_CHANNELS, TAP_STRIDES, strict=True)
    ]
    truth = []
    for number in range(count):
        x, y = rng.uniform(0, 0.5, 2)
        wide, tall = rng.uniform(0.25, 0.5, 2)
        kind = int(rng.integers(len(KINDS)))
        for tap in maps:
            side = tap.shape[1]
            rows = slice(round(y * side), round((y + tall) * side))
            tap[number, rows, round(x * side) : round((x + wide) * side), kind] = 3
        truth.append([(Box(x, y, x + wide, y + tall), KINDS[kind])])
    return Seen(tuple(tap.half() for tap in maps), truth)


def test_a_head_learns_what_it_is_shown(tmp_path: Path) -> None:
    shown = seen(32)
    before, _ = measure(Head(len(KINDS)).eval(), shown, KINDS)
    curves = Curves(tmp_path)
    head = fit(shown, shown, KINDS, Checkpoint(tmp_path), curves, Recipe(epochs=12, batch=8))
    after, by_category = measure(head.eval(), shown, KINDS)
    assert after["ap50"] > 0.3 > 0.1 > before["ap50"]
    assert set(by_category) <= set(KINDS)
    assert 0 <= after["main_item_iou75"] <= after["main_item_iou50"] <= 1
    rows = curves.rows()
    assert [row["epoch"] for row in rows] == list(range(1, 13))
    assert rows[-1]["loss_box"] < rows[0]["loss_box"]
    assert rows[-1]["ap50"] == after["ap50"]


@pytest.mark.timeout(300)  # three processes; on a busy machine they take their time to start
def test_a_killed_training_ends_in_the_same_weights(tmp_path: Path) -> None:
    with trainer(tmp_path / "whole") as whole, trainer(tmp_path / "killed") as killed:
        while killed.poll() is None and not list((tmp_path / "killed").glob("000000000[2-9].*.safetensors")):
            time.sleep(0.005)
        os.kill(killed.pid, signal.SIGKILL)
        expected = whole.communicate()[0]
    assert killed.returncode == -signal.SIGKILL
    assert 2 <= len(Curves(tmp_path / "killed").rows()) < 7
    with trainer(tmp_path / "killed") as resumed:
        assert resumed.communicate()[0] == expected != ""
    assert Curves(tmp_path / "killed").rows() == Curves(tmp_path / "whole").rows()


def test_what_is_made_is_weights_a_card_and_a_bundle_that_detects(tmp_path: Path) -> None:
    learned, unseen = Painted(0, 8), Painted(100, 4)
    recipe = Recipe(epochs=1, batch=4)
    trained = train(learned, unseen, recipe, tmp_path / "training")
    trained.write(tmp_path)
    head = Head(len(KINDS))
    head.load_state_dict(safetensors.torch.load_file(tmp_path / "detector_head.safetensors"))
    card = Shipped.model_validate_json((tmp_path / "detector_head.json").read_bytes())
    assert card.categories == KINDS
    assert card.training == json.loads(json.dumps(trained.configuration))
    assert card.metrics == {name: round(value, 4) for name, value in trained.figures.items()}

    store = LocalObjectStore(tmp_path / "objects")
    bundle = trained.store(store)
    assert list_versions(store, NAME) == [bundle.version]
    assert store.get(f"models/{NAME}/{bundle.version}/curves.png").startswith(b"\x89PNG")
    assert (bundle.card.dataset, bundle.card.split) == (learned.fingerprint, unseen.fingerprint)
    Detector(bundle).detect([learned.scene(0)[0]])

    # Finished: the same again is read, not done; another recipe is another training.
    again = train(learned, unseen, recipe, tmp_path / "training")
    assert again.store(store).version == bundle.version
    with pytest.raises(BadSettings, match=r"was begun with epochs = 1, not 2; choose another folder"):
        train(learned, unseen, Recipe(epochs=2, batch=4), tmp_path / "training")
    other = train(learned, unseen, Recipe(seed=1, epochs=1, batch=4), tmp_path / "training", restart=True)
    assert other.store(store).version != bundle.version
    assert not (tmp_path / "training" / "looks").exists()


def test_scenes_that_cannot_be_learned_from(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="0 pictures to learn from and 4 held out: both need some"):
        train(Painted(0, 0), Painted(0, 4), Recipe(), tmp_path)
    with pytest.raises(BadInput, match="2 of 4 held-out pictures are among those learned from, picture 0"):
        train(Painted(0, 8), Painted(6, 4), Recipe(), tmp_path)
