"""What is declared of pods is what Kubernetes takes, within what ``restricted`` permits."""

from typing import Any

import kubernetes_validate
import pytest
from kubernetes.client import ApiClient

from imgsearch_assets.definitions import defs
from imgsearch_assets.graph.pods import PARTS, PODS, Init, Pod, pods_by_op

# Kubernetes' Pod Security Standards 1.36, `restricted`: others need a privilege, or belong to the node.
SAFE_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
}
ALL = Pod(
    "2",
    "4Gi",
    "8Gi",
    gpus=1,
    pool="gpu",
    shared_memory="1Gi",
    sysctls={"net.ipv4.tcp_fin_timeout": "15"},
    init=(
        Init("warm-up", ("python", "-m", "serving", "--help")),
        Init("other", ("true",), "shop/other@sha256:1"),
    ),
)


def job(pod: Pod) -> dict[str, Any]:
    """As dagster-k8s makes it."""
    from dagster_k8s.job import DagsterK8sJobConfig, UserDefinedDagsterK8sConfig, construct_dagster_k8s_job

    told = UserDefinedDagsterK8sConfig.from_dict(pod.config("shop/gpu@sha256:1"))
    config = DagsterK8sJobConfig(job_image="shop/cpu@sha256:1", dagster_home="/opt/dagster")
    made = construct_dagster_k8s_job(config, ["true"], "one", told)
    return dict(ApiClient().sanitize_for_serialization(made))


@pytest.mark.filterwarnings("ignore:Found version mismatch")
@pytest.mark.parametrize("pod", [ALL, *PODS.values()])
def test_kubernetes_takes_what_is_declared_and_restricted_permits_it(pod: Pod) -> None:
    made = job(pod)
    kubernetes_validate.validate(made, "1.36", strict=True)
    spec = made["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {one["name"] for one in spec["securityContext"].get("sysctls", ())} <= SAFE_SYSCTLS
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"memory", "ephemeral-storage", "cpu"} <= container["resources"]["limits"].keys()
    assert {volume["name"] for volume in spec["volumes"] if "emptyDir" not in volume} == set()


@pytest.mark.filterwarnings("ignore:Found version mismatch")
def test_all_that_may_be_declared_is_rendered() -> None:
    spec = job(ALL)["spec"]["template"]["spec"]
    first, second = spec["initContainers"]
    assert (first["image"], first["command"]) == ("shop/gpu@sha256:1", ["python", "-m", "serving", "--help"])
    assert second["image"] == "shop/other@sha256:1"
    (container,) = spec["containers"]
    size = {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "8Gi", "nvidia.com/gpu": "1"}
    assert container["resources"] == {"requests": size, "limits": size}
    assert {one["mountPath"]: one["name"] for one in container["volumeMounts"]} == {
        "/tmp": "scratch",
        "/dev/shm": "shared-memory",
    }
    shared = {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}
    assert shared in spec["volumes"]
    assert spec["securityContext"]["sysctls"] == [{"name": "net.ipv4.tcp_fin_timeout", "value": "15"}]
    assert spec["nodeSelector"] == {"imgsearch/pool": "gpu"}


def test_only_who_asks_for_a_gpu_may_be_on_such_a_node() -> None:
    for pod in PODS.values():
        assert (pod.gpus > 0) == (pod.pool == "gpu")


def test_pods_are_of_assets_that_there_are_and_shown_on_them() -> None:
    shown = {
        spec.key.to_user_string(): spec.metadata["pod"].value
        for spec in defs.resolve_all_asset_specs()
        if "pod" in spec.metadata
    }
    assert shown == {name: pod.config() for name, pod in PODS.items()}
    assert PARTS.keys() <= PODS.keys()
    assert pods_by_op().keys() == {PARTS.get(name, name) for name in PODS}
