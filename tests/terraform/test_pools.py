"""Pods find a pool that lets them in, and that is large enough for all of them at their most."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import yaml

from imgsearch_assets.graph.pods import FEATURES, pods_by_op
from imgsearch_assets.settings import PipelineSettings
from tests.k8s.rendering import K8S, OVERLAYS, Json, Objects, size_of
from tests.terraform.planning import Plan

# Cores and GiB of memory of a kind of machine.
MACHINES = {
    "n2-standard-4": (4, 16),
    "n2-standard-8": (8, 32),
    "n2-highmem-8": (8, 64),
    "g2-standard-4": (4, 16),
}
# What the cluster's own pods ask for on every node.
OF_THE_CLUSTER = (0.6, 1.0, 1.0)
Room = tuple[float, float, float]


@dataclass(frozen=True)
class Pods:
    """So many pods that ask for so many cores, GiB of memory, and GiB of disk each."""

    name: str
    count: int
    each: Room


def test_pods_are_let_into_their_pool_and_into_no_other(plan: Plan) -> None:
    pools = {name: _node(pool) for name, pool in plan.each("google_container_node_pool", "this").items()}
    for overlay in OVERLAYS:
        for workload in Objects(overlay).workloads:
            may = {
                name
                for name, node in pools.items()
                if workload.spec["nodeSelector"].items() <= (node["labels"] or {}).items()
                and all(_tolerated(taint, workload.spec["tolerations"]) for taint in node["taint"])
            }
            assert may == {workload.spec["nodeSelector"]["imgsearch/pool"]}, workload.name


def test_what_asks_for_no_pool_goes_to_the_one_without_a_taint(plan: Plan) -> None:
    pools = {name: _node(pool) for name, pool in plan.each("google_container_node_pool", "this").items()}
    assert [name for name, node in pools.items() if not node["taint"]] == ["dagster"]
    taints = {name: {taint["key"] for taint in node["taint"]} for name, node in pools.items()}
    assert taints["gpu"] == {"imgsearch/pool", "nvidia.com/gpu"}
    assert taints["api"] == taints["search"] == {"imgsearch/pool"}


def test_a_pod_of_a_gpu_finds_one(plan: Plan) -> None:
    pools = plan.each("google_container_node_pool", "this")
    (gpu,) = _node(pools["gpu"])["guest_accelerator"]
    assert (gpu["type"], gpu["count"]) == ("nvidia-l4", 1)
    assert gpu["gpu_driver_installation_config"] == [{"gpu_driver_version": "DEFAULT"}]
    assert pools["gpu"]["node_locations"] == ["europe-west1-b", "europe-west1-c"]
    assert not any(_node(pools[name])["guest_accelerator"] for name in pools if name != "gpu")


@pytest.mark.parametrize("pool", ["api", "search", "gpu", "dagster"])
def test_a_pool_holds_all_its_pods_at_their_most(plan: Plan, pool: str) -> None:
    made = plan.each("google_container_node_pool", "this")[pool]
    room = _room(_node(made))
    for pod in (pod for overlay in OVERLAYS for pod in _of_every_node(overlay, pool)):
        room = _less(room, pod)
    needed = _packed(list(_asked(pool)), room, one_each=pool == "gpu")
    assert needed <= made["autoscaling"][0]["total_max_node_count"]
    assert needed * 2 > made["autoscaling"][0]["total_max_node_count"], "twice as many as can be used"


def _asked(pool: str) -> Iterator[Pods]:
    """Every pod that can be there at once; a rollout has one more of each Deployment."""
    if pool == "dagster":
        yield from _of_dagster()
        return
    for overlay in OVERLAYS:
        objects = Objects(overlay)
        most = {
            one["spec"]["scaleTargetRef"]["name"]: one["spec"]["maxReplicas"]
            for one in objects.of("HorizontalPodAutoscaler")
        }
        for workload in objects.workloads:
            if (
                workload.spec["nodeSelector"] != {"imgsearch/pool": pool}
                or workload.made_from["kind"] == "DaemonSet"
            ):
                continue
            count = most.get(workload.name, workload.made_from["spec"].get("replicas", 1))
            surge = 1 if workload.name in most else 0
            yield Pods(f"{overlay} {workload.name}", count + surge, _requests(workload.containers))
    if pool == FEATURES.pool:
        parts = PipelineSettings.model_fields["most_parts"].default
        yield Pods("parts", parts, (_cores(FEATURES.cpu), _gib(FEATURES.memory), _gib(FEATURES.disk)))


def _of_dagster() -> Iterator[Pods]:
    values = yaml.safe_load((K8S / "dagster/values.yaml").read_text())
    (location,) = yaml.safe_load((K8S / "dagster/values.place.yaml").read_text())["dagster-user-deployments"][
        "deployments"
    ]
    runs = values["additionalInstanceConfig"]["concurrency"]["runs"]["max_concurrent_runs"]
    yield Pods("runs", runs, _requests([location]))
    yield Pods("code location", 2, _requests([location]))
    for op, pod in pods_by_op().items():
        if pod.pool is None:
            yield Pods(op, 1, (_cores(pod.cpu), _gib(pod.memory), _gib(pod.disk)))
    for name in ("dagsterWebserver", "dagsterDaemon"):
        yield Pods(name, 2, _requests([values[name]]))


def _of_every_node(overlay: str, pool: str) -> tuple[Room, ...]:
    return tuple(
        _requests(workload.containers)
        for workload in Objects(overlay).workloads
        if workload.made_from["kind"] == "DaemonSet"
        and workload.spec["nodeSelector"] == {"imgsearch/pool": pool}
    )


def _requests(containers: list[Json]) -> Room:
    """The most that a container asks for: those that pull an image have ended before the others begin."""
    asked = [each["resources"]["requests"] for each in containers]
    return (
        max(_cores(each["cpu"]) for each in asked),
        max(_gib(each["memory"]) for each in asked),
        max(_gib(each["ephemeral-storage"]) for each in asked),
    )


def _cores(text: str) -> float:
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def _gib(text: str) -> float:
    return size_of(text) / 2**30


def _room(node: Json) -> Room:
    """What GKE leaves of a node (cloud.google.com/kubernetes-engine/docs/concepts/plan-node-sizes), and the
    cluster's own pods."""
    cores, memory = MACHINES[node["machine_type"]]
    kept_cores = 0.06 + 0.01 * (cores > 1) + 0.005 * min(max(cores - 2, 0), 2) + 0.0025 * max(cores - 4, 0)
    kept_memory, left = 100 / 1024, float(memory)
    for size, share in ((4, 0.25), (4, 0.2), (8, 0.1), (112, 0.06)):
        kept_memory += share * min(left, size)
        left -= min(left, size)
    disk = node["disk_size_gb"] * 1e9 / 2**30
    kept_disk = 0.1 * disk + min(0.5 * disk, 6 + 0.35 * disk, 100)
    left_over = (cores - kept_cores, memory - kept_memory, disk - kept_disk)
    return _less(left_over, OF_THE_CLUSTER)


def _packed(asked: list[Pods], room: Room, *, one_each: bool) -> int:
    """Nodes that are needed when the largest pods go first, each on the first node that has the room."""
    pods = sorted((pods.each for pods in asked for _ in range(pods.count)), reverse=True)
    nodes: list[Room] = []
    for pod in pods:
        assert all(have >= ask for have, ask in zip(room, pod, strict=True)), (room, pod)
        for index, have in enumerate(nodes):
            if not one_each and all(a >= b for a, b in zip(have, pod, strict=True)):
                nodes[index] = _less(have, pod)
                break
        else:
            nodes.append(_less(room, pod))
    return len(nodes)


def _less(room: Room, pod: Room) -> Room:
    return (room[0] - pod[0], room[1] - pod[1], room[2] - pod[2])


def _node(pool: Json) -> Json:
    (found,) = pool["node_config"]
    return dict(found)


def _tolerated(taint: Json, tolerations: list[Json]) -> bool:
    effects = {"NO_SCHEDULE": "NoSchedule"}
    return any(
        each["key"] == taint["key"]
        and each["effect"] == effects[taint["effect"]]
        and (each.get("operator") == "Exists" or each.get("value") == taint["value"])
        for each in tolerations
    )
