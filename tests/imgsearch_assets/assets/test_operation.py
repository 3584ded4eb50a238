"""What runs cost, read from the records of a real instance."""

import json
import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from imgsearch_assets.assets.operation import cost_sensor, run_cost
from imgsearch_assets.graph.costs import Prices

PRICES = Prices(currency="JPY", cpu=3_600, gpu=36_000, io=0)
SLEEP_S = 0.05


@dg.asset
def catalogue_diff() -> dg.MaterializeResult[None]:
    time.sleep(SLEEP_S)
    return dg.MaterializeResult(metadata={"new": 3, "repictured": 1, "touched": 9})


@dg.asset(deps=[catalogue_diff])
def item_embeddings() -> None:
    time.sleep(SLEEP_S)


@dg.asset(deps=[catalogue_diff])
def staging_release() -> None:
    raise dg.Failure("no")


class Watch:
    """The sensor, tick after tick."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.cursor: str | None = None

    def run(self, *assets: dg.AssetsDefinition) -> str:
        return dg.materialize(assets, instance=self.instance, raise_on_error=False).run_id

    def tick(self) -> list[dict[str, Any]]:
        context = dg.build_sensor_context(self.instance, cursor=self.cursor)
        result = cost_sensor(PRICES)(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        told = []
        for event in result.asset_events:
            assert isinstance(event, dg.AssetMaterialization)
            assert event.asset_key == run_cost.key
            told.append({name: value.value for name, value in event.metadata.items()})
        assert (result.skip_reason is None) == bool(told)
        return told


@pytest.fixture
def watch() -> Iterator[Watch]:
    with dg.instance_for_test() as instance:
        yield Watch(instance)


def test_every_run_that_ended_is_told_once_whatever_became_of_it(watch: Watch) -> None:
    assert watch.tick() == []
    good = watch.run(catalogue_diff, item_embeddings)
    (told,) = watch.tick()
    assert watch.tick() == []
    assert (told["run"], told["status"], told["currency"]) == (good, "SUCCESS", "JPY")
    assert told["cost"] == pytest.approx(told["cpu_seconds"] + 10 * told["gpu_seconds"], abs=0.2)
    assert min(told["cpu_seconds"], told["gpu_seconds"]) >= SLEEP_S
    assert told["wall_seconds"] >= told["cpu_seconds"] + told["gpu_seconds"] - 0.02
    assert told["new_items"] == 4
    assert told["cost_of_1000_new_items"] == pytest.approx(told["cost"] * 250)
    assert told["steps"].splitlines()[2].startswith("| item_embeddings | gpu |"), "the costliest first"

    bad, single = watch.run(catalogue_diff, staging_release), watch.run(item_embeddings)
    failed, alone = watch.tick()
    assert (failed["run"], failed["status"]) == (bad, "FAILURE")
    assert (alone["run"], alone["new_items"]) == (single, 0)
    assert "cost_of_1000_new_items" not in alone
    assert watch.tick() == []


def test_many_runs_are_told_over_several_looks(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgsearch_assets.assets.operation._AT_ONCE", 2)
    runs = [watch.run(item_embeddings) for _ in range(5)]
    told = [one["run"] for _ in range(3) for one in watch.tick()]
    assert told == runs
    assert watch.tick() == []


def test_the_cursor_forgets_what_can_no_longer_be_seen(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgsearch_assets.assets.operation._OVERLAP_S", 0.0)
    watch.run(item_embeddings)
    assert len(watch.tick()) == 1
    second = watch.run(item_embeddings)
    assert [one["run"] for one in watch.tick()] == [second]
    assert json.loads(str(watch.cursor))["told"] == []
    assert watch.tick() == []
