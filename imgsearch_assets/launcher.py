"""Starting runs on one machine, as Dagster does by default, and finding out when one has died."""

import dagster as dg
import psutil
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus


class LocalRunLauncher(DefaultRunLauncher):
    """The default launcher, which cannot tell whether a run's process is still there; this one can.

    Without that, a run that was killed (no memory, a reboot) would be in progress for ever, and with one run
    at a time nothing would ever start again.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        started = self._instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
        pids = [(pid, entry.timestamp) for entry in started if (pid := _pid(entry)) is not None]
        if not pids:
            return CheckRunHealthResult(WorkerStatus.UNKNOWN, "the run has not said which process it is")
        pid, said_at = pids[-1]
        if _lives(pid, said_at):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, f"process {pid} is gone")


def _pid(entry: dg.EventLogEntry) -> int | None:
    """The process that an entry of the log says the run is in."""
    event = entry.dagster_event
    if event is None or not event.is_engine_event:
        return None
    said = event.engine_event_data.metadata.get("pid")
    return None if said is None else int(str(said.value))


def _lives(pid: int, said_at: float) -> bool:
    """Whether that process is still there, and not a later one that was given its number.

    ``said_at``, seconds since 1970, is when it spoke; when it began is known to a second.
    """
    try:
        process = psutil.Process(pid)
        return process.create_time() <= said_at + 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
