"""A node for the twin: it starts the containers of pods as processes of this machine, with their environment.

No image, no network, no mount, no user of its own and no limit of memory: what a container is beside its
command and its environment is not here.
"""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

Json = dict[str, Any]
# What containerd says of an image that is in no registry.
NOT_FOUND = 'failed to pull and unpack image "{0}": failed to resolve reference "{0}": {0}: not found'


class Process(Protocol):
    """A container at work."""

    @property
    def pid(self) -> int: ...

    def wait(self) -> int:
        """Its exit status; negative where a signal ended it."""


# Command, environment and file of its log.
Start = Callable[[Sequence[str], Mapping[str, str], Path], Process]


def start(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Process:
    with log.open("ab") as sink:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env=dict(environment),
            start_new_session=True,
        )


class CannotStart(Exception):
    """``reason`` as a container's state has it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Container:
    """One of a pod: waiting, running or ended."""

    def __init__(self, spec: Json) -> None:
        self.spec = spec
        self.state: Json = {"waiting": {"reason": "PodInitializing"}}
        self._process: Process | None = None
        self._to_end: signal.Signals | None = None
        self._killed_for: str | None = None
        self._lock = threading.Lock()

    def run(self, start: Start, environment: Mapping[str, str], log: Path) -> bool:
        """Whether it ended well."""
        command = [*self.spec.get("command", ()), *self.spec.get("args", ())]
        process = start(command, environment, log)
        with self._lock:
            self._process = process
            self.state = {"running": {}}
        if self._to_end is not None:
            self._signal(self._to_end)
        status = process.wait()
        code = 128 - status if status < 0 else status
        reason = self._killed_for or ("Error" if code else "Completed")
        self.state = {"terminated": {"exitCode": code, "reason": reason}}
        return code == 0

    def kill(self, number: signal.Signals, reason: str | None = None) -> None:
        """With all that it started; at once, or as soon as it is there."""
        with self._lock:
            self._to_end, self._killed_for = number, reason
            begun = self._process is not None and "running" in self.state
        if begun:
            self._signal(number)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        # Its first process alone is asked to end. All are killed, but it may not have its own group yet.
        for end in (os.killpg, os.kill) if number == signal.SIGKILL else (os.kill,):
            with contextlib.suppress(ProcessLookupError):
                end(self._process.pid, number)
                return

    @property
    def status(self) -> Json:
        return {
            "name": self.spec["name"],
            "image": self.spec["image"],
            "imageID": "",
            "ready": "running" in self.state,
            "restartCount": 0,
            "state": self.state,
        }


class Node:
    """Runs the pods that it is given, each in a thread, and tells ``changed`` of every change of one.

    ``base`` is what every image has in its environment; ``images`` are those there are, None for all.
    """

    def __init__(self, folder: Path, base: Mapping[str, str], start: Start = start) -> None:
        self.images: set[str] | None = None
        self._folder, self._base, self._start = folder, dict(base), start
        self._containers: dict[str, dict[str, Container]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, pod: Json, values: Callable[[str, str], Json], changed: Callable[[Json], None]) -> None:
        """Start ``pod``; ``values(kind, name)`` is the data of a ConfigMap or a Secret of its namespace."""
        threading.Thread(target=self._run, args=(pod, values, changed), daemon=True).start()

    def log(self, pod: str, container: str) -> Path:
        return self._folder / f"{pod}.{container}.log"

    def kill(self, pod: str, reason: str | None = None) -> None:
        """Without a word, as the kernel does; ``reason`` is what is told of it."""
        for container in self._containers.get(pod, {}).values():
            container.kill(signal.SIGKILL, reason)

    def end(self, pod: str, grace_s: float) -> None:
        """As when it is deleted."""
        for container in self._containers.get(pod, {}).values():
            container.kill(signal.SIGTERM)
        late = threading.Timer(grace_s, self.kill, (pod,))
        late.daemon = True
        late.start()

    def _run(self, pod: Json, values: Callable[[str, str], Json], changed: Callable[[Json], None]) -> None:
        name, spec = pod["metadata"]["name"], pod["spec"]
        first = [Container(one) for one in spec.get("initContainers", ())]
        last = [Container(one) for one in spec["containers"]]
        self._containers[name] = {one.spec["name"]: one for one in (*first, *last)}

        def tell(phase: str) -> None:
            changed(
                {
                    "phase": phase,
                    "initContainerStatuses": [one.status for one in first],
                    "containerStatuses": [one.status for one in last],
                }
            )

        for container in (*first, *last):
            try:
                environment = self._environment(name, container.spec, values)
                self._pull(container.spec["image"])
            except CannotStart as error:
                container.state = {"waiting": {"reason": error.reason, "message": str(error)}}
                tell("Pending")
                return
            tell("Running" if container in last else "Pending")
            done = container.run(self._start, environment, self.log(name, container.spec["name"]))
            if not done:
                tell("Failed")
                return
        tell("Succeeded")

    def _pull(self, image: str) -> None:
        if self.images is not None and image not in self.images:
            raise CannotStart("ErrImagePull", NOT_FOUND.format(image))

    def _environment(self, pod: str, spec: Json, values: Callable[[str, str], Json]) -> dict[str, str]:
        found = {**self._base, "HOSTNAME": pod}
        for source in spec.get("envFrom", ()):
            for kind, field in (("configmaps", "configMapRef"), ("secrets", "secretRef")):
                if field in source:
                    found |= values(kind, source[field]["name"])
        for one in spec.get("env", ()):
            origin = one.get("valueFrom") or {}
            found[one["name"]] = one.get("value") or ""
            for kind, field in (("configmaps", "configMapKeyRef"), ("secrets", "secretKeyRef")):
                if field in origin:
                    found[one["name"]] = values(kind, origin[field]["name"])[origin[field]["key"]]
        return found
