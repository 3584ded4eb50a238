"""A run whose process has died is found out, and one that hangs is ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.events import EngineEventData
from dagster._core.launcher import WorkerStatus
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget

from imgsearch_assets.launcher import LocalRunLauncher
from imgsearch_assets.local.services import ROOT


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


@contextmanager
def at_work(instance: dg.DagsterInstance, program: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A run in a process of its own, which has begun."""
    command = [sys.executable, "-c", f"import signal, time; {program}; print(flush=True); time.sleep(60)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        run = instance.create_run_for_job(work)
        instance.report_engine_event("started", run, EngineEventData.in_process(child.pid))
        yield run.run_id, child
        child.kill()


def ended(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    launcher = LocalRunLauncher()
    launcher.register_instance(instance)
    assert launcher.terminate(run_id)
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_run_is_asked_to_end_and_says_itself_how_it_did(instance: dg.DagsterInstance) -> None:
    with at_work(instance, "pass") as (run_id, process):
        assert ended(instance, run_id) is dg.DagsterRunStatus.CANCELING
        process.wait(5)


def test_a_run_that_does_not_end_is_killed(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsearch_assets.launcher.END_S", 0.1)
    with at_work(instance, "signal.signal(signal.SIGINT, signal.SIG_IGN)") as (run_id, process):
        assert ended(instance, run_id) is dg.DagsterRunStatus.CANCELED
        assert process.wait() == -signal.SIGKILL
    (said,) = instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_CANCELED)
    assert said.message == f"Process {process.pid} did not end and was killed."


PROGRAM = """
import sys
import dagster as dg

@dg.op
def nothing(context):
    context.instance.add_run_tags(context.run_id, {{"said": "{said}", "knew": str({knew!r} in sys.modules)}})

@dg.job(executor_def=dg.in_process_executor)
def work():
    nothing()

defs = dg.Definitions(jobs=[work])
"""
IMPORTED = "imgsearch_assets.definitions"


@pytest.mark.slow
def test_a_run_has_the_pipeline_imported_unless_its_code_was_loaded_anew(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    settings = {"run_launcher": {"module": "imgsearch_assets.launcher", "class": "LocalRunLauncher"}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({**settings, "telemetry": {"enabled": False}}))

    def ran(workspace: WorkspaceProcessContext) -> dict[str, str]:
        """What a run says of itself."""
        request = workspace.create_request_context()
        (location,) = request.code_locations
        job = location.get_repository("__repository__").get_full_job("work")
        run = workspace.instance.create_run_for_job(
            work,
            remote_job_origin=job.get_remote_origin(),
            job_code_origin=job.get_python_origin(),
        )
        workspace.instance.launch_run(run.run_id, request)
        while not (found := workspace.instance.get_run_by_id(run.run_id)) or not found.is_finished:
            time.sleep(0.05)
        assert found.status is dg.DagsterRunStatus.SUCCESS
        return {name: found.tags[name] for name in ("said", "knew")}

    def write(said: str) -> None:
        program.write_text(PROGRAM.format(said=said, knew=IMPORTED))

    write("first")
    target = PythonFileTarget(str(program), None, str(tmp_path), None)
    with (
        dg.DagsterInstance.from_config(str(tmp_path)) as instance,
        WorkspaceProcessContext(instance, target) as workspace,
    ):
        assert ran(workspace) == {"said": "first", "knew": "True"}
        write("second")
        workspace.reload_code_location(program.name)
        assert ran(workspace) == {"said": "second", "knew": "False"}


def test_dagster_yaml_names_it() -> None:
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    assert settings["run_launcher"] == {
        "module": LocalRunLauncher.__module__,
        "class": LocalRunLauncher.__name__,
    }
    assert LocalRunLauncher().supports_check_run_worker_health
    assert settings["run_monitoring"]["enabled"]
