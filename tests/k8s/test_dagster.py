"""What Dagster's chart is told is what dagster.yaml says, in values that Dagster itself takes.

The chart cannot be had on a closed network, so nobody renders it here.
"""

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import DagsterInstance
from dagster._config import validate_config
from dagster._config.field_utils import Shape
from dagster_k8s.job import UserDefinedDagsterK8sConfig

from imgsearch_assets.environment import read_environment
from imgsearch_assets.graph.pods import pods_by_op
from imgsearch_assets.settings import PipelineSettings
from serving.identity.keys import made
from serving.settings import Settings
from tests.k8s.rendering import K8S, OVERLAYS, Json, Objects, rendered

FOLDER = K8S / "dagster"
# How a cluster differs from one machine: more runs at once, and nodes that have to come first.
OF_A_CLUSTER = {
    ("concurrency", "runs", "max_concurrent_runs"),
    ("run_monitoring", "poll_interval_seconds"),
    ("run_monitoring", "start_timeout_seconds"),
}


@pytest.fixture(scope="module")
def values() -> Json:
    found: Json = {}
    for name in ("values.yaml", "values.place.yaml"):
        found = _merged(found, yaml.safe_load((FOLDER / name).read_text()))
    return found


@pytest.fixture(scope="module")
def location(values: Json) -> Json:
    (found,) = values["dagster-user-deployments"]["deployments"]
    return dict(found)


def test_the_records_are_run_as_on_one_machine(values: Json) -> None:
    here = dict(_leaves(yaml.safe_load((K8S.parent / "dagster.yaml").read_text())))
    there = dict(_leaves(values["additionalInstanceConfig"]))
    of_the_chart = {path for path in here if path[0] in ("telemetry", "run_launcher")}
    assert here.keys() - of_the_chart == there.keys()
    assert {path for path in there if there[path] != here[path]} <= OF_A_CLUSTER
    assert values["telemetry"] == {"enabled": False}


def test_dagster_takes_what_it_is_told(values: Json, tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(values["additionalInstanceConfig"]))
    with DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.run_monitoring_enabled
        assert instance.run_retries_max_retries == 2
        assert instance.get_concurrency_config().run_queue_config


@pytest.mark.filterwarnings("ignore:Found version mismatch:UserWarning")
def test_the_launcher_takes_what_it_is_told(values: Json) -> None:
    from dagster_k8s.launcher import K8sRunLauncher

    told = {_snake(key): value for key, value in values["runLauncher"]["config"]["k8sRunLauncher"].items()}
    told["run_k8s_config"] = {_snake(key): value for key, value in told["run_k8s_config"].items()}
    told |= {
        "service_account_name": values["serviceAccount"]["name"],
        "instance_config_map": "dagster-instance",
    }
    told |= {"postgres_password_secret": values["global"]["postgresqlSecretName"]}
    told |= {"dagster_home": values["global"]["dagsterHome"]}
    checked = validate_config(Shape(K8sRunLauncher.config_type()), told)
    assert checked.success, checked.errors


def test_runs_are_restricted_as_the_services_are(values: Json) -> None:
    told = values["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    assert told["containerConfig"]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert told["podSpecConfig"]["securityContext"]["runAsNonRoot"]
    volumes = {volume["name"] for volume in told["podSpecConfig"]["volumes"] if "emptyDir" in volume}
    assert [
        (mount["mountPath"], mount["name"] in volumes) for mount in told["containerConfig"]["volumeMounts"]
    ] == [("/tmp", True)]


def test_nothing_is_said_twice(values: Json) -> None:
    daemon = values["dagsterDaemon"]
    said = [daemon[name] for name in ("runCoordinator", "runMonitoring", "runRetries")]
    assert [*said, values["retention"]] == [{"enabled": False}] * 4


def test_every_image_is_named_by_its_digest(values: Json, location: Json) -> None:
    images = [values["dagsterWebserver"]["image"], values["dagsterDaemon"]["image"], location["image"]]
    assert images == [images[0]] * 3
    assert re.fullmatch(
        r"\S+/pipeline-cpu@sha256:[0-9a-f]{64}", f"{images[0]['repository']}:{images[0]['tag']}"
    )
    told = {each["name"]: each["value"] for each in location["env"]}
    assert re.fullmatch(r"\S+/pipeline-gpu@sha256:[0-9a-f]{64}", told["IMGSEARCH_GPU_IMAGE"])


def test_the_pipeline_starts_with_its_settings(location: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        f"IMGSEARCH_{name.upper()}" for name in {**Settings.model_fields, **PipelineSettings.model_fields}
    }
    told = {each["name"]: each["value"] for each in location["env"]}
    assert told.keys() - known == set()
    _, key = made("pipeline", {"search"}, now=0)
    secret = dict.fromkeys(("IMGSEARCH_STAGING_KEY", "IMGSEARCH_PRODUCTION_KEY"), key)
    secret |= {"IMGSEARCH_CATALOGUE": "shop.parquet", "IMGSEARCH_REDIS_URL": "rediss://:p@10.0.0.1:6378/0"}
    comment = (FOLDER / "values.place.yaml").read_text()
    assert all(name in comment for name in secret)
    for name in known:
        monkeypatch.delenv(name, raising=False)
    for name, value in (told | secret).items():
        monkeypatch.setenv(name, value)
    environment = read_environment()
    assert environment.steps_in_pods
    mounted = {each["mountPath"]: each["name"] for each in location["volumeMounts"]}
    volumes = {each["name"]: each for each in location["volumes"]}
    assert volumes[mounted.pop(str(environment.serving.home))]["emptyDir"] == {}
    # Google signs each Redis's certificate itself: no process trusts one without its authority's file.
    page, ((folder, name),) = (K8S / "README.md").read_text(), mounted.items()
    assert f"`{volumes[name]['secret']['secretName']}` (`staging.pem`, `production.pem`" in page
    assert f"`ssl_ca_certs={folder}/staging.pem`" in page
    for overlay in OVERLAYS:
        objects = Objects(overlay)
        (namespace,) = objects.of("Namespace")
        (port,) = objects.one("Service", "search")["spec"]["ports"]
        witnesses = environment.witnesses(overlay)
        assert witnesses.search_address == f"dns:///search.{namespace['metadata']['name']}:{port['port']}"
        (host,) = {host for one in objects.of("HTTPRoute") for host in one["spec"]["hostnames"]}
        assert witnesses.api_url == f"https://{host}/"


def test_steps_of_their_own_have_the_files_of_the_code_location(location: Json) -> None:
    """Each of their processes reads all settings, and so the files that these name."""
    from dagster_k8s.container_context import K8sContainerContext

    context = K8sContainerContext.create_from_config(
        {"k8s": {"volumes": location["volumes"], "volume_mounts": _snakes(location["volumeMounts"])}}
    )
    for pod in pods_by_op().values():
        own = K8sContainerContext(run_k8s_config=UserDefinedDagsterK8sConfig.from_dict(pod.config()))
        merged = context.merge(own).run_k8s_config
        paths = {each["mount_path"] for each in merged.container_config["volume_mounts"]}
        assert {each["mountPath"] for each in location["volumeMounts"]} < paths
        names = {each["name"] for each in merged.pod_spec_config["volumes"]}
        assert {each["name"] for each in location["volumes"]} < names


def test_search_is_reached_from_this_namespace() -> None:
    objects = rendered("dagster")
    (name,) = {one["metadata"]["name"] for one in objects if one["kind"] == "Namespace"}
    assert {one["metadata"].get("namespace", name) for one in objects} == {name}
    assert f"kubernetes.io/metadata.name: {name}\n" in (K8S / "base/network-policies.yaml").read_text()


def test_the_chart_is_of_the_same_version() -> None:
    assert f"--version {version('dagster')}" in (K8S / "README.md").read_text()


def _merged(under: Any, over: Any) -> Any:
    """As helm lays one values file over another: lists as a whole."""
    if not isinstance(under, dict) or not isinstance(over, dict):
        return over
    return under | {key: _merged(under.get(key), value) for key, value in over.items()}


def _leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if not isinstance(value, dict):
        return [(path, value)]
    return [leaf for key, below in value.items() for leaf in _leaves(below, (*path, key))]


def _snakes(mounts: list[Json]) -> list[Json]:
    return [{_snake(key): value for key, value in each.items()} for each in mounts]


def _snake(name: str) -> str:
    return re.sub("([A-Z])", lambda found: f"_{found[1].lower()}", name)
