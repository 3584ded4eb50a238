"""A run whose process has died is found out."""

import os
import subprocess
import sys
import time

import dagster as dg
import pytest
import yaml
from dagster._core.events import EngineEventData
from dagster._core.launcher import WorkerStatus

from imgsearch_assets.launcher import LocalRunLauncher
from imgsearch_assets.services import ROOT


@dg.op
def nothing() -> None: ...


@dg.job
def work() -> None:
    nothing()


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


def health(instance: dg.DagsterInstance, pid: int | None) -> tuple[WorkerStatus, str | None]:
    """Of a run that said it is process ``pid``."""
    launcher = LocalRunLauncher()
    launcher.register_instance(instance)
    run = instance.create_run_for_job(work)
    if pid is not None:
        said = EngineEventData(metadata={"pid": str(pid)})
        instance.report_engine_event(f"Started process for run (pid: {pid}).", run, said)
    found = launcher.check_run_worker_health(run)
    return found.status, found.msg


def test_a_run_is_well_while_its_process_lives(instance: dg.DagsterInstance) -> None:
    assert health(instance, os.getpid()) == (WorkerStatus.RUNNING, None)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert health(instance, child.pid) == (WorkerStatus.RUNNING, None)
        child.kill()
        child.wait()
        assert health(instance, child.pid) == (WorkerStatus.NOT_FOUND, f"process {child.pid} is gone")


def test_a_process_that_nobody_has_waited_for_is_gone(instance: dg.DagsterInstance) -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as child:
        while health(instance, child.pid)[0] is WorkerStatus.RUNNING:
            time.sleep(0.01)
        assert child.returncode is None


def test_a_later_process_of_the_same_number_does_not_count(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        monkeypatch.setattr("psutil.Process.create_time", lambda _: time.time() + 60)
        assert health(instance, child.pid)[0] is WorkerStatus.NOT_FOUND
        child.kill()


def test_a_run_that_has_not_said_which_process_it_is(instance: dg.DagsterInstance) -> None:
    assert health(instance, None) == (WorkerStatus.UNKNOWN, "the run has not said which process it is")


def test_dagster_yaml_names_it() -> None:
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    assert settings["run_launcher"] == {
        "module": LocalRunLauncher.__module__,
        "class": LocalRunLauncher.__name__,
    }
    assert LocalRunLauncher().supports_check_run_worker_health
    assert settings["run_monitoring"]["enabled"]
