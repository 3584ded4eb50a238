"""The training jobs as a researcher starts them, on pictures that take no time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from imgsearch_assets.assets.training import DetectorConfig, EmbedderConfig
from imgsearch_assets.definitions import build_definitions
from imgsearch_assets.environment import read_environment
from imgsearch_assets.models import registration
from imgsearch_assets.models.shipped import register_detector
from imgsearch_assets.training import boxed, material
from imgsearch_assets.training.settings import DetectorSettings, EmbedderSettings
from serving.models.bundle import list_versions
from serving.models.live import live_version, read_live
from serving.object_store import LocalObjectStore
from tests.imgsearch_assets.training.squares import coco_squares

ROOT = Path(__file__).parents[3]


class Platform:
    """An installation with a detector that is live, and what its records say."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.store = LocalObjectStore(self.home / "objects")
        self.live = register_detector(self.store).version
        self.squares = coco_squares(root / "squares")
        self.instance = dg.DagsterInstance.ephemeral()

    def train(self, **settings: object) -> dg.ExecuteInProcessResult:
        """The job ``train_detector`` on squares."""
        job = build_definitions(read_environment()).resolve_job_def("train_detector")
        config = {
            "ops": {
                "training_dataset": {"config": {"model": "detector", "data": f"coco:{self.squares}"}},
                "trained_detector": {"config": {"epochs": 1, **settings}},
            }
        }
        return job.execute_in_process(config, instance=self.instance, raise_on_error=False)


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> Mapping[str, Any]:
    (found,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in found.metadata.items()}


def check(result: dg.ExecuteInProcessResult, name: str) -> dg.AssetCheckEvaluation:
    return next(one for one in result.get_asset_check_evaluations() if one.check_name == name)


def failure(result: dg.ExecuteInProcessResult, asset: str) -> str:
    data = result.failure_data_for_node(asset)
    assert data is not None
    assert data.user_failure_data is not None
    return str(data.user_failure_data.description)


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    monkeypatch.setenv("IMGSEARCH_HOME", str(tmp_path / "home"))
    for name in ("IMGSEARCH_CATALOGUE", "IMGSEARCH_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    return Platform(tmp_path)


@pytest.fixture
def few_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "MIN_SAMPLES", 1)


@pytest.mark.usefixtures("few_will_do")
def test_a_model_goes_live_unless_it_is_worse_or_waived_by_name(platform: Platform) -> None:
    good = platform.train(epochs=6)
    first = metadata(good, "trained_detector")
    assert (first["what"], first["live"]) == (f"detector {first['version']} is live", True)
    assert check(good, "not_worse_than_live").passed
    assert read_live(platform.store, "detector").previous == platform.live

    refused = platform.train()
    assert refused.success
    seen = metadata(refused, "training_dataset")
    assert seen["learned"] + seen["held_out"] == 24
    assert "| held_out | red |" in seen["by_category"]
    assert "| no_area | 1 |" in seen["left_out"]
    assert all(
        "](data:image/jpeg;base64,/9j/" in seen[f"{part}_pictures"] for part in ("learned", "held_out")
    )
    assert check(refused, "nothing_held_out_is_learned").passed

    said = metadata(refused, "trained_detector")
    version = said["version"]
    assert said["what"].startswith(f"detector {version} is refused: ap50 is 0.")
    assert said["what"].endswith(f"; {first['version']} stays live")
    assert said["beside_live"].startswith("| figure | candidate | live | wanted |")
    assert (said["live"], said["resumed_from"], said["data"]) == (False, "the beginning", seen["version"])
    assert "](data:image/png;base64," in said["curves"]
    assert "](data:image/jpeg;base64,/9j/" in said["worst"]
    assert {"ap50", "map50", "training_seconds", "card", "folder"} <= said.keys()
    verdict = check(refused, "not_worse_than_live")
    assert (verdict.passed, verdict.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert {"ap50", "ap50_live", "map50", "map50_live"} == verdict.metadata.keys()
    assert live_version(platform.store, "detector") == first["version"]
    assert version in list_versions(platform.store, "detector")

    nameless = platform.train(waive=True, why="squares are all we sell")
    assert failure(nameless, "trained_detector") == (
        "a worse model goes live only with a name and a reason: say who and why"
    )
    waived = platform.train(waive=True, who="ada", why="squares are all we sell")
    again = metadata(waived, "trained_detector")
    assert (again["version"], again["resumed_from"], again["live"]) == (version, "epoch 1", True)
    assert "is live, though worse (ap50 is 0." in again["what"]
    assert again["what"].endswith("), as ada says: squares are all we sell")
    assert not check(waived, "not_worse_than_live").passed
    promotion = read_live(platform.store, "detector").promotion
    assert (promotion.version, promotion.who, promotion.measured.waived) == (version, "ada", True)

    assert metadata(platform.train(), "trained_detector")["what"] == f"detector {version} was live already"


def test_too_few_pictures_decide_nothing_and_what_is_not_offered_stays(platform: Platform) -> None:
    few = platform.train()
    held_out = metadata(few, "training_dataset")["held_out"]
    assert metadata(few, "trained_detector")["what"] == (
        f"{held_out} pictures are too few to tell a better detector from "
        "a worse one by; give 50 or more to measure with"
    )
    assert not check(few, "not_worse_than_live").passed
    kept = platform.train(offer=False)
    said = metadata(kept, "trained_detector")
    assert said["what"] == f"detector {said['version']} is kept, and was not offered"
    assert live_version(platform.store, "detector") == platform.live


def test_a_leak_stops_the_training(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaking(*arguments: Any) -> boxed.Boxed:
        found = boxed.boxed(*arguments)
        assert not isinstance(found.learned, material.Drawn)
        assert not isinstance(found.unseen, material.Drawn)
        both = (*found.learned.pictures, found.unseen.pictures[0])
        return replace(found, learned=replace(found.learned, pictures=both))

    monkeypatch.setattr(material, "boxed", leaking)
    stopped = platform.train()
    assert not stopped.success
    leak = check(stopped, "nothing_held_out_is_learned")
    assert not leak.passed
    assert str(leak.description).endswith(": the same file")
    assert [event.step_key for event in stopped.all_events if event.is_step_start] == ["training_dataset"]


def test_an_embedder_does_not_learn_what_a_detector_does(platform: Platform) -> None:
    defs = build_definitions(read_environment())
    of_squares = {"config": {"model": "detector", "data": f"coco:{platform.squares}"}}
    defs.resolve_job_def("train_detector").execute_in_process(
        {"ops": {"training_dataset": of_squares}},
        instance=platform.instance,
        asset_selection=[dg.AssetKey("training_dataset")],
    )
    job = defs.resolve_job_def("train_embedder")
    alone = job.execute_in_process(
        {"ops": {"trained_embedder": {"config": {}}}},
        instance=platform.instance,
        asset_selection=[dg.AssetKey("trained_embedder")],
        raise_on_error=False,
    )
    assert failure(alone, "trained_embedder") == (
        "training_dataset is for a detector; start the job train_embedder"
    )


TRAINING = """
import sys
from pathlib import Path
from tests.imgsearch_assets.assets.test_training import Platform
Platform(Path(sys.argv[1])).train(epochs=12)
"""


def test_a_killed_training_goes_on_when_it_is_started_again(platform: Platform, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TRAINING, tmp_path], env=os.environ | {"PYTHONPATH": str(ROOT)}
    ) as run:
        while run.poll() is None and not list(platform.home.glob("training/*/000000000[2-9].*.safetensors")):
            time.sleep(0.005)
        run.send_signal(signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
    said = metadata(platform.train(epochs=12), "trained_detector")
    assert said["resumed_from"].startswith("epoch ")
    assert 2 <= int(said["resumed_from"].removeprefix("epoch ")) < 12
    assert said["epochs"] == 12


def test_the_launchpad_is_filled_with_the_defaults_of_the_command_line() -> None:
    for config, settings in ((DetectorConfig, DetectorSettings), (EmbedderConfig, EmbedderSettings)):
        assert issubclass(config, settings)
        assert config().model_dump(include=set(settings.model_fields)) == settings().model_dump()
    jobs = {job.name: job for job in build_definitions(read_environment()).resolve_all_job_defs()}
    filled = jobs["train_embedder"].run_config
    assert filled is not None
    assert filled["ops"]["training_dataset"]["config"] == {
        "model": "embedder",
        "data": "drawn",
        "drawn": 600,
        "seed": 0,
    }
    assert filled["ops"]["trained_embedder"]["config"]["detector"] == "shipped"
