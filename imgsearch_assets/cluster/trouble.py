"""Why the pod of a step does not work, in a sentence with the mend. No IO."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

DECLARED = "imgsearch_assets/graph/pods.py"
# A node may have to come first, and then its driver and the image.
PATIENCE = timedelta(minutes=15)
# So long a registry may refuse a node that has just come, whose rights are not known everywhere yet.
SETTLED = timedelta(minutes=3)
_PULLING = {"ErrImagePull", "ImagePullBackOff"}
_NO_IMAGE = {"InvalidImageName", "ErrImageNeverPull"}
_NOT_MADE = {"CreateContainerConfigError", "CreateContainerError"}
# What registries and container runtimes say of an image that will not come by waiting.
_FOR_GOOD = ("not found", "manifest unknown", "denied", "unauthorized", "forbidden", "invalid reference")


@dataclass(frozen=True)
class Trouble:
    """``hopeless`` is what another pod would meet as well."""

    sentence: str
    hopeless: bool


def trouble_of(pod: Any, now: datetime) -> Trouble | None:
    """Of a pod (``V1Pod``) that has not ended; None where it works, or may yet begin to."""
    waited = now - _placed_at(pod)
    late = waited > PATIENCE
    for container in _statuses(pod):
        waiting = container.state.waiting if container.state else None
        if waiting is None:
            continue
        said, reason = waiting.message or waiting.reason or "", waiting.reason or ""
        refused = waited > SETTLED and any(word in said.lower() for word in _FOR_GOOD)
        pulling = reason in _PULLING and (late or refused)
        if pulling or reason in _NO_IMAGE:
            return Trouble(
                f"the image {container.image} cannot be pulled ({said}): push it, or name one that is there "
                "(IMGSEARCH_GPU_IMAGE, or the image of the code location)",
                hopeless=True,
            )
        if reason in _NOT_MADE and late:
            return Trouble(
                f"the pod cannot be made ({said}): create what it names, as k8s/README.md says",
                hopeless=True,
            )
    if (
        pod.status.phase == "Pending"
        and pod.spec.node_name
        and waited > 2 * PATIENCE
        and not _initializing(pod)
    ):
        return Trouble(
            f"the pod did not start in {2 * PATIENCE.seconds // 60} minutes on its node: "
            f"`kubectl describe pod {pod.metadata.name}` says what it waits for",
            hopeless=True,
        )
    if pod.status.phase == "Pending" and late and not pod.spec.node_name:
        return Trouble(
            f"no node took the pod in {PATIENCE.seconds // 60} minutes ({_unscheduled(pod)}): let the node "
            f"pool grow, or ask for less in {DECLARED}",
            hopeless=True,
        )
    return None


def end_of(pod: Any | None) -> Trouble:
    """Why a pod ended without a word of its step: what is tried again."""
    if pod is None:
        return Trouble("its pod is gone: the node was lost, or drained", hopeless=False)
    if pod.status.phase == "Running":
        return Trouble("its pod is no longer heard of: its node does not answer", hopeless=False)
    for container in _statuses(pod):
        ended = container.state.terminated if container.state else None
        if ended is not None and ended.reason == "OOMKilled":
            return Trouble(
                f"its pod was killed for want of memory (limit {_limit(pod, container.name)}): more is given "
                f"in {DECLARED}",
                hopeless=False,
            )
        if ended is not None and ended.exit_code:
            return Trouble(
                f"its pod ended with status {ended.exit_code} ({ended.reason or 'no reason given'})",
                hopeless=False,
            )
    reason = pod.status.reason or pod.status.message or pod.status.phase
    return Trouble(f"its pod ended: {reason}", hopeless=False)


def _placed_at(pod: Any) -> datetime:
    """When it got a node; without one, when it was made."""
    for condition in pod.status.conditions or ():
        if condition.type == "PodScheduled" and condition.status == "True" and condition.last_transition_time:
            return condition.last_transition_time  # type: ignore[no-any-return]
    return pod.metadata.creation_timestamp  # type: ignore[no-any-return]


def _initializing(pod: Any) -> bool:
    return any(one.state and one.state.running for one in pod.status.init_container_statuses or ())


def _limit(pod: Any, name: str) -> str:
    containers = (*(pod.spec.init_containers or ()), *pod.spec.containers)
    asked = next((one.resources for one in containers if one.name == name), None)
    return str(((asked and asked.limits) or {}).get("memory", "that of the node"))


def _statuses(pod: Any) -> list[Any]:
    status = pod.status
    return [*(status.init_container_statuses or ()), *(status.container_statuses or ())]


def _unscheduled(pod: Any) -> str:
    for condition in pod.status.conditions or ():
        if condition.type == "PodScheduled" and condition.message:
            return str(condition.message)
    return "the scheduler says nothing"
