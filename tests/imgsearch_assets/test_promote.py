"""The assets of a release in runs of their own: what they ask for, refuse and record."""

from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
import redis
from dagster._core.storage.tags import AUTOMATION_CONDITION_TAG

from imgsearch_assets.catalogue.contract import PRODUCTS
from imgsearch_assets.catalogue.snapshot import products_key
from imgsearch_assets.definitions import PROMOTE, build_definitions
from imgsearch_assets.environment import Environment, read_environment
from imgsearch_assets.references import Built
from imgsearch_assets.release.publish import publish, rollback, status
from imgsearch_assets.settings import PipelineSettings
from imgsearch_assets.tables import parquet_bytes
from serving.cache.features import url_key
from serving.errors import BadSettings
from serving.index.store import Release, read_manifest
from tests.conftest import Shop
from tests.redis_process import RedisProcess

APPROVED = {"who": "anna", "why": "looks good"}


@pytest.fixture
def environment(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.setenv("IMGSEARCH_HOME", str(tmp_path))
    return read_environment()


def staged(shop: Shop, turned: bool = True) -> str:
    """A generation that staging has live, as its asset left it."""
    if turned:
        shop.vectors = np.roll(shop.vectors, 7, axis=0)
    generation = shop.build().id
    publish(shop.store, "local", generation, "test", "test")
    built = Built(snapshot="snapshot-1", generation=generation)
    shop.store.put("references/staging_release/latest.json", built.model_dump_json().encode())
    return generation


def promoted(environment: Environment, **config: object) -> dg.ExecuteInProcessResult:
    job = build_definitions(environment).resolve_job_def(PROMOTE)
    ops = {"ops": {"production_release": {"config": config}}}
    return job.execute_in_process(run_config=ops, raise_on_error=False)


def replayed(environment: Environment) -> dg.ExecuteInProcessResult:
    selection = dg.AssetSelection.assets("release_replay")
    job = dg.define_asset_job("replay", selection)
    definitions = dg.Definitions.merge(build_definitions(environment), dg.Definitions(jobs=[job]))
    return definitions.resolve_job_def("replay").execute_in_process(raise_on_error=False)


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def failure(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert event.step_failure_data.user_failure_data is not None
    return str(event.step_failure_data.user_failure_data.description)


def test_production_gets_what_staging_has_and_says_so(shop: Shop, environment: Environment) -> None:
    generation = staged(shop)
    said = metadata(promoted(environment, **APPROVED))
    live = status(shop.store, "production")
    assert live is not None
    assert (live.generation, live.who, live.why) == (generation, "anna", "looks good")
    assert {
        name: said[name] for name in ("generation", "previous", "who", "why", "promoted_from", "waived")
    } == {
        "generation": generation,
        "previous": "none",
        "who": "anna",
        "why": "looks good",
        "promoted_from": "local",
        "waived": "nothing",
    }
    assert said["verified"] == "nobody was asked: IMGSEARCH_PRODUCTION_SEARCH_ADDRESS is not set"
    assert said["history"].startswith("| generation | since | by | why | state |")
    assert f"| {generation} | " in said["history"]
    assert "| anna | looks good | live |" in said["history"]

    assert list(shop.store.list("references")) == ["references/staging_release/latest.json"]

    again = metadata(promoted(environment, who="bert", why="once more"))
    assert (again["verified"], again["who"]) == ("it was live already", "anna")


def test_productions_own_redis_is_complete_before_its_pointer_moves(
    shop: Shop, environment: Environment, redis_process: RedisProcess
) -> None:
    told = {"production_redis_url": redis_process.url}
    environment = Environment(PipelineSettings.model_validate(told), environment.serving)
    staged(shop)
    promoted(environment, **APPROVED)
    manifest = read_manifest(shop.store, release_of(shop).generation)
    keys = [url_key(manifest.embedder, url) for url in set(shop.items["image_url"].to_pylist())]
    with closing(redis.Redis.from_url(redis_process.url)) as client:
        assert client.exists(*keys) == len(keys) == client.dbsize()

    before, _ = release_of(shop), staged(shop)
    redis_process.kill()
    said = failure(promoted(environment, **APPROVED, waive=["replay_overlap"]))
    assert said.startswith("IMGSEARCH_PRODUCTION_REDIS_URL: ")
    assert release_of(shop) == before


def test_production_without_room_for_the_features_keeps_what_it_has(
    shop: Shop, environment: Environment, redis_process: RedisProcess
) -> None:
    with closing(redis.Redis.from_url(redis_process.url)) as client:
        client.config_set("maxmemory", "1")
    told = {"production_redis_url": redis_process.url}
    environment = Environment(PipelineSettings.model_validate(told), environment.serving)
    staged(shop)
    said = failure(promoted(environment, **APPROVED))
    assert said.startswith("IMGSEARCH_PRODUCTION_REDIS_URL: ")
    assert "Redis is full: give it more memory" in said
    assert status(shop.store, "production") is None


def test_a_production_that_refuses_the_password_is_named(
    shop: Shop, environment: Environment, redis_process: RedisProcess
) -> None:
    with closing(redis.Redis.from_url(redis_process.url)) as client:
        client.config_set("requirepass", "another")
    told = {"production_redis_url": redis_process.url}
    environment = Environment(PipelineSettings.model_validate(told), environment.serving)
    staged(shop)
    said = failure(promoted(environment, **APPROVED))
    assert said.startswith("IMGSEARCH_PRODUCTION_REDIS_URL: ")
    assert "put it into IMGSEARCH_PRODUCTION_REDIS_URL, rediss://" in said
    assert "IMGSEARCH_REDIS_URL" not in said
    assert status(shop.store, "production") is None


@pytest.mark.parametrize("name", ["IMGSEARCH_REDIS_URL", "IMGSEARCH_PRODUCTION_REDIS_URL"])
def test_the_url_that_is_wrong_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://:secret@redis/0")
    with pytest.raises(BadSettings) as error:
        read_environment()
    assert str(error.value) == f"{name} is none; one looks like redis://:PASSWORD@HOST:PORT/0"


def release_of(shop: Shop) -> Release:
    live = status(shop.store, "production")
    assert live is not None
    return live


@pytest.mark.parametrize(
    ("config", "missing"),
    [({}, "config"), ({"who": "anna"}, "why"), ({"why": "looks good"}, "who")],
)
def test_nobody_approves_without_who_and_why(
    shop: Shop, environment: Environment, config: dict[str, str], missing: str
) -> None:
    staged(shop)
    with pytest.raises(dg.DagsterInvalidConfigError) as error:
        promoted(environment, **config)
    assert len(error.value.errors) == 1
    assert f"Missing required config entr{'ies' if missing == 'config' else 'y'}" in str(error.value)
    blank = promoted(environment, **(APPROVED | {"why": " "}))
    assert failure(blank) == "a release says who makes it and why"
    assert status(shop.store, "production") is None


def test_too_much_churn_is_seen_and_needs_a_waiver(shop: Shop, environment: Environment) -> None:
    first = staged(shop)
    assert promoted(environment, **APPROVED).success
    second = staged(shop)
    replay = replayed(environment)
    assert replay.success, "whoever approves decides"
    (check,) = replay.get_asset_check_evaluations()
    assert (check.check_name, check.passed, check.severity) == (
        "replay_overlap",
        False,
        dg.AssetCheckSeverity.WARN,
    )
    said = metadata(replay)
    assert said["compared_with"] == first
    assert check.description == (
        f"overlap@10 with {first} is {said['overlap_at_10']:.3f} over 60 queries, at least 0.5 wanted"
    )
    assert said["report"] == str(shop.store.local_path(f"reports/replay/{second}/{first}.html"))
    assert "](data:image/jpeg;base64,/9j/" in said["what_changes_most"]
    assert "page" not in said
    address = {"admin_url": "https://admin.example/"}
    told = Environment(PipelineSettings.model_validate(address), environment.serving)
    assert metadata(replayed(told))["page"] == f"https://admin.example/v1/admin/replays/{second}/{first}"

    refused = promoted(environment, **APPROVED)
    assert f"generation {second} stays out of production: replay_overlap: overlap@10" in failure(refused)
    said = metadata(promoted(environment, **APPROVED, waive=["replay_overlap"]))
    assert (said["generation"], said["waived"], said["previous"]) == (second, "replay_overlap", first)


def test_without_another_generation_there_is_nothing_to_replay(shop: Shop, environment: Environment) -> None:
    staged(shop)
    result = replayed(environment)
    (check,) = result.get_asset_check_evaluations()
    assert (check.passed, check.description) == (True, "there is nothing else to compare with")
    assert metadata(result)["compared_with"] == "nothing"
    assert promoted(environment, **APPROVED).success
    assert metadata(replayed(environment))["compared_with"] == "nothing"


def test_what_staging_went_back_to_is_what_is_promoted(shop: Shop, environment: Environment) -> None:
    first = staged(shop)
    staged(shop)
    rollback(shop.store, "local", "test", "bad")
    assert metadata(promoted(environment, **APPROVED))["generation"] == first


def test_under_the_policy_too_much_churn_stops_the_run(shop: Shop, environment: Environment) -> None:
    told = {
        "production_release": "automatic",
        "production_search_address": "127.0.0.1:1",
        "production_api_url": "http://127.0.0.1:1",
    }
    automatic = Environment(PipelineSettings.model_validate(told), environment.serving)
    staged(shop)
    assert promoted(environment, **APPROVED).success
    staged(shop)
    stopped = replayed(automatic)
    assert not stopped.success
    (check,) = stopped.get_asset_check_evaluations()
    assert check.severity is dg.AssetCheckSeverity.ERROR
    # Nobody has to say who and why; what is too much is refused all the same.
    assert "replay_overlap: overlap@10 with" in failure(promoted(automatic))


def test_what_somebody_went_back_from_is_released_by_no_condition(
    shop: Shop, environment: Environment
) -> None:
    good, bad = staged(shop), staged(shop)
    rollback(shop.store, "local", "anna", "hats everywhere", good)
    shop.store.put(products_key("snapshot-1"), parquet_bytes(PRODUCTS.empty_table()))
    built = Built(snapshot="snapshot-1", generation=bad).model_dump_json().encode()
    for asset in ("ann_index", "feature_store"):
        shop.store.put(f"references/{asset}/latest.json", built)
    job = dg.define_asset_job("stage", dg.AssetSelection.assets("staging_release"))
    definitions = dg.Definitions.merge(build_definitions(environment), dg.Definitions(jobs=[job]))
    stage = definitions.resolve_job_def("stage")

    by_itself = stage.execute_in_process(tags={AUTOMATION_CONDITION_TAG: "true"}, raise_on_error=False)
    assert failure(by_itself) == (
        f"somebody went back from generation {bad} in local, so no run that an upstream asset "
        "starts releases it again; is it good after all, start the job refresh"
    )
    assert live_generation(shop) == good
    assert stage.execute_in_process(raise_on_error=False).success, "a person may"
    assert live_generation(shop) == bad
    assert stage.execute_in_process(tags={AUTOMATION_CONDITION_TAG: "true"}, raise_on_error=False).success


def live_generation(shop: Shop) -> str:
    live = status(shop.store, "local")
    assert live is not None
    return live.generation
