"""Nobody reaches anybody, but for the arrows that are drawn here."""

from ipaddress import ip_address, ip_network

import pytest

from serving.images.address import is_global
from tests.k8s.rendering import Json, Objects, Workload, selects

PORTS = {"search": 50051, "detect": 50052, "embed": 50053}
# Who may come to each service, at which port.
IN = {
    "api": {("35.191.0.0/16", 8080), ("130.211.0.0/22", 8080)},
    "search": {("api", 50051), ("in imgsearch-dagster", 50051)},
    "detect": {("api", 50052)},
    "embed": {("api", 50053)},
    "probe": set(),
    "stock-feed": set(),
}
FIGURES = ("in gmp-system", 9464)
# Where every process may go: names, who it is, Google's APIs.
OUT_ALL = {
    *((to, 53) for to in ("in kube-system", "169.254.20.10/32")),
    *((f"169.254.169.{host}/32", port) for host in (252, 254) for port in (80, 987, 988)),
    ("199.36.153.8/30", 443),
}
OUT = {
    "api": {*PORTS.items(), ("0.0.0.0/0", 80), ("0.0.0.0/0", 443), ("redis", 6378)},
    "search": {("redis", 6378)},
    "detect": set(),
    "embed": set(),
    "probe": {("0.0.0.0/0", 443)},
    "stock-feed": {("redis", 6378)},
}


def drawn(objects: Objects, workload: Workload, way: str) -> set[tuple[str, int]]:
    """The arrows of a pod: who, and at which port. A policy that holds nobody back is a failure."""
    found = set()
    for policy in _of(objects, workload, way):
        for rule in policy["spec"].get(way.lower(), ()):
            assert rule.get("ports"), policy["metadata"]["name"]
            peers = rule["from" if way == "Ingress" else "to"]
            assert peers, policy["metadata"]["name"]
            for peer in peers:
                for who in _who(objects, policy, peer):
                    found |= {(who, _port(workload, port["port"])) for port in rule["ports"]}
    return found


def _of(objects: Objects, workload: Workload, way: str) -> list[Json]:
    policies = [
        one for one in objects.of("NetworkPolicy") if selects(one["spec"]["podSelector"], workload.labels)
    ]
    return [one for one in policies if way in one["spec"]["policyTypes"]]


def _who(objects: Objects, policy: Json, peer: Json) -> list[str]:
    if "ipBlock" in peer:
        return ["redis" if policy["metadata"]["name"] == "to-redis" else peer["ipBlock"]["cidr"]]
    if "namespaceSelector" in peer:
        return [f"in {peer['namespaceSelector']['matchLabels']['kubernetes.io/metadata.name']}"]
    found = [each.name for each in objects.workloads if selects(peer["podSelector"], each.labels)]
    assert found, "an arrow to nobody"
    return found


def _port(workload: Workload, port: str | int) -> int:
    return port if isinstance(port, int) else workload.port(port)


def test_everybody_is_held_back(objects: Objects) -> None:
    for workload in objects.workloads:
        for way in ("Ingress", "Egress"):
            assert "nobody" in [one["metadata"]["name"] for one in _of(objects, workload, way)]
    nobody = objects.one("NetworkPolicy", "nobody")["spec"]
    assert nobody == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_a_process_is_reached_by_these_alone(objects: Objects, process: str) -> None:
    assert drawn(objects, objects.service(process), "Ingress") == IN[process] | {FIGURES}


def test_a_process_reaches_these_alone(objects: Objects, process: str) -> None:
    assert drawn(objects, objects.service(process), "Egress") == OUT[process] | OUT_ALL


def test_who_answers_nobody_reaches_nobody(objects: Objects) -> None:
    for name in ("gpu-spare", "gpu-pre-pull"):
        (workload,) = (each for each in objects.workloads if each.name == name)
        assert drawn(objects, workload, "Ingress") | drawn(objects, workload, "Egress") == set()


def test_both_ends_of_an_arrow_are_open(objects: Objects) -> None:
    for name, port in PORTS.items():
        assert ("api", port) in drawn(objects, objects.service(name), "Ingress")


def test_redis_is_in_our_own_network(objects: Objects) -> None:
    block = objects.one("NetworkPolicy", "to-redis")["spec"]["egress"][0]["to"][0]["ipBlock"]["cidr"]
    assert ip_network(block).is_private
    assert ip_network(block).num_addresses > 1, "no placeholder"


@pytest.mark.parametrize("name", ["api", "probe"])
@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "172.20.0.1", "192.168.1.1", "169.254.169.254", "127.0.0.1", "100.64.0.1", "8.8.8.8"],
)
def test_the_internet_is_what_the_front_itself_takes_for_it(address: str, name: str) -> None:
    policy = Objects("production").one("NetworkPolicy", name)
    (block,) = (
        peer["ipBlock"] for rule in policy["spec"]["egress"] for peer in rule["to"] if "ipBlock" in peer
    )
    kept_out = any(ip_address(address) in ip_network(each) for each in block["except"])
    assert kept_out != is_global(address)
