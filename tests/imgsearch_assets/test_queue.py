"""Which runs wait for which: the queue of ``dagster.yaml``, as the daemon works it off."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from imgsearch_assets.definitions import defs
from imgsearch_assets.local.services import dagster_home

# Nothing is done in a run: that it was started is what counts.
APPROVED = {"config": {"who": "ada", "why": "autumn"}}
ORIGIN = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("imgsearch"), "__repository__")
LAUNCHER = {"run_launcher": {"module": "dagster._core.test_utils", "class": "MockedRunLauncher"}}


class Queue:
    """An instance of Dagster with the repository's settings, and the part of the daemon that starts runs."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    def add(self, job: str, **config: Any) -> str:
        """A run that waits, as whoever starts the job has it."""
        found = defs.resolve_job_def(job)
        run = self._instance.create_run_for_job(
            found,
            run_config={"ops": config} if config else found.run_config,
            tags=found.tags,  # all that `dagster job launch` takes; the UI takes run_tags
            status=dg.DagsterRunStatus.QUEUED,
            remote_job_origin=ORIGIN.get_job_origin(job),
        )
        return run.run_id

    def started(self) -> set[str]:
        """The runs that another look of the daemon starts."""
        before = self._in_work()
        with create_test_daemon_workspace_context(EmptyWorkspaceTarget(), self._instance) as workspace:
            assert not any(QueuedRunCoordinatorDaemon(interval_seconds=1).run_iteration(workspace))
        return self._in_work() - before

    def end(self, run_id: str) -> None:
        run = self._instance.get_run_by_id(run_id)
        assert run is not None
        self._instance.report_run_failed(run)

    def _in_work(self) -> set[str]:
        wanted = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING])
        return {run.run_id for run in self._instance.get_runs(wanted)}


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    monkeypatch.setenv("DAGSTER_HOME", "")  # so that it is what it was afterwards
    home = str(dagster_home(tmp_path))
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(home, overrides=LAUNCHER)) as instance:
        yield Queue(instance)


def test_new_products_do_not_wait_for_a_training_nor_a_training_for_them(queue: Queue) -> None:
    embedder, detector = queue.add("train_embedder"), queue.add("train_detector")
    assert queue.started() == {embedder}
    change, daily = queue.add("catalogue_change"), queue.add("refresh")
    assert queue.started() == {change}
    assert queue.started() == set()
    queue.end(change)
    assert queue.started() == {daily}
    queue.end(embedder)
    assert queue.started() == {detector}


def test_the_catalogue_has_one_run_at_a_time_whatever_started_it(queue: Queue) -> None:
    change, daily = queue.add("catalogue_change"), queue.add("refresh")
    assert queue.started() == {change}
    training, promotion = queue.add("train_detector"), queue.add("promote", production_release=APPROVED)
    assert queue.started() == {training}
    queue.end(change)
    assert queue.started() == {daily}
    queue.end(training)
    assert queue.started() == {promotion}, "a promotion waits for no run of the catalogue, only for a place"
