from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from imgsearch_assets.cli import app
from serving.models import weights_file
from serving.models.bundle import list_versions, load_card, promote, store_bundle
from serving.models.card_text import model_card
from serving.models.preprocess import Preprocessing
from serving.object_store import LocalObjectStore
from tests import towers

run = CliRunner().invoke


@pytest.fixture
def store(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path / "objects")


def test_the_live_one_is_marked_and_shown(store: LocalObjectStore, tmp_path: Path) -> None:
    made = [
        store_bundle(
            store, "embedder", {"a": torch.full((1,), value)}, Preprocessing(), dim=3, metrics={"r1": value}
        )
        for value in (0.25, 0.5)
    ]
    candidates = run(app, ["model", "list", "--home", str(tmp_path)], env={"COLUMNS": "120"})
    assert candidates.exit_code == 0
    assert "live" not in candidates.output
    promote(store, made[1])
    listed = run(app, ["model", "list", "--home", str(tmp_path)], env={"COLUMNS": "120"})
    rows = [line for line in listed.output.splitlines() if "r1" in line]
    assert len(rows) == 2
    assert ["live" in row for row in rows] == ["r1 0.5" in row for row in rows]
    shown = run(app, ["model", "show", "--home", str(tmp_path)])
    assert shown.output == model_card(made[1].card)
    other = run(app, ["model", "show", "--home", str(tmp_path), "--version", made[0].version])
    assert other.output == model_card(made[0].card)


def test_weights_are_adopted_but_not_live(store: LocalObjectStore, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(weights_file.to_bytes(towers.state(towers.CLIP)))
    asked = ["model", "adopt", "--home", str(tmp_path), "--architecture", f"open_clip/{towers.CLIP}"]
    asked += ["--weights", str(tmp_path / "w.safetensors"), "--fit", "stretch", "--source", "spring"]
    done = run(app, asked)
    (version,) = list_versions(store, "embedder")
    said = f"embedder {version} is kept; it is not live until it is promoted\n"
    assert (done.exit_code, done.output) == (0, said)
    card = load_card(store, "embedder", version)
    assert (card.preprocessing.fit, card.training) == ("stretch", {"source": "spring"})


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["list"], "no model named 'embedder' is registered in this object store"),
        (["show", "detector"], "no model named 'detector' is registered in this object store"),
        (
            ["adopt", "--architecture", "timm/test_vit", "--weights", "/nowhere"],
            "cannot read /nowhere: No such file or directory",
        ),
        (
            ["adopt", "--architecture", "timm/test_vit", "--weights", "/nowhere", "--fit", "pad"],
            "--fit is stretch or crop, not 'pad'",
        ),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tmp_path: Path, asked: list[str], said: str) -> None:
    done = run(app, ["model", *asked, "--home", str(tmp_path)])
    assert (done.exit_code, done.stderr) == (1, f"imgsearch: {said}\n")
