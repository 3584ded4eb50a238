"""The command itself, on pictures that take no time."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imgsearch_assets.cli import app
from imgsearch_assets.local.installation import only_one
from serving.models.bundle import list_versions, load_bundle
from serving.models.detector import NAME
from serving.models.live import read_live
from serving.object_store import LocalObjectStore
from tests.imgsearch_assets.training.squares import coco_squares


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    return coco_squares(tmp_path)


def test_a_detector_from_a_coco_file(tmp_path: Path, boxes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, home = tmp_path / "out", tmp_path / "home"
    command = ["train", "detector", "--data", f"coco:{boxes}", "--out", str(out), "--epochs", "1"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[-1])
    assert "left out: 1 no_area" in done.stderr
    assert said.keys() >= {"ap50", "map50", "ap", "seconds", "version"}
    store = LocalObjectStore(out / "objects")
    assert list_versions(store, NAME) == [said["version"]]
    assert load_bundle(store, NAME, said["version"]).card.categories == ("red", "green")
    assert {"curves.png", "curves.jsonl", "detector_head.json"} <= {path.name for path in out.iterdir()}

    assert f"detector {said['version']} is kept in {out / 'objects'}" in done.stderr
    assert "to make it live: this command with --register --home INSTALLATION, or" in done.stderr

    nowhere = CliRunner().invoke(app, [*command, "--register", "--home", str(home)])
    assert nowhere.exit_code == 1
    assert f"{home / 'objects'} is not there; expected is the folder of an installation" in nowhere.stderr
    assert not home.exists()

    # The gate of an installation does not decide by three pictures; and after one epoch it finds nothing.
    (home / "objects").mkdir(parents=True)
    few = CliRunner().invoke(app, [*command, "--register", "--home", str(home)])
    assert few.exit_code == 1
    assert "pictures are too few to tell a better detector from a worse one" in few.stderr
    monkeypatch.setattr("imgsearch_assets.models.registration.MIN_SAMPLES", 1)
    refused = CliRunner().invoke(app, [*command, "--register", "--home", str(home)])
    assert refused.exit_code == 1
    assert f"imgsearch: detector {said['version']} is refused: ap50 is 0." in refused.stderr
    assert list_versions(LocalObjectStore(home / "objects"), NAME) == [said["version"]]

    other = CliRunner().invoke(app, [*command[:-1], "2"])
    assert other.exit_code == 1
    assert "was begun with epochs = 1, not 2; choose another folder with --out" in other.stderr


@pytest.mark.slow
def test_an_embedder_that_is_offered_afterwards_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, home = tmp_path / "out", tmp_path / "home"
    command = ["train", "embedder", "--data", "drawn:9:5", "--epochs", "2", "--out", str(out)]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.output
    trained = json.loads(first.stdout.splitlines()[-1])

    (home / "objects").mkdir(parents=True)
    monkeypatch.setattr("imgsearch_assets.models.registration.MIN_SAMPLES", 1)
    monkeypatch.setattr("imgsearch_assets.models.registration.FLOORS", {"embedder": {"recall_at_1": 0.01}})
    again = CliRunner().invoke(app, [*command, "--register", "--home", str(home)])
    assert again.exit_code == 0, again.output
    said = json.loads(again.stdout.splitlines()[-1])
    assert (said["version"], said["registered"]) == (trained["version"], True)
    assert "describing pictures: 0 done" in again.stderr
    assert f"embedder {said['version']} is live in {home}" in again.stderr
    measured = read_live(LocalObjectStore(home / "objects"), "embedder").promotion.measured
    assert measured.figures["street_to_shop_recall_at_1"] == pytest.approx(
        said["street_to_shop_recall_at_1"], abs=1e-3
    )


def test_two_do_not_train_in_one_folder(tmp_path: Path, boxes: Path) -> None:
    command = ["train", "detector", "--data", f"coco:{boxes}", "--out", str(tmp_path / "out")]
    with only_one(tmp_path / "out", "--out"):
        refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 1
    assert f"already works in {tmp_path / 'out'}; stop it or choose another with --out" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--data", "folder:x"],
            "a detector learns from boxes: data is drawn or coco:FILE, not 'folder:x'",
        ),
        (["--data", "coco:none.json"], "none.json cannot be read (No such file or directory)"),
        (["--register"], "--register needs --home, the folder of the installation whose model it becomes"),
    ],
)
def test_what_is_asked_wrongly_is_one_sentence(arguments: list[str], said: str) -> None:
    refused = CliRunner().invoke(app, ["train", "detector", *arguments])
    assert refused.exit_code == 1
    assert said in refused.stderr
