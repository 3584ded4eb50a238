"""Both overlays are what Kubernetes takes, and differ in names, sizes, digests and hosts alone."""

import re
from collections.abc import Iterator
from typing import Any

import kubernetes_validate

from tests.k8s.rendering import K8S, OVERLAYS, Json, Objects, own

VERSION = re.search(r"Kubernetes (\d+\.\d+)", (K8S / "README.md").read_text())
# Of Google and of the Gateway API: no schema of theirs comes with the validator.
FOREIGN = {
    "Gateway",
    "HTTPRoute",
    "GCPGatewayPolicy",
    "GCPBackendPolicy",
    "HealthCheckPolicy",
    "PodMonitoring",
}
DIGEST = re.compile(r"\S+@sha256:[0-9a-f]{64}")

# Where the overlays may say different things, by kind.
NAMES = r"/metadata/namespace"
MAY_DIFFER = {
    "ConfigMap": r"/metadata/name|/data/IMGSEARCH_(ENVIRONMENT|CACHE_BYTES|CATALOGUE)",
    "Deployment": r"/spec/replicas|.*/containers/0/(image|resources/.*|command/3|envFrom/./configMapRef/.*)",
    "DaemonSet": r".*/(initContainers|containers)/0/image",
    "HorizontalPodAutoscaler": r"/spec/(min|max)Replicas",
    "ServiceAccount": r"/metadata/annotations/iam.gke.io/gcp-service-account",
    "Gateway": r".*/certmap|/spec/addresses/0/value|/spec/listeners/./hostname",
    "HTTPRoute": r"/spec/hostnames/0",
    "GCPGatewayPolicy": r"/spec/default/sslPolicy",
    "GCPBackendPolicy": r"/spec/default/securityPolicy",
    "NetworkPolicy": r"/spec/egress/0/to/0/ipBlock/cidr",
}


def test_kubernetes_takes_every_object(objects: Objects) -> None:
    assert VERSION is not None, "k8s/README.md says for which version this is"
    for one in objects.all:
        if one["kind"] not in FOREIGN:
            kubernetes_validate.validate(one, VERSION[1], strict=True)
    assert {one["kind"] for one in objects.all} > FOREIGN


def test_everything_is_in_the_namespace_of_its_environment(objects: Objects) -> None:
    (namespace,) = {one["metadata"].get("namespace") for one in objects.all}
    assert namespace == f"imgsearch-{objects.overlay}"
    assert namespace in own("Namespace")


def test_the_overlays_differ_in_names_sizes_digests_and_hosts_alone() -> None:
    staging, production = ({_key(one): dict(_leaves(one)) for one in Objects(o).all} for o in OVERLAYS)
    assert staging.keys() == production.keys()
    wrong = []
    for (kind, name), here in staging.items():
        there = production[kind, name]
        for path in here.keys() | there.keys():
            may = re.fullmatch(f"{NAMES}|{MAY_DIFFER.get(kind, NAMES)}", path)
            if here.get(path) != there.get(path) and not may:
                wrong.append(f"{kind} {name}{path}: {here.get(path)!r}, {there.get(path)!r}")
    assert wrong == []


def test_images_of_both_are_the_same_but_for_the_digest() -> None:
    names = [{image.partition("@")[0] for image in _images(Objects(overlay))} for overlay in OVERLAYS]
    assert names[0] == names[1]


def test_every_image_is_named_by_its_digest(objects: Objects) -> None:
    assert [image for image in _images(objects) if not DIGEST.fullmatch(image)] == []


def test_no_secret_is_in_the_manifests(objects: Objects) -> None:
    assert list(objects.of("Secret")) == []


def test_what_is_named_is_there(objects: Objects) -> None:
    for workload in objects.workloads:
        objects.one("ServiceAccount", workload.spec["serviceAccountName"])
        if (priority := workload.spec.get("priorityClassName")) is not None:
            assert priority in own("PriorityClass")
        assert workload.made_from["spec"]["selector"]["matchLabels"].items() <= workload.labels.items()
    for route in objects.of("HTTPRoute"):
        for parent in route["spec"]["parentRefs"]:
            listeners = objects.one("Gateway", parent["name"])["spec"]["listeners"]
            (listener,) = (each for each in listeners if each["name"] == parent["sectionName"])
            assert route["spec"]["hostnames"] == [listener["hostname"]]
        for backend in (ref for rule in route["spec"]["rules"] for ref in rule.get("backendRefs", ())):
            ports = objects.one("Service", backend["name"])["spec"]["ports"]
            assert backend["port"] in [port["port"] for port in ports]
    for policy in objects.of("GCPGatewayPolicy", "GCPBackendPolicy", "HealthCheckPolicy"):
        target = policy["spec"]["targetRef"]
        objects.one(target["kind"], target["name"])


def test_the_public_is_served_over_tls_alone(objects: Objects) -> None:
    gateway = objects.one("Gateway", "public")
    assert gateway["metadata"]["annotations"]["networking.gke.io/certmap"] == f"imgsearch-{objects.overlay}"
    assert objects.one("GCPBackendPolicy", "api")["spec"]["default"]["securityPolicy"]
    by_listener = {
        one["spec"]["parentRefs"][0]["sectionName"]: one["spec"]["rules"] for one in objects.of("HTTPRoute")
    }
    ((redirect,),) = (rule["filters"] for rule in by_listener["http"])
    assert redirect["requestRedirect"] == {"scheme": "https", "statusCode": 301}
    assert by_listener.keys() == {"http", "https"}
    assert "backendRefs" not in by_listener["http"][0]


def _key(one: Json) -> tuple[str, str]:
    """Kind and name; without the hash at the end of a ConfigMap's."""
    name = one["metadata"]["name"]
    if one["kind"] == "ConfigMap":
        name = name.rpartition("-")[0]
    return one["kind"], name


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list) and value:
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(below, f"{path}/{key}")
    else:
        yield path, value


def _images(objects: Objects) -> set[str]:
    return {container["image"] for workload in objects.workloads for container in workload.containers}
