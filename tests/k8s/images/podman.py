"""Podman with a storage, networks and settings of its own, below one folder that goes with it."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import pytest

# Of Debian; `make test` installs their packages where it may.
PROGRAMS = ("podman", "runc", "debootstrap", "catatonit", "iptables")
NETWORK = "imgsearch"


class Podman:
    """At ``root``, whose path has to be short. Runs as root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "tmp").mkdir()
        (root / "containers.conf").write_text(
            "[containers]\n"
            # More than the machine itself may is an error, and some may less than podman's default.
            'default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n'
            "[engine]\n"
            'runtime = "runc"\n'  # crun does without cgroups of version 1
            'events_logger = "file"\n'
            f'tmp_dir = "{root}/engine"\n'
            "[network]\n"
            'network_backend = "netavark"\n'
            f'network_config_dir = "{root}/networks"\n'
        )
        (root / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{root}/graph"\nrunroot = "{root}/run"\n'
        )
        self._environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(root),
            "TMPDIR": str(root / "tmp"),
            "CONTAINERS_CONF": str(root / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(root / "storage.conf"),
        }

    def __call__(
        self,
        *arguments: str | Path,
        stdin: IO[bytes] | None = None,
        said: str | None = None,
        timeout_s: float = 120,
    ) -> str:
        """What it printed, told ``said`` or what ``stdin`` has. A failure of it is one of the test."""
        run = self._run(arguments, stdin, said, timeout_s)
        if run.returncode:
            told = (run.stdout + run.stderr)[-6000:]
            pytest.fail(f"podman {arguments[0]} ended with {run.returncode}:\n{told}")
        return run.stdout

    def refused(self, *arguments: str | Path) -> str:
        """All that it said when it failed, as it has to."""
        run = self._run(arguments)
        assert run.returncode, run.stdout
        return run.stdout + run.stderr

    def _run(
        self,
        arguments: Sequence[str | Path],
        stdin: IO[bytes] | None = None,
        said: str | None = None,
        timeout_s: float = 120,
    ) -> "subprocess.CompletedProcess[str]":
        given: dict[str, Any] = {"input": said} if said is not None else {"stdin": stdin}
        return subprocess.run(
            ["podman", *arguments],
            **given,
            capture_output=True,
            text=True,
            errors="replace",
            env=self._environment,
            timeout=timeout_s,
        )

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        (found,) = json.loads(self(kind, "inspect", name))
        return dict(found)

    def address(self, pod: str) -> str:
        """Where this machine reaches a pod."""
        infra = json.loads(self("pod", "inspect", pod))["InfraContainerID"]
        return str(self.inspect("container", infra)["NetworkSettings"]["Networks"][NETWORK]["IPAddress"])

    def close(self) -> None:
        for command in (
            ["pod", "rm", "--all", "--force", "--time", "0"],
            ["rm", "--all", "--force", "--time", "0"],
            ["network", "rm", "--force", NETWORK],
        ):
            subprocess.run(["podman", *command], capture_output=True, env=self._environment, timeout=120)
        # A build that was stopped leaves some mounted.
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for point in sorted((each for each in mounted if Path(each).is_relative_to(self.root)), reverse=True):
            subprocess.run(["umount", "--lazy", point], capture_output=True)
        shutil.rmtree(self.root, ignore_errors=True)
