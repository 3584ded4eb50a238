"""What Dagster's chart is told is what dagster.yaml says, in values that Dagster itself takes.

The chart cannot be had on a closed network, so nobody renders it here; what was seen of it once is held here.
"""

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import yaml
from dagster import DagsterInstance
from dagster._config import validate_config
from dagster._config.field_utils import Shape
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster_k8s.job import UserDefinedDagsterK8sConfig

from imgsearch_assets.environment import read_environment
from imgsearch_assets.graph.pods import pods_by_op
from imgsearch_assets.settings import PipelineSettings
from serving.identity.keys import made
from serving.settings import Settings
from tests.k8s.rendering import K8S, OVERLAYS, Json, Objects, dagster_values, own, rendered, told_dagster

FOLDER = K8S / "dagster"
# How a cluster differs from one machine: more runs at once, and nodes that have to come first.
OF_A_CLUSTER = {
    ("concurrency", "runs", "max_concurrent_runs"),
    ("run_monitoring", "poll_interval_seconds"),
    ("run_monitoring", "start_timeout_seconds"),
}
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@pytest.fixture(scope="module")
def values() -> Json:
    return dagster_values()


@pytest.fixture(scope="module")
def location(values: Json) -> Json:
    (found,) = values["dagster-user-deployments"]["deployments"]
    return dict(found)


def test_the_records_are_run_as_on_one_machine(values: Json) -> None:
    here = dict(_leaves(yaml.safe_load((K8S.parent / "dagster.yaml").read_text())))
    told = told_dagster(values)
    there = dict(_leaves(told | {"run_queue": told.pop("run_coordinator")["config"]}))
    of_the_chart = {path for path in here if path[0] in ("telemetry", "run_launcher")}
    assert here.keys() - of_the_chart == there.keys()
    assert {path for path in there if there[path] != here[path]} <= OF_A_CLUSTER
    assert values["telemetry"] == {"enabled": False}


def test_dagster_takes_what_it_is_told(values: Json, tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(told_dagster(values)))
    with DagsterInstance.from_config(str(tmp_path)) as instance:
        assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
        assert instance.run_monitoring_enabled
        assert instance.run_retries_max_retries == 2
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert queue.max_concurrent_runs == 4


def test_records_are_reached_by_the_driver_that_images_have(values: Json) -> None:
    scheme = values["postgresql"]["postgresqlScheme"]
    assert f" {scheme}://" in (K8S.parent / "dagster.postgres.yaml").read_text()
    assert sqlalchemy.create_engine(f"{scheme}://host").driver == "psycopg2"


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


def test_all_pods_are_restricted_as_the_services_are(values: Json, location: Json) -> None:
    """The chart's init containers have the security context of what they come before."""
    run = values["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    pods = [values["dagsterWebserver"], values["dagsterDaemon"], location]
    containers = [each["securityContext"] for each in (*pods, run["containerConfig"])]
    assert containers == [_RESTRICTED] * 4
    users = [each["podSecurityContext"] for each in pods] + [run["podSpecConfig"]["securityContext"]]
    assert users == [users[0]] * 4
    assert users[0]["runAsNonRoot"]
    assert users[0]["seccompProfile"] == {"type": "RuntimeDefault"}
    for pod in pods:  # runs have the volumes of the code location
        paths = {mount["name"]: mount["mountPath"] for mount in pod["volumeMounts"]}
        assert {"name": "scratch", "emptyDir": {}} in pod["volumes"]
        assert paths["scratch"] == "/tmp"


def test_every_container_has_limits(values: Json, location: Json) -> None:
    daemon, webserver = values["dagsterDaemon"], values["dagsterWebserver"]
    sizes = [each[kind] for each in (daemon, webserver) for kind in ("resources", "initContainerResources")]
    for size in (*sizes, location["resources"]):
        assert {"cpu", "memory", "ephemeral-storage"} == size["limits"].keys() == size["requests"].keys()
        assert size["limits"]["memory"] == size["requests"]["memory"]


def test_the_ui_is_where_its_probe_asks_and_needs_no_root(values: Json) -> None:
    webserver = values["dagsterWebserver"]
    assert webserver["readinessProbe"]["httpGet"]["port"] == webserver["service"]["port"] >= 1024


def test_nothing_is_said_twice(values: Json) -> None:
    daemon = values["dagsterDaemon"]
    said = [daemon["runMonitoring"], daemon["runRetries"], values["retention"]]
    assert said == [{"enabled": False}] * 3
    assert [daemon[name] for name in ("sensors", "schedules")] == [{"useThreads": False}] * 2


def test_every_image_is_named_by_its_digest(values: Json, location: Json) -> None:
    images = [values["dagsterWebserver"]["image"], values["dagsterDaemon"]["image"], location["image"]]
    assert images == [images[0]] * 3
    assert re.fullmatch(
        r"\S+/pipeline-cpu@sha256:[0-9a-f]{64}", f"{images[0]['repository']}:{images[0]['tag']}"
    )
    busybox = values["busybox"]["image"]
    assert re.fullmatch(r"busybox@sha256:[0-9a-f]{64}", f"{busybox['repository']}:{busybox['tag']}")
    checked = [values[name]["checkDbReadyInitContainer"] for name in ("dagsterWebserver", "dagsterDaemon")]
    assert checked == [False, False], "that one has an image of its own, by its tag"
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
    assert mounted.pop("/tmp") == "scratch"
    records = "/etc/imgsearch/dagster"
    assert volumes[mounted.pop(records)]["configMap"] == {"name": "dagster-instance"}
    assert f"env DAGSTER_HOME={records}\n" in (K8S.parent / ".github/workflows/production.yml").read_text()
    # Google signs each Redis's certificate itself: no process trusts one without its authority's file.
    page, ((folder, name),) = (K8S / "README.md").read_text(), mounted.items()
    assert f"`{volumes[name]['secret']['secretName']}` (`staging.pem`, `production.pem`" in page
    assert f"`ssl_ca_certs={folder}/staging.pem`" in page
    for overlay in OVERLAYS:
        objects = Objects(overlay)
        (port,) = objects.one("Service", "search")["spec"]["ports"]
        witnesses = environment.witnesses(overlay)
        assert witnesses.search_address == f"dns:///search.imgsearch-{overlay}:{port['port']}"
        (host,) = {host for one in objects.of("HTTPRoute") for host in one["spec"]["hostnames"]}
        assert witnesses.api_url == f"https://{host}/"


def test_steps_of_their_own_have_the_files_of_the_code_location(location: Json) -> None:
    """Each of their processes reads all settings, and so the files that these name."""
    from dagster_k8s.container_context import K8sContainerContext

    context = K8sContainerContext.create_from_config(
        {"k8s": {"volumes": location["volumes"], "volume_mounts": _snakes(location["volumeMounts"])}}
    )
    for pod in pods_by_op().values():
        more = K8sContainerContext(run_k8s_config=UserDefinedDagsterK8sConfig.from_dict(pod.config()))
        merged = context.merge(more).run_k8s_config
        mounts, volumes = merged.container_config["volume_mounts"], merged.pod_spec_config["volumes"]
        paths = [each["mount_path"] for each in mounts]
        assert {each["mountPath"] for each in location["volumeMounts"]} <= set(paths)
        names = [each["name"] for each in volumes]
        assert {each["name"] for each in location["volumes"]} <= set(names)
        assert (len(set(paths)), len(set(names))) == (len(paths), len(names)), "what both say is there once"


def test_search_is_reached_from_this_namespace() -> None:
    (name,) = {one["metadata"]["namespace"] for one in rendered("dagster")}
    assert name in own("Namespace")
    assert f"kubernetes.io/metadata.name: {name}\n" in (K8S / "base/network-policies.yaml").read_text()


def test_the_chart_is_of_the_same_version() -> None:
    for file in (K8S / "README.md", K8S.parent / ".github/workflows/checks.yml"):
        assert f"--version {version('dagster')} " in file.read_text()


def _leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if not isinstance(value, dict):
        return [(path, value)]
    return [leaf for key, below in value.items() for leaf in _leaves(below, (*path, key))]


def _snakes(mounts: list[Json]) -> list[Json]:
    return [{_snake(key): value for key, value in each.items()} for each in mounts]


def _snake(name: str) -> str:
    return re.sub("([A-Z])", lambda found: f"_{found[1].lower()}", name)
