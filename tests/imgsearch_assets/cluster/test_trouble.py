"""What is said of a pod that does not work."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kubernetes.client import ApiClient, V1Pod

from imgsearch_assets.cluster.trouble import PATIENCE, SETTLED, end_of, trouble_of

MADE = datetime(2026, 11, 29, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SOON, LATE = MADE + timedelta(seconds=5), MADE + PATIENCE + timedelta(seconds=1)
IMAGE = "registry.example/pipeline-gpu@sha256:1"


def pod(
    phase: str = "Pending",
    state: dict[str, Any] | None = None,
    memory: str | None = "12Gi",
    node: str | None = None,
    **more: Any,
) -> V1Pod:
    """With one container in that state."""
    size = {"limits": {"memory": memory} if memory else {}}
    status: dict[str, Any] = {"phase": phase, **more}
    if state is not None:
        status["containerStatuses"] = [
            {
                "name": "dagster",
                "image": IMAGE,
                "imageID": "",
                "ready": False,
                "restartCount": 0,
                "state": state,
            }
        ]
    made = {
        "metadata": {"name": "one", "creationTimestamp": MADE.isoformat()},
        "spec": {"nodeName": node, "containers": [{"name": "dagster", "image": IMAGE, "resources": size}]},
        "status": status,
    }
    client = ApiClient()
    return client._ApiClient__deserialize(made, "V1Pod")


def placed(moment: datetime) -> dict[str, Any]:
    return {"type": "PodScheduled", "status": "True", "lastTransitionTime": moment.isoformat()}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def test_a_pod_that_works_or_may_yet_begin_is_no_trouble() -> None:
    assert trouble_of(pod("Running", {"running": {}}), LATE) is None
    assert trouble_of(pod("Pending"), SOON) is None
    assert trouble_of(pod("Pending", waiting("ContainerCreating")), SOON) is None


@pytest.mark.parametrize(
    "said",
    [f"{IMAGE}: not found", "denied: permission", "401 Unauthorized", "403 Forbidden", "manifest unknown"],
)
def test_an_image_that_will_not_come_is_named_soon(said: str) -> None:
    waits = pod("Pending", waiting("ErrImagePull", said), conditions=[placed(MADE)])
    assert trouble_of(waits, MADE + SETTLED) is None, "the node may be new to the registry"
    found = trouble_of(waits, MADE + SETTLED + SECOND)
    assert found is not None
    assert found.hopeless
    assert found.sentence == (
        f"the image {IMAGE} cannot be pulled ({said}): push it, or name one that is there "
        "(IMGSEARCH_GPU_IMAGE, or the image of the code location)"
    )


def test_a_registry_that_is_away_is_waited_for() -> None:
    away = pod("Pending", waiting("ImagePullBackOff", "dial tcp 10.0.0.1:443: i/o timeout"))
    assert trouble_of(away, SOON) is None
    found = trouble_of(away, LATE)
    assert found is not None
    assert found.sentence.startswith(f"the image {IMAGE} cannot be pulled (dial tcp")


def test_patience_begins_when_a_node_was_found() -> None:
    away = waiting("ImagePullBackOff", "503 Service Unavailable")
    assert trouble_of(pod("Pending", away, conditions=[placed(LATE)]), LATE + SECOND) is None
    assert trouble_of(pod("Pending", away, conditions=[placed(MADE)]), LATE + SECOND) is not None


def test_a_pod_that_never_starts_on_its_node_is_told() -> None:
    waits = pod("Pending", waiting("ContainerCreating"), node="n1", conditions=[placed(MADE)])
    assert trouble_of(waits, MADE + 2 * PATIENCE) is None
    found = trouble_of(waits, MADE + 2 * PATIENCE + SECOND)
    assert found is not None
    assert found.sentence == (
        "the pod did not start in 30 minutes on its node: `kubectl describe pod one` says what it waits for"
    )


@pytest.mark.parametrize("reason", ["CreateContainerConfigError", "CreateContainerError"])
def test_a_secret_that_lacks_is_waited_for_and_then_named(reason: str) -> None:
    lacks = pod("Pending", waiting(reason, 'secret "pipeline" not found'))
    assert trouble_of(lacks, SOON) is None
    found = trouble_of(lacks, LATE)
    assert found is not None
    assert found.sentence == (
        'the pod cannot be made (secret "pipeline" not found): create what it names, as k8s/README.md says'
    )


def test_a_pod_that_no_node_takes_says_why() -> None:
    full = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": full}
    assert trouble_of(pod("Pending", conditions=[condition]), SOON) is None
    found = trouble_of(pod("Pending", conditions=[condition]), LATE)
    assert found is not None
    assert found.sentence == (
        f"no node took the pod in 15 minutes ({full}): let the node pool grow, or ask for less in "
        "imgsearch_assets/graph/pods.py"
    )


@pytest.mark.parametrize(
    ("ended", "sentence"),
    [
        (None, "its pod is gone: the node was lost, or drained"),
        (
            pod("Failed", {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
            "its pod was killed for want of memory (limit 12Gi): more is given in "
            "imgsearch_assets/graph/pods.py",
        ),
        (
            pod("Failed", {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, memory=None),
            "its pod was killed for want of memory (limit that of the node): more is given in "
            "imgsearch_assets/graph/pods.py",
        ),
        (
            pod("Failed", {"terminated": {"exitCode": 3, "reason": "Error"}}),
            "its pod ended with status 3 (Error)",
        ),
        (pod("Failed", reason="Evicted"), "its pod ended: Evicted"),
        (pod("Running", {"running": {}}), "its pod is no longer heard of: its node does not answer"),
    ],
)
def test_a_pod_that_ended_without_a_word_may_have_another(ended: V1Pod | None, sentence: str) -> None:
    found = end_of(ended)
    assert (found.sentence, found.hopeless) == (sentence, False)
