"""The pipeline of a small shop on the twin, as Dagster's chart has it by the values of ``k8s/dagster``."""

import contextlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import dagster._daemon  # before the scheduler, which imports it
import pytest
import yaml
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster._scheduler.scheduler import launch_scheduled_runs

from imgsearch_assets.local.processes import answers, free_port
from imgsearch_assets.local.services import ROOT
from tests.forked import start_server
from tests.k8s.forked import start
from tests.k8s.kubelet import Json, Process
from tests.k8s.rendering import dagster_values, told_dagster
from tests.k8s.twin import NAMESPACE, Twin, twin_at
from tests.pipeline import MISMATCH, PRODUCTS, Shop
from tests.postgres_process import PostgresProcess
from tests.running import until

CPU_IMAGE = "registry.example/pipeline-cpu@sha256:1"
GPU_IMAGE = "registry.example/pipeline-gpu@sha256:2"
PARTS = 2
OPEN = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


class Cluster:
    """A shop whose runs are pods of ``twin``, with Dagster's daemon and code server beside it."""

    def __init__(self, shop: Shop, twin: Twin, postgres_url: str, **settings: str) -> None:
        self.shop, self.twin = shop, twin
        self._home = shop.home
        self._values = dagster_values()
        self._port = free_port()
        told = {name: value for name, value in shop.environment.items() if name != "IMGSEARCH_REDIS_URL"}
        self.environment = {
            **told,
            "IMGSEARCH_STEPS": "pods",
            "IMGSEARCH_ENGINE": "torch",  # which is ready at once
            "IMGSEARCH_GPU_IMAGE": GPU_IMAGE,
            "IMGSEARCH_PART_PICTURES": str(PRODUCTS // PARTS),
            "DAGSTER_POSTGRES_URL": postgres_url,
            **settings,
        }
        self.secret = {"IMGSEARCH_REDIS_URL": shop.redis.url}
        twin.say("configmaps", "settings", self.environment)
        twin.say("secrets", "pipeline", self.secret)
        (shop.dagster / "dagster.yaml").write_text(yaml.safe_dump(self._dagster_yaml()))
        self._processes: list[Process] = []

    def _dagster_yaml(self) -> Json:
        """As the chart writes it, but for where API and records are, and how often runs are looked at."""
        launcher = {
            _snake(key): it for key, it in self._values["runLauncher"]["config"]["k8sRunLauncher"].items()
        }
        launcher["run_k8s_config"] = {_snake(key): it for key, it in launcher["run_k8s_config"].items()}
        launcher |= {
            "load_incluster_config": False,
            "kubeconfig_file": str(self._home / "kubeconfig"),
            "job_namespace": NAMESPACE,
            "service_account_name": self._values["global"]["serviceAccountName"],
            "instance_config_map": "dagster-instance",
            "dagster_home": str(self.shop.dagster),
            "env_config_maps": ["settings"],
        }
        config = told_dagster(self._values)
        config["run_monitoring"] = {**config["run_monitoring"], "poll_interval_seconds": 2}
        return {
            **config,
            **yaml.safe_load((ROOT / "dagster.postgres.yaml").read_text()),
            "telemetry": {"enabled": False},
            "run_launcher": {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": launcher},
        }

    def start(self, *sensors: str) -> None:
        """The code server and the daemon; of its sensors those of these names are on."""
        location = self._values["dagster-user-deployments"]["deployments"][0]
        context = {
            "env_secrets": [one["name"] for one in location["envSecrets"]],
            "volumes": location["volumes"],
            "volume_mounts": location["volumeMounts"],
            "resources": location["resources"],
            "service_account_name": self._values["global"]["serviceAccountName"],
            "namespace": NAMESPACE,
        }
        environment = {**base(), **self.environment, **self.secret, "DAGSTER_CURRENT_IMAGE": CPU_IMAGE}
        server = ["dagster", "api", "grpc", *location["dagsterApiGrpcArgs"], "--host", "127.0.0.1"]
        server += ["--port", str(self._port), "--container-context", json.dumps({"k8s": context})]
        workspace = self._home / "workspace.yaml"
        where = {"host": "127.0.0.1", "port": self._port, "location_name": "imgsearch"}
        workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": where}]}))
        self._processes.append(start(server, environment, self._home / "server.log"))
        until(answers(self._port), "a code server")
        with self.workspace() as there:
            for sensor in _sensors(there):
                if sensor.name not in sensors:
                    there.instance.stop_sensor(sensor.get_remote_origin_id(), sensor.selector_id, sensor)
        daemon = ["dagster-daemon", "run", "-w", str(workspace)]
        self._processes.append(start(daemon, environment, self._home / "daemon.log"))

    def switch(self, sensor: str) -> None:
        """On; returns when it has looked once."""
        with self.workspace() as workspace:
            (found,) = (one for one in _sensors(workspace) if one.name == sensor)
            workspace.instance.start_sensor(found)
            until(
                lambda: workspace.instance.get_ticks(found.get_remote_origin_id(), found.selector_id),
                f"a look of {sensor}",
            )

    def close(self) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)

    @contextlib.contextmanager
    def workspace(self) -> Iterator[WorkspaceProcessContext]:
        target = GrpcServerTarget(host="127.0.0.1", port=self._port, socket=None, location_name="imgsearch")
        with self.shop.instance() as instance, WorkspaceProcessContext(instance, target) as found:
            yield found

    def pods_of(self, run_id: str) -> dict[str, list[Json]]:
        """The pods as they were made for a run, by step; the run's own is ``""``."""
        found: dict[str, list[Json]] = {}
        for pod in self.twin.rendered:
            labels = pod["metadata"]["labels"]
            if labels["dagster/run-id"] == run_id:
                found.setdefault(labels.get("dagster/op", ""), []).append(pod)
        return found


def _sensors(workspace: WorkspaceProcessContext) -> list[Any]:
    (location,) = workspace.create_request_context().code_locations
    return location.get_repository("__repository__").get_sensors()


def tick_the_schedule(workspace: WorkspaceProcessContext) -> None:
    """As at four in the morning; the queue has the runs then."""
    log, times = logging.getLogger("schedule"), {}
    now = datetime.now(UTC)
    with ThreadPoolExecutor(1) as threads:
        for at in (now, now + timedelta(days=1)):
            futures: dict[str, Any] = {}
            list(launch_scheduled_runs(workspace, log, at, times, threads, scheduler_run_futures=futures))
            for future in futures.values():
                future.result()


def base() -> Mapping[str, str]:
    """What every image has in its environment."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": MISMATCH,
    }


@contextlib.contextmanager
def cluster_at(home: Path, **settings: str) -> Iterator[Cluster]:
    """With a catalogue of ``PRODUCTS`` products; nothing has run yet."""
    start_server()  # else it would have the shop's environment
    postgres = PostgresProcess()
    with pytest.MonkeyPatch.context() as patch, twin_at(home, base(), start) as twin:
        patch.setenv("DAGSTER_HOME", "")
        patch.setenv("DAGSTER_POSTGRES_URL", postgres.url)
        shop = Shop(home)
        cluster = Cluster(shop, twin, postgres.url, **settings)
        try:
            shop.write(range(PRODUCTS))
            yield cluster
        finally:
            cluster.close()
            shop.close()
    postgres.close()


def _snake(name: str) -> str:
    return re.sub("([A-Z])", lambda found: f"_{found[1].lower()}", name)
