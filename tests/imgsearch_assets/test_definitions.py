"""The graph as a whole: a review of a change to it starts with this snapshot."""

import sys
from typing import Any

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion

from imgsearch_assets.definitions import REFRESH, build_definitions
from imgsearch_assets.environment import read_environment
from imgsearch_assets.graph.machines import TAG
from serving.errors import BadSettings


@pytest.fixture
def definitions(monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    monkeypatch.delenv("IMGSEARCH_CATALOGUE", raising=False)
    monkeypatch.delenv("IMGSEARCH_REDIS_URL", raising=False)
    return build_definitions(read_environment())


def freshness(policy: Any) -> str:
    return f"warn {policy.warn_window.to_timedelta()}, fail {policy.fail_window.to_timedelta()}"


def columns(spec: dg.AssetSpec) -> list[dg.TableColumn]:
    schema = spec.metadata.get("dagster/column_schema")
    return [] if schema is None else list(schema.columns)


def asset(spec: dg.AssetSpec) -> dict[str, Any]:
    condition, policy = spec.automation_condition, spec.freshness_policy
    return {
        "group": spec.group_name,
        "depends_on": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
        "condition": None if condition is None else condition.get_label(),
        "freshness": None if policy is None else freshness(policy),
        "kinds": sorted(spec.kinds),
        "owners": list(spec.owners),
        "machine": spec.tags.get(TAG),
        "columns": [f"{column.name} {column.type}" for column in columns(spec)],
    }


def test_the_graph(definitions: dg.Definitions, snapshot: SnapshotAssertion) -> None:
    graph = definitions.resolve_asset_graph()
    assets = {spec.key.to_user_string(): asset(spec) for spec in definitions.resolve_all_asset_specs()}
    checks = {
        key.to_user_string(): {
            "blocking": graph.get_check_spec(key).blocking,
            "description": graph.get_check_spec(key).description,
        }
        for key in sorted(graph.asset_check_keys)
    }
    assert {
        "assets": assets,
        "checks": checks,
        "jobs": {
            job.name: {
                "assets": sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys),
                "run_tags": dict(job.run_tags),
            }
            for job in definitions.resolve_all_job_defs()
            if not job.name.startswith("__")
        },
        "schedules": [
            (schedule.name, schedule.job_name, schedule.cron_schedule, schedule.default_status.value)
            for schedule in definitions.schedules or ()
            if isinstance(schedule, dg.ScheduleDefinition)
        ],
        "sensors": [
            {
                "name": sensor.name,
                "kind": type(sensor).__name__,
                "every_s": sensor.minimum_interval_seconds,
                "status": sensor.default_status.value,
                "run_tags": dict(getattr(sensor, "run_tags", {})),
            }
            for sensor in definitions.sensors or ()
        ],
    } == snapshot


def test_it_loads_and_says_what_is_not_set_only_when_it_runs(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)
    job = definitions.resolve_job_def(REFRESH)
    assert job.executor_def is dg.in_process_executor


@pytest.mark.parametrize(("told", "name"), [(None, "pods"), ("pods", "pods"), ("here", "in_process")])
def test_elsewhere_steps_are_pods_in_every_job_and_run(
    told: str | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMGSEARCH_ENVIRONMENT", "staging")
    monkeypatch.setenv("IMGSEARCH_CATALOGUE", "shop.parquet")
    monkeypatch.setenv("IMGSEARCH_REDIS_URL", "redis://127.0.0.1:1/0")
    if told is not None:
        monkeypatch.setenv("IMGSEARCH_STEPS", told)
    definitions = build_definitions(read_environment())
    jobs = definitions.resolve_all_job_defs()
    assert {job.executor_def.name for job in jobs} == {name}
    assert "__ASSET_JOB" in {job.name for job in jobs}, "that of conditions and backfills"
    ops = definitions.resolve_job_def(REFRESH).graph.node_dict["item_embeddings"].definition
    assert isinstance(ops, dg.GraphDefinition) == (name == "pods")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IMGSEARCH_STEPS", "jobs"),
        ("IMGSEARCH_STEPS", ""),
        ("IMGSEARCH_GPU_IMAGE", "registry.example/pipeline gpu@sha256:1"),
        ("IMGSEARCH_GPU_IMAGE", " "),
        ("IMGSEARCH_PART_PICTURES", "0"),
        ("IMGSEARCH_MOST_PARTS", "0"),
    ],
)
def test_what_no_cluster_could_do_is_refused_at_the_start(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings, match=name):
        read_environment()


def test_pods_without_their_client_are_refused_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGSEARCH_STEPS", "pods")
    monkeypatch.setitem(sys.modules, "imgsearch_assets.cluster.executor", None)
    with pytest.raises(BadSettings, match=r"install imgsearch\[k8s\], or set IMGSEARCH_STEPS=here"):
        build_definitions(read_environment())


def test_every_asset_is_described(definitions: dg.Definitions) -> None:
    undescribed = [spec.key for spec in definitions.resolve_all_asset_specs() if not spec.description]
    assert undescribed == []
