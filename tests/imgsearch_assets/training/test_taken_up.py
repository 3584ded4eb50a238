"""From a training that a researcher starts to the index that is served, in a small shop."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from imgsearch_assets.assets import models
from imgsearch_assets.automation import model_sensor
from imgsearch_assets.definitions import build_definitions
from imgsearch_assets.environment import read_environment
from imgsearch_assets.refresh import run_refresh
from imgsearch_assets.release.publish import status
from imgsearch_assets.tables import read_parquet
from serving.index.store import read_manifest
from tests.imgsearch_assets.small_shop import Shop, small_shop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with small_shop(tmp_path, 8) as started:
        yield started


class Platform:
    """What the daemon does, step by step."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.defs = build_definitions(read_environment())
        self._cursor: str | None = None

    def asked_by_the_sensor(self) -> list[dg.AssetKey]:
        context = dg.build_sensor_context(
            self.shop.instance, cursor=self._cursor, resources={"store": self.shop.store}
        )
        result = model_sensor(models.MODELS, 5)(context)
        assert isinstance(result, dg.SensorResult)
        self._cursor = result.cursor
        return [key for one in result.run_requests or () for key in one.asset_selection or ()]

    def evaluate(self, cursor: Any = None) -> dg.EvaluateAutomationConditionsResult:
        return dg.evaluate_automation_conditions(
            self.defs, self.shop.instance, dg.AssetSelection.all(), cursor=cursor
        )

    def run(self, assets: Sequence[dg.AssetKey]) -> dg.ExecuteInProcessResult:
        job = self.defs.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(instance=self.shop.instance, asset_selection=assets)

    def train(self) -> dg.ExecuteInProcessResult:
        config = {
            "training_dataset": {"config": {"data": f"catalogue:{self.shop.home}"}},
            "trained_embedder": {
                "config": {"epochs": 1, "waive": True, "who": "ada", "why": "to see it taken up"}
            },
        }
        job = self.defs.resolve_job_def("train_embedder")
        return job.execute_in_process({"ops": config}, instance=self.shop.instance)


def test_a_trained_embedder_fills_its_features_beside_the_live_ones_and_is_served(shop: Shop) -> None:
    first = run_refresh()
    platform = Platform(shop)
    before = str(shop.metadata("item_embedder")["version"])
    quiet = platform.evaluate()
    assert platform.asked_by_the_sensor() == []

    assert platform.train().success
    trained = shop.metadata("trained_embedder")
    version = str(trained["version"])
    assert version != before
    assert (trained["live"], trained["detector"]) == (True, shop.metadata("item_detector")["version"])
    # Nothing is started by a training itself; the sensor sees that another model is live.
    assert quiet.total_requested == platform.evaluate(quiet.cursor).total_requested == 0
    asked = platform.asked_by_the_sensor()
    assert asked == [dg.AssetKey("item_embedder")]
    assert platform.run(asked).success

    due = platform.evaluate(quiet.cursor)
    follows = [item.key for item in due.results if due.get_num_requested(item.key)]
    names = {key.to_user_string() for key in follows}
    assert {"item_embeddings", "ann_index", "feature_store", "staging_release"} <= names
    assert not names & {"item_detections", "training_dataset", "trained_embedder"}
    done = platform.run(follows)
    assert done.success
    assert all(check.passed for check in done.get_asset_check_evaluations())

    released = status(shop.store, "local")
    assert released is not None
    assert released.generation != first.generation
    assert read_manifest(shop.store, released.generation).embedder == version
    embedded = shop.metadata("item_embeddings")
    assert embedded["lacking"] == embedded["wanted"] == embedded["embedded"]
    assert embedded["budget"] == f"{embedded['wanted']} boxes are lacking"
    told = [entry.user_message for entry in shop.instance.all_logs(done.run_id)]
    assert embedded["budget"] in told
    tables = {
        sum(read_parquet(shop.store, key).num_rows for key in shop.store.list(f"tables/embeddings/{one}"))
        for one in (before, version)
    }
    assert tables == {embedded["wanted"]}
