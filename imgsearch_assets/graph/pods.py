"""The pods of steps that have one of their own: size, place, kernel, what runs before; by asset. No IO.

Steps that are not named here are short and run in the pod of their run: a pod costs 20 to 40 seconds
(``docs/adr/0010-steps-as-pods.md``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# As every pod of k8s/base; `restricted`, as Kubernetes' Pod Security Standards call it.
_CONTAINER: Mapping[str, Any] = {
    "allow_privilege_escalation": False,
    "read_only_root_filesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
_USER = 65532
_POD: Mapping[str, Any] = {
    "run_as_non_root": True,
    "run_as_user": _USER,
    "run_as_group": _USER,
    "fs_group": _USER,
    "seccomp_profile": {"type": "RuntimeDefault"},
}
_POOL = "imgsearch/pool"  # label and taint of a node pool (k8s/README.md)
_GPU = "nvidia.com/gpu"
# What a step may write to beside IMGSEARCH_HOME: its root cannot be written.
_SCRATCH = "/tmp"  # noqa: S108 a volume of the pod's own
_SHARED = "/dev/shm"  # noqa: S108 the same, in memory


# Before Dagster's arguments. A node that is drained or preempted asks its pods to end. Dagster would make a
# failure of the step of it, which nobody tries again; one that ends without a word has another.
UNTIL_KILLED = ("sh", "-c", '"$@" & step=$!; trap "kill -9 $step" TERM; wait $step', "sh")


@dataclass(frozen=True)
class Init:
    """A container that has to end well before the step starts, restricted as the step is."""

    name: str
    command: tuple[str, ...]
    image: str | None = None  # the step's own


@dataclass(frozen=True)
class Pod:
    """What the pod of a step asks for; quantities as Kubernetes writes them.

    ``disk`` is ephemeral storage. ``pool`` is a node pool that takes nobody else; without one any node will
    do that takes everybody. ``sysctls`` are kernel parameters of the pod alone: those that ``restricted``
    permits, which need no privilege. What belongs to a node (``vm.*``, ``fs.*``) is the node pool's.
    """

    cpu: str
    memory: str
    disk: str
    gpus: int = 0
    pool: str | None = None
    shared_memory: str | None = None
    sysctls: Mapping[str, str] = field(default_factory=dict)
    init: tuple[Init, ...] = ()

    def config(self, image: str | None = None) -> dict[str, Any]:
        """As dagster-k8s takes it; ``image`` instead of the run's."""
        size = {"memory": self.memory, "ephemeral-storage": self.disk}
        size |= {_GPU: str(self.gpus)} if self.gpus else {}
        resources = {"requests": {"cpu": self.cpu, **size}, "limits": {"cpu": self.cpu, **size}}
        volumes: dict[str, Any] = {_SCRATCH: {"name": "scratch", "empty_dir": {}}}
        if self.shared_memory:
            volumes[_SHARED] = {
                "name": "shared-memory",
                "empty_dir": {"medium": "Memory", "size_limit": self.shared_memory},
            }
        mounts = [{"name": volume["name"], "mount_path": path} for path, volume in volumes.items()]
        own = {"image": image} if image else {}
        return {
            "container_config": {
                **own,
                "command": list(UNTIL_KILLED),
                "resources": resources,
                "security_context": dict(_CONTAINER),
                "volume_mounts": mounts,
            },
            # What it has done so far is kept, but a node is not taken away to save a little meanwhile.
            "pod_template_spec_metadata": {
                "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
            },
            "pod_spec_config": {
                "security_context": {**_POD, **self._sysctls()},
                "automount_service_account_token": False,  # it works for the run, and starts nothing
                "volumes": list(volumes.values()),
                **self._place(),
                **({"init_containers": [self._init(one, image) for one in self.init]} if self.init else {}),
            },
        }

    def _sysctls(self) -> dict[str, Any]:
        said = [{"name": name, "value": value} for name, value in self.sysctls.items()]
        return {"sysctls": said} if said else {}

    def _place(self) -> dict[str, Any]:
        if self.pool is None:
            return {}
        tolerated = [{"key": _POOL, "operator": "Equal", "value": self.pool, "effect": "NoSchedule"}]
        if self.gpus:
            tolerated.append({"key": _GPU, "operator": "Exists", "effect": "NoSchedule"})
        return {"node_selector": {_POOL: self.pool}, "tolerations": tolerated}

    def _init(self, one: Init, image: str | None) -> dict[str, Any]:
        small = {"cpu": "100m", "memory": "256Mi", "ephemeral-storage": "64Mi"}
        return {
            "name": one.name,
            "image": one.image or image,
            "command": list(one.command),
            "resources": {"requests": small, "limits": small},
            "security_context": dict(_CONTAINER),
        }


# Connections (Dagster's records, a bucket) are idle while a step computes, and Google's network forgets one
# that says nothing for ten minutes.
_STAY_CONNECTED = {
    "net.ipv4.tcp_keepalive_time": "60",
    "net.ipv4.tcp_keepalive_intvl": "60",
    "net.ipv4.tcp_keepalive_probes": "5",
}
FEATURES = Pod("3", "11Gi", "24Gi", gpus=1, pool="gpu", sysctls=_STAY_CONNECTED)
# All vectors of the catalogue are in memory, twice where a base is built: docs/capacity.md says how much.
INDEX = Pod("4", "24Gi", "48Gi", sysctls=_STAY_CONNECTED)
# Processes that load pictures hand them on in shared memory, of which a pod has 64 MiB by itself.
TRAINING = Pod("7", "24Gi", "96Gi", shared_memory="4Gi", sysctls=_STAY_CONNECTED)

PODS: Mapping[str, Pod] = {
    "item_detections": FEATURES,
    "item_embeddings": FEATURES,
    "ann_index": INDEX,
    "training_dataset": TRAINING,
    "trained_detector": TRAINING,
    "trained_embedder": TRAINING,
}
# Of some assets it is a part that has the pod, and there may be many such (assets/parts.py): their ops.
PARTS: Mapping[str, str] = {"item_detections": "detections_part", "item_embeddings": "embeddings_part"}


def pods_by_op() -> dict[str, Pod]:
    """The pod of every op that has one."""
    return {PARTS.get(asset, asset): pod for asset, pod in PODS.items()}
