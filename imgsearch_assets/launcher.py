"""Starting runs on one machine, as Dagster does by default; finding out when one has died, and ending one."""

import contextlib
import multiprocessing
import os
import signal

import dagster as dg
import psutil
from dagster._cli.api import execute_run_command
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, LaunchRunContext, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import serialize_value

# A run that is asked to end finishes the call that it is in, such as a batch of pictures. Off the beat of the
# daemon's loops, every 5 s: one that looks for failures as one is written down would not see it.
END_S = 7.0

# Runs are copies of a process that has imported the pipeline, and what Dagster reads its records with: that
# took 3.7 s of each run, and now a quarter of a second of a core.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["imgsearch_assets.definitions", "dagster._core.storage.sqlite_storage"])


class LocalRunLauncher(DefaultRunLauncher):
    """The default launcher, which cannot tell whether a run's process is still there; this one can.

    Without that, a run that was killed (no memory, a reboot) would be in progress for ever, and with one run
    of a kind at a time nothing would ever start again. And runs start at once, with the pipeline imported.
    """

    _imported: dict[str, str] | None = None  # the code server by location, when the pipeline was imported

    def launch_run(self, context: LaunchRunContext) -> None:
        run, servers = context.dagster_run, _code_servers(context)
        self._imported = self._imported or servers
        if run.job_code_origin is None or servers != self._imported:
            # Code was loaded anew since: its own server knows it, what we imported does not.
            super().launch_run(context)
            return
        arguments = ExecuteRunArgs(
            job_origin=run.job_code_origin,
            run_id=run.run_id,
            instance_ref=self._instance.get_ref(),
            set_exit_code_on_failure=None,
        )
        started = _PROCESSES.Process(target=_execute, args=(serialize_value(arguments),))
        started.start()
        started.join()
        self._run_ids.add(run.run_id)

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        said = _said(self._instance, run.run_id)
        if said is None:
            return CheckRunHealthResult(WorkerStatus.UNKNOWN, "the run has not said which process it is")
        if _living(*said):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, f"process {said[0]} is gone")

    def terminate(self, run_id: str) -> bool:
        """Ask the run's process to end, and kill it when it has not within ``END_S``.

        The default asks by way of the code server, which waits for the run to answer, for ever where that
        hangs, and starts no other meanwhile; and a run that is given up and not killed may yet go on.
        """
        run, said = self._instance.get_run_by_id(run_id), _said(self._instance, run_id)
        process = _living(*said) if said else None
        if run is None or run.is_finished or process is None:
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        self._instance.report_run_canceling(run)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)
            try:
                process.wait(END_S)
            except psutil.TimeoutExpired:
                process.kill()
                self._instance.report_run_canceled(run, f"Process {process.pid} did not end and was killed.")
        return True


def free_pools(instance: dg.DagsterInstance) -> None:
    """Give back the places in pools of runs that have ended or died, as the daemon does while it runs.

    Only where runs are on this machine: of those on others nobody here can see whether they live, and a
    daemon that can is beside them.
    """
    if not isinstance(instance.run_launcher, DefaultRunLauncher):
        return
    storage = instance.event_log_storage
    for run_id in storage.get_concurrency_run_ids() if storage.supports_global_concurrency_limits else ():
        run, said = instance.get_run_by_id(run_id), _said(instance, run_id)
        if run is None or run.is_finished or said is None or _living(*said) is None:
            storage.free_concurrency_slots_for_run(run_id)


def _code_servers(context: LaunchRunContext) -> dict[str, str]:
    """The server of each code location; one that is loaded anew has another."""
    locations = context.workspace.code_locations if context.workspace else ()
    return {location.name: str(getattr(location, "server_id", "")) for location in locations}


def _execute(arguments: str) -> None:
    """As ``dagster api execute_run``, in a process that is nobody's child: who ends does not wait for it."""
    if os.fork():
        os._exit(0)
    execute_run_command.main([arguments], standalone_mode=False)


def _said(instance: dg.DagsterInstance, run_id: str) -> tuple[int, float] | None:
    """The process that a run last said it is in, and when (seconds since 1970)."""
    logged = instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    pids = [(pid, entry.timestamp) for entry in logged if (pid := _pid(entry)) is not None]
    return pids[-1] if pids else None


def _pid(entry: dg.EventLogEntry) -> int | None:
    """The process that an entry of the log says the run is in."""
    event = entry.dagster_event
    if event is None or not event.is_engine_event:
        return None
    said = event.engine_event_data.metadata.get("pid")
    return None if said is None else int(str(said.value))


def _living(pid: int, said_at: float) -> psutil.Process | None:
    """That process if it is still there, and not a later one that was given its number.

    ``said_at``, seconds since 1970, is when it spoke; when it began is known to a second.
    """
    try:
        process = psutil.Process(pid)
        same = process.create_time() <= said_at + 1 and process.status() != psutil.STATUS_ZOMBIE
        return process if same else None
    except psutil.NoSuchProcess:
        return None
