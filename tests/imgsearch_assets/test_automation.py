"""When runs start, tick after tick; with a daemon: `tests/e2e/test_automation.py`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from imgsearch_assets import definitions
from imgsearch_assets.assets import catalogue, models
from imgsearch_assets.automation import (
    DATA_VERSION_TAG,
    PRODUCTS,
    RUN_TAGS,
    catalogue_sensor,
    model_sensor,
    recorded_version,
    sighting,
)
from imgsearch_assets.catalogue.contract import PRODUCTS as CONTRACT
from imgsearch_assets.catalogue.source import catalogue_version
from imgsearch_assets.definitions import CHANGE, build_definitions
from imgsearch_assets.environment import Environment, read_environment
from imgsearch_assets.resources import resources_of
from serving.errors import BadInput
from serving.models.bundle import promote, store_bundle
from serving.models.preprocess import Preprocessing
from serving.object_store import LocalObjectStore, ObjectStore

CHAIN = {
    "product_snapshot",
    "catalogue_diff",
    "product_images",
    "item_detections",
    "item_embeddings",
    "ann_index",
    "feature_store",
    "staging_release",
    "release_replay",
    "product_sightings",
    "product_ledger",
}
MODELS = {"item_detector", "item_embedder"}


def write(path: Path, price: int) -> None:
    row = {
        **dict.fromkeys(CONTRACT.names, ""),
        "product_id": "a",
        "price": price,
        "in_stock": True,
        "image_urls": ["http://shop.example/1.jpg"],
        "updated_at": None,
    }
    pq.write_table(pa.Table.from_pylist([row], schema=CONTRACT), path)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.setenv("IMGSEARCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IMGSEARCH_CATALOGUE", str(tmp_path / "c.parquet"))
    write(tmp_path / "c.parquet", 1)
    return read_environment()


class Watch:
    """The sensor, tick after tick, and the runs that it asks for, as far as the snapshot."""

    def __init__(self, environment: Environment, *there: str) -> None:
        self.instance = dg.DagsterInstance.ephemeral()
        self._environment = environment
        self._change = build_definitions(environment).resolve_job_def(CHANGE)
        self._chain = list(self._change.asset_layer.executable_asset_keys)
        self._models = [dg.AssetKey(name) for name in MODELS]
        self._cursor: str | None = None
        for name in there:
            self.instance.report_runless_asset_event(dg.AssetMaterialization(name))

    def tick(self) -> str:
        """What it said: why nothing, or a run."""
        context = dg.build_sensor_context(
            self.instance, cursor=self._cursor, resources={"environment": self._environment}
        )
        result = catalogue_sensor(self._change, self._chain, self._models, 5)(context)
        if isinstance(result, dg.SkipReason):
            return str(result.skip_message)
        assert isinstance(result, dg.SensorResult)
        self._cursor = result.cursor
        for event in result.asset_events:
            assert isinstance(event, dg.AssetMaterialization)
            self.instance.report_runless_asset_event(event)
        if result.run_requests:
            assert [request.tags for request in result.run_requests] == [RUN_TAGS]
            assert [request.asset_selection for request in result.run_requests] == [self._chain]
            return "a run"
        assert result.skip_reason is not None
        return str(result.skip_reason.skip_message)

    def run(self, store: ObjectStore | None = None) -> bool:
        """Whether it went well."""
        result = dg.materialize(
            [catalogue.products, catalogue.product_snapshot],
            instance=self.instance,
            resources=resources_of(self._environment) | ({"store": store} if store else {}),
            raise_on_error=False,
        )
        return result.success


class Meanwhile(LocalObjectStore):
    """A store that does something before it first keeps anything: the catalogue was read by then."""

    def __init__(self, root: Path, first: Callable[[], object]) -> None:
        super().__init__(root)
        self._first = [first]

    def put(self, key: str, data: bytes, *, sync: bool = True) -> None:
        while self._first:
            self._first.pop()()
        super().put(key, data, sync=sync)


UNWRITTEN = "the catalogue was not written since the last look"
AGAIN = "the run for it read nothing, the next change or the daily run makes up for it"
IN_WORK = "a run is in work, the next one comes after it"


def test_a_change_is_told_once_and_starts_one_run(environment: Environment) -> None:
    watch = Watch(environment, *MODELS)
    path = Path(environment.catalogue)
    assert watch.tick() == "a run"
    assert recorded_version(watch.instance) == catalogue_version(str(path))
    assert watch.run()
    assert watch.tick() == UNWRITTEN

    os.utime(path, ns=(1, 1))
    assert watch.tick() == "the catalogue was written, its content is the same"
    assert watch.tick() == UNWRITTEN

    write(path, 2)
    assert watch.tick() == "a run"
    assert recorded_version(watch.instance) == catalogue_version(str(path))


def test_before_the_models_are_there_nothing_starts(environment: Environment) -> None:
    watch = Watch(environment, "item_detector")
    assert watch.tick() == "the catalogue changed; no run before the models are registered"
    watch.instance.report_runless_asset_event(dg.AssetMaterialization("item_embedder"))
    assert watch.tick() == "a run"


def test_a_change_while_the_catalogue_is_read_is_not_lost(environment: Environment) -> None:
    watch = Watch(environment, *MODELS)
    assert watch.tick() == "a run"
    said = []

    def changed() -> None:
        write(Path(environment.catalogue), 2)
        said.extend([watch.tick(), watch.tick()])

    assert watch.run(Meanwhile(environment.serving.home / "objects", changed))
    assert said == [f"the catalogue changed; {IN_WORK}", f"{UNWRITTEN}; {IN_WORK}"]
    assert watch.tick() == "a run"
    assert watch.run()
    assert watch.tick() == UNWRITTEN


def test_changes_while_a_run_waits_are_read_by_it(environment: Environment) -> None:
    watch = Watch(environment, *MODELS)
    assert watch.tick() == "a run"
    job = build_definitions(environment).resolve_job_def(CHANGE)
    waits = watch.instance.create_run_for_job(job)
    for price in (2, 3):
        write(Path(environment.catalogue), price)
        assert watch.tick() == f"the catalogue changed; {IN_WORK}"
    assert watch.run()  # in its place
    watch.instance.report_run_canceled(waits)
    assert watch.tick() == UNWRITTEN


def test_twenty_changes_in_a_minute_are_few_runs(environment: Environment) -> None:
    """A look every five seconds, runs of twelve."""
    watch = Watch(environment, *MODELS)
    job = build_definitions(environment).resolve_job_def(CHANGE)
    changes, runs, in_work, ends = list(range(3, 60, 3)), 0, None, 0
    for second in range(0, 90, 5):
        while changes and changes[0] <= second:
            write(Path(environment.catalogue), 1000 + changes.pop(0))
        if in_work is not None and second >= ends:
            watch.instance.report_run_canceled(in_work)  # and one that read the catalogue in its place
            in_work = None
        if watch.tick() == "a run":
            runs += 1
            assert watch.run()
            in_work, ends = watch.instance.create_run_for_job(job), second + 12
    assert runs <= 6
    assert watch.tick() == UNWRITTEN


def test_a_run_that_cannot_read_the_catalogue_is_not_started_again_and_again(
    environment: Environment,
) -> None:
    watch = Watch(environment, *MODELS)
    path = Path(environment.catalogue)
    assert watch.tick() == "a run"
    assert watch.run()
    for _ in range(2):
        write(path, -1)  # no price: a catalogue without one row that can be used
        assert watch.tick() == "a run"
        assert not watch.run()
        assert watch.tick() == f"{UNWRITTEN}; {AGAIN}"
        write(path, 1)  # back to what was read: nothing to do
        assert watch.tick() == "the catalogue changed"
    write(path, 2)
    assert watch.tick() == "a run"
    assert watch.run()


def test_a_run_that_died_and_was_not_started_again_is(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(environment, *MODELS)
    assert watch.tick() == "a run"
    assert watch.run()
    died = watch.instance.create_run_for_job(build_definitions(environment).resolve_job_def(CHANGE))
    watch.instance.report_run_failed(died)
    assert watch.tick() == UNWRITTEN, "it failed, and would again"
    watch.instance.add_run_tags(died.run_id, {"dagster/will_retry": "true"})
    assert watch.tick() == UNWRITTEN, "the daemon may yet do it"
    monkeypatch.setattr("imgsearch_assets.automation._RETRIED_S", 0)
    assert watch.tick() == "a run"
    assert watch.run()
    assert watch.tick() == UNWRITTEN


def test_what_a_refresh_read_is_not_told_again(environment: Environment) -> None:
    watch = Watch(environment, *MODELS)
    watch.instance.report_runless_asset_event(sighting(catalogue_version(environment.catalogue)))
    assert watch.run()
    assert watch.tick() == "the catalogue was written, its content is the same"


def test_a_broken_catalogue_fails_the_tick_and_is_looked_at_again(environment: Environment) -> None:
    watch = Watch(environment, *MODELS)
    watch.tick()
    Path(environment.catalogue).write_bytes(b"half a file")
    for _ in range(2):
        with pytest.raises(BadInput, match="cannot be read as Parquet"):
            watch.tick()
    write(Path(environment.catalogue), 3)
    assert watch.tick() == "a run"


def made(
    instance: dg.DagsterInstance,
    definitions: dg.Definitions,
    asset: str,
    passed: bool = True,
    version: str = "another",
) -> None:
    """An asset was materialized alone, and its gates passed or not."""
    instance.report_runless_asset_event(dg.AssetMaterialization(asset, tags={DATA_VERSION_TAG: version}))
    for key in definitions.resolve_asset_graph().get_check_keys_for_assets({dg.AssetKey(asset)}):
        evaluation = dg.AssetCheckEvaluation(key.asset_key, key.name, passed=passed, metadata={})
        instance.report_runless_asset_event(evaluation)


def requested(result: dg.EvaluateAutomationConditionsResult) -> set[str]:
    return {item.key.to_user_string() for item in result.results if result.get_num_requested(item.key)}


def test_a_change_runs_the_whole_chain_and_no_condition_runs_it_again(environment: Environment) -> None:
    instance = dg.DagsterInstance.ephemeral()
    defs = build_definitions(environment)

    def evaluate(cursor: Any = None) -> dg.EvaluateAutomationConditionsResult:
        return dg.evaluate_automation_conditions(
            defs=defs, instance=instance, cursor=cursor, asset_selection=dg.AssetSelection.all()
        )

    # A machine on which nothing ever ran: the models are registered, the rest waits for a catalogue.
    first = evaluate()
    assert requested(first) == MODELS
    for name in MODELS:
        instance.report_runless_asset_event(dg.AssetMaterialization(name))
    second = evaluate(first.cursor)
    assert requested(second) == set()

    instance.report_runless_asset_event(sighting("v1"))
    assert requested(evaluate(second.cursor)) == set(), "a sensor starts that"
    chain = defs.resolve_job_def(CHANGE).asset_layer.executable_asset_keys
    assert {key.to_user_string() for key in chain} == CHAIN


def test_what_is_made_anew_and_is_the_same_starts_nothing(environment: Environment) -> None:
    """As a gate leaves a refresh that was launched by the command line: its run names no assets."""
    instance, defs = dg.DagsterInstance.ephemeral(), build_definitions(environment)
    everything = dg.AssetSelection.all()
    for name in CHAIN | MODELS:
        made(instance, defs, name, version="one")
    before = dg.evaluate_automation_conditions(defs, instance, everything)
    for name in (*MODELS, "product_snapshot"):
        made(instance, defs, name, version="one")
    made(instance, defs, "catalogue_diff", passed=False, version="two")
    after = dg.evaluate_automation_conditions(defs, instance, everything, cursor=before.cursor)
    assert requested(after) == set()

    made(instance, defs, "item_embedder", version="two")
    last = dg.evaluate_automation_conditions(defs, instance, everything, cursor=after.cursor)
    assert "item_embeddings" in requested(last)


def test_production_follows_by_itself_only_where_the_policy_says_so(environment: Environment) -> None:
    told = {
        "production_release": "automatic",
        "production_search_address": "127.0.0.1:1",
        "production_api_url": "http://127.0.0.1:1",
    }
    pipeline = environment.pipeline.model_copy(update=told)
    everything = dg.AssetSelection.all()
    for policy, follows in (
        (environment, set()),
        (Environment(pipeline, environment.serving), {"production_release"}),
    ):
        instance, defs = dg.DagsterInstance.ephemeral(), build_definitions(policy)
        for name in CHAIN | MODELS:
            instance.report_runless_asset_event(dg.AssetMaterialization(name))
        before = dg.evaluate_automation_conditions(defs, instance, everything)
        made(instance, defs, "ann_index")
        after = dg.evaluate_automation_conditions(defs, instance, everything, cursor=before.cursor)
        released = {"feature_store", "staging_release", "release_replay", "product_ledger"}
        assert requested(after) == released | follows


def test_the_external_table_is_known_by_its_key() -> None:
    assert catalogue.products.key == PRODUCTS


def test_another_model_in_the_code_is_registered_and_used(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = dg.DagsterInstance.ephemeral()
    everything = dg.AssetSelection.all()
    for name in CHAIN | MODELS:
        instance.report_runless_asset_event(dg.AssetMaterialization(name))
    before = dg.evaluate_automation_conditions(build_definitions(environment), instance, everything)
    assert requested(before) == set()

    newer = models.item_embedder.map_asset_specs(lambda spec: spec.replace_attributes(code_version="newer"))
    monkeypatch.setattr(
        definitions,
        "ASSETS",
        [newer if found is models.item_embedder else found for found in definitions.ASSETS],
    )
    upgraded = build_definitions(environment)
    after = dg.evaluate_automation_conditions(upgraded, instance, everything, cursor=before.cursor)
    assert requested(after) == {
        "item_embedder",
        "item_embeddings",
        "ann_index",
        "feature_store",
        "staging_release",
        "release_replay",
        "product_ledger",
    }


class ModelWatch:
    """The sensor of the models, tick after tick."""

    def __init__(self, store: LocalObjectStore) -> None:
        self.instance = dg.DagsterInstance.ephemeral()
        self.store = store
        self._cursor: str | None = None

    def promoted(self, value: float) -> str:
        bundle = store_bundle(
            self.store, "embedder", {"a": torch.full((1,), value)}, Preprocessing(), training={"v": value}
        )
        promote(self.store, bundle)
        return bundle.version

    def materialized(self, version: str) -> None:
        event = dg.AssetMaterialization("item_embedder", tags={DATA_VERSION_TAG: version})
        self.instance.report_runless_asset_event(event)

    def tick(self) -> set[str]:
        """The assets it asks for."""
        context = dg.build_sensor_context(self.instance, cursor=self._cursor, resources={"store": self.store})
        result = model_sensor(models.MODELS, 5)(context)
        assert isinstance(result, dg.SensorResult)
        self._cursor = result.cursor
        return {
            key.to_user_string() for one in result.run_requests or () for key in one.asset_selection or ()
        }


def test_a_model_that_went_live_is_taken_up_once(tmp_path: Path) -> None:
    watch = ModelWatch(LocalObjectStore(tmp_path))
    assert watch.tick() == set()
    first = watch.promoted(1)
    # What was never materialized is registered by the condition for that.
    assert watch.tick() == set()
    watch.materialized(first)
    assert watch.tick() == set()

    second = watch.promoted(2)
    assert watch.tick() == {"item_embedder"}
    assert watch.tick() == set()
    watch.materialized(second)
    assert watch.tick() == set()

    assert watch.promoted(1) == first
    assert watch.tick() == {"item_embedder"}
    watch.materialized(first)
    assert watch.promoted(2) == second
    assert watch.tick() == {"item_embedder"}


def test_a_model_taken_up_runs_what_stands_on_it(environment: Environment) -> None:
    """The run that the sensor asks for materializes the model; the rest follows by its own condition."""
    instance = dg.DagsterInstance.ephemeral()
    everything = dg.AssetSelection.all()
    for name in CHAIN | MODELS:
        instance.report_runless_asset_event(dg.AssetMaterialization(name))
    before = dg.evaluate_automation_conditions(build_definitions(environment), instance, everything)
    event = dg.AssetMaterialization("item_embedder", tags={DATA_VERSION_TAG: "another"})
    instance.report_runless_asset_event(event)
    after = dg.evaluate_automation_conditions(
        build_definitions(environment), instance, everything, cursor=before.cursor
    )
    assert requested(after) == {
        "item_embeddings",
        "ann_index",
        "feature_store",
        "staging_release",
        "release_replay",
        "product_ledger",
    }


def test_what_a_gate_refused_in_one_run_is_taken_up_by_no_other(environment: Environment) -> None:
    instance = dg.DagsterInstance.ephemeral()
    definitions, everything = build_definitions(environment), dg.AssetSelection.all()

    for name in CHAIN | MODELS:
        made(instance, definitions, name)
    result = dg.evaluate_automation_conditions(definitions, instance, everything)
    for asset, downstream in (
        ("catalogue_diff", CHAIN - {"product_snapshot", "product_sightings", "catalogue_diff"}),
        ("ann_index", {"feature_store", "staging_release", "release_replay", "product_ledger"}),
        ("feature_store", {"staging_release", "release_replay", "product_ledger"}),
    ):
        for passed in (False, True):
            made(instance, definitions, asset, passed, version="newer")  # at first refused, then waived
            result = dg.evaluate_automation_conditions(
                definitions, instance, everything, cursor=result.cursor
            )
            assert requested(result) == (downstream if passed else set()), (asset, passed)
        for name in downstream:
            made(instance, definitions, name)
        result = dg.evaluate_automation_conditions(definitions, instance, everything, cursor=result.cursor)
