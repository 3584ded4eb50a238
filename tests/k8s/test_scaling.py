"""Pods come and go by figures that the services really export, before anybody is refused."""

import pytest
from prometheus_client import CollectorRegistry

from serving.api.telemetry import Metrics
from serving.settings import Settings
from serving.telemetry import PassMetrics, RpcMetrics
from tests.k8s.rendering import FOLLOWERS, PROCESSES, Objects, Workload, selects

# What a service refuses more than, unless it is told otherwise.
LIMITS = {
    "api": "max_concurrency",
    "search": "max_searches",
    "detect": "model_queue",
    "embed": "model_queue",
}


def exported(service: str) -> CollectorRegistry:
    if service == "api":
        return Metrics().registry
    rpc = RpcMetrics()
    if service in ("detect", "embed"):
        PassMetrics(rpc)
    return rpc.registry


@pytest.fixture
def scaler(objects: Objects, service: str) -> dict[str, object]:
    spec = objects.one("HorizontalPodAutoscaler", service)["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": service}
    (metric,) = spec["metrics"]
    return {"spec": spec, **metric["pods"]["target"], "name": metric["pods"]["metric"]["name"]}


def test_the_figure_is_one_that_the_service_exports(scaler: dict[str, object], service: str) -> None:
    origin, name, kind = str(scaler["name"]).split("|")
    assert origin == "prometheus.googleapis.com"
    gauges = {family.name for family in exported(service).collect() if family.type == kind == "gauge"}
    assert name in gauges


def test_pods_come_before_calls_are_refused(
    objects: Objects, scaler: dict[str, object], service: str
) -> None:
    limit = objects.environment(service).get(f"IMGSEARCH_{LIMITS[service].upper()}")
    most = int(limit or Settings.model_fields[LIMITS[service]].default)
    assert 0 < int(str(scaler["averageValue"])) <= most / 4


def test_an_autoscaler_alone_says_how_many(objects: Objects, scaler: dict[str, object], service: str) -> None:
    assert "replicas" not in objects.service(service).made_from["spec"]
    spec = scaler["spec"]
    assert isinstance(spec, dict)
    assert 1 <= spec["minReplicas"] < spec["maxReplicas"]


def test_nobody_waits_for_those_of_whom_there_is_one(objects: Objects) -> None:
    for name in FOLLOWERS:
        assert objects.one("Deployment", name)["spec"]["replicas"] == 1
        assert "priorityClassName" not in objects.service(name).spec


def test_in_production_one_may_go_and_one_is_left() -> None:
    production = Objects("production")
    assert all(one["spec"]["minReplicas"] >= 2 for one in production.of("HorizontalPodAutoscaler"))
    assert production.one("Deployment", "gpu-spare")["spec"]["replicas"] >= 1


def test_one_pod_of_a_service_at_a_time_is_taken_away(objects: Objects, service: str) -> None:
    budget = objects.one("PodDisruptionBudget", service)["spec"]
    assert budget["maxUnavailable"] == 1
    found = [workload.name for workload in objects.workloads if selects(budget["selector"], workload.labels)]
    assert found == [service]
    rolling = objects.service(service).made_from["spec"]
    assert rolling["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert rolling["minReadySeconds"] >= 5, "docs/architecture.md"


def test_pods_of_a_service_are_spread(objects: Objects, service: str) -> None:
    workload = objects.service(service)
    spread = workload.spec["topologySpreadConstraints"]
    assert {each["topologyKey"] for each in spread} == {
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    }
    for each in spread:
        assert selects(each["labelSelector"], workload.labels)
        assert "app.kubernetes.io/name" in each["matchLabelKeys"], "each service by itself"


def test_every_process_is_read(objects: Objects) -> None:
    spec = objects.one("PodMonitoring", "processes")["spec"]
    read = {workload.name for workload in objects.workloads if selects(spec["selector"], workload.labels)}
    assert read == set(PROCESSES)
    (endpoint,) = spec["endpoints"]
    assert {Workload(objects.one("Deployment", name)).port(endpoint["port"]) for name in PROCESSES} == {9464}
