from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from imgsearch_assets.cli import app
from imgsearch_assets.datasets.loader import load
from imgsearch_assets.models import measuring
from imgsearch_assets.models.measuring import Yardstick
from serving.models import weights_file
from serving.models.bundle import list_versions, live_version, load_card, promote, store_bundle
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
    assert candidates.output.startswith("none of them is live\n")
    promote(store, made[1])
    listed = run(app, ["model", "list", "--home", str(tmp_path)], env={"COLUMNS": "120"})
    rows = [line for line in listed.output.splitlines() if "r1" in line]
    assert len(rows) == 2
    assert ["live" in row for row in rows] == ["r1 0.5" in row for row in rows]
    assert all("efficientnet_lite0" in row for row in rows)
    key = f"models/embedder/{made[0].version}/bundle.json"
    good = store.get(key)
    store.put(key, b"{")
    damaged = run(app, ["model", "list", "--home", str(tmp_path)], env={"COLUMNS": "200"})
    assert damaged.exit_code == 0
    assert f"{made[0].version}" in damaged.output
    assert "cannot be served: " in damaged.output
    assert "r1 0.5" in damaged.output
    store.put(key, good)
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
    said = f"embedder {version} is kept; imgsearch model register makes it live\n"
    assert (done.exit_code, done.output) == (0, said)
    card = load_card(store, "embedder", version)
    assert (card.preprocessing.fit, card.training) == ("stretch", {"source": "spring"})


def test_a_candidate_passes_the_gate_or_stays_one(
    store: LocalObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at, kind in enumerate(("hat", "hat", "shoe", "shoe")):
        (tmp_path / "photos" / kind).mkdir(parents=True, exist_ok=True)
        picture = np.full((40, 40, 3), 60 * at, np.uint8)
        Image.fromarray(picture).save(tmp_path / "photos" / kind / f"{at}.png")
    data = f"folder:{tmp_path / 'photos'}"
    # What measuring would find is on the cards.
    by_card = Yardstick("these", lambda bundle: bundle.card.metrics, 400)
    monkeypatch.setattr(measuring, "yardstick", lambda _: by_card)
    good, worse = (
        store_bundle(
            store,
            "embedder",
            {"a": torch.ones(1)},
            Preprocessing(),
            dim=3,
            metrics={"recall_at_1": figure},
        )
        for figure in (0.9, 0.2)
    )
    here = ["--home", str(tmp_path), "--why", "to see", "--data", data]
    first = run(app, ["model", "register", good.version, *here])
    assert first.output.splitlines()[1:] == [  # after the progress
        "recall_at_1 is 0.9000, a first model needs 0.1000",
        f"embedder {good.version} is live",
    ]
    refused = run(app, ["model", "register", worse.version, *here])
    assert refused.exit_code == 1
    assert f"imgsearch: embedder {worse.version} is refused: recall_at_1 is 0.2" in refused.stderr
    assert refused.stderr.endswith(f"; {good.version} stays live\n")
    assert live_version(store, "embedder") == good.version

    waived = run(app, ["model", "register", worse.version, *here, "--waive"])
    assert (waived.exit_code, waived.output.splitlines()[-1]) == (0, f"embedder {worse.version} is live")
    back = run(app, ["model", "rollback", *here[:4]])
    assert (back.exit_code, back.output) == (0, f"embedder {good.version} is live\n")
    again = run(app, ["model", "rollback", *here[:4]])
    said = f"imgsearch: no embedder is remembered that was live before {good.version}\n"
    assert (again.exit_code, again.stderr) == (1, said)


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
def test_what_cannot_be_done_is_one_sentence(
    store: LocalObjectStore, tmp_path: Path, asked: list[str], said: str
) -> None:
    assert store.root == tmp_path / "objects"
    done = run(app, ["model", *asked, "--home", str(tmp_path)])
    assert (done.exit_code, done.stderr) == (1, f"imgsearch: {said}\n")


def test_a_folder_with_a_bundle_is_brought_in_and_not_believed_on_what_it_learned_from(
    store: LocalObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos" / "hat").mkdir(parents=True)
    Image.new("RGB", (40, 40), "red").save(tmp_path / "photos" / "hat" / "1.png")
    data = f"folder:{tmp_path / 'photos'}"
    elsewhere = LocalObjectStore(tmp_path / "training" / "objects")
    made = store_bundle(
        elsewhere,
        "embedder",
        {"a": torch.ones(1)},
        Preprocessing(),
        dim=3,
        metrics={"recall_at_1": 0.9},
        training={"dataset": load(data).version},
    )
    folder = elsewhere.root / "models" / "embedder" / made.version
    monkeypatch.setattr(
        measuring, "yardstick", lambda _: Yardstick("these", lambda bundle: bundle.card.metrics, 400)
    )
    store.root.mkdir(exist_ok=True)
    asked = ["model", "register", str(folder), "--home", str(tmp_path), "--why", "to see", "--data", data]
    boasted = run(app, asked)
    assert boasted.exit_code == 1
    assert f"embedder {made.version} learned from {data}: its figures there would promise" in boasted.stderr
    done = run(app, [*asked, "--held-out", "1"])
    assert done.exit_code == 0, done.output
    assert live_version(store, "embedder") == made.version


def test_a_handful_of_pictures_decides_nothing(store: LocalObjectStore, tmp_path: Path) -> None:
    made = store_bundle(store, "embedder", {"a": torch.ones(1)}, Preprocessing(), dim=3)
    (tmp_path / "photos" / "hat").mkdir(parents=True)
    Image.new("RGB", (40, 40), "red").save(tmp_path / "photos" / "hat" / "1.png")
    data = f"folder:{tmp_path / 'photos'}"
    asked = ["model", "register", made.version, "--home", str(tmp_path), "--why", "to see", "--data", data]
    refused = run(app, asked)
    assert refused.exit_code == 1
    assert "imgsearch: 2 pictures are too few to tell a better embedder from a worse one" in refused.stderr
