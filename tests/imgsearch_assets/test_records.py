"""Where Dagster keeps its records: in a folder, or in PostgreSQL; several runs write to it at once."""

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.events import EngineEventData
from dagster._core.instance.ref import InstanceRef

from imgsearch_assets.launcher import free_pools
from imgsearch_assets.local.services import ROOT, dagster_home
from tests import busy_run
from tests.pipeline import MISMATCH
from tests.postgres_process import PostgresProcess
from tests.running import until

pytestmark = pytest.mark.slow

AT_ONCE = 5


@dg.job
def nothing() -> None: ...


@pytest.fixture(params=["sqlite", "postgres"])
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installation's ``DAGSTER_HOME``."""
    monkeypatch.setenv("DAGSTER_HOME", "")  # so that it is what it was afterwards
    monkeypatch.setenv("PYTHONWARNINGS", MISMATCH)
    if request.param == "sqlite":
        yield dagster_home(tmp_path)
        return
    postgres = PostgresProcess()
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", postgres.url)
    yield dagster_home(tmp_path)
    postgres.close()


@pytest.mark.filterwarnings(MISMATCH)
def test_runs_at_once_write_their_records_and_wait_for_a_place_in_turn(home: Path) -> None:
    """The place is held as they ask: of a free one Dagster promises nothing, see ``dagster.yaml``."""
    environment = {name: value for name, value in os.environ.items() if name.startswith("DAGSTER")}
    with dg.DagsterInstance.from_config(str(home)) as instance:
        # As `dagster instance concurrency set` does: see dagster.postgres.yaml.
        instance.event_log_storage.set_concurrency_slots(busy_run.POOL, 1)
        holder = instance.create_run_for_job(nothing).run_id
        assert instance.event_log_storage.claim_concurrency_slot(busy_run.POOL, holder, "step").is_claimed
        runs = [busy_run.start(environment) for _ in range(AT_ONCE)]
        until(lambda: len(_waiting(instance) - {holder}) == AT_ONCE, "all of them waiting for the place", 120)
        assert instance.event_log_storage.get_concurrency_info(busy_run.POOL).active_run_ids == {holder}
        instance.event_log_storage.free_concurrency_slots_for_run(holder)
        for run in runs:
            run.join(120)
        assert [run.exitcode for run in runs] == [0] * AT_ONCE
        found = [run for run in instance.get_runs() if run.run_id != holder]
        assert [run.status for run in found] == [dg.DagsterRunStatus.SUCCESS] * AT_ONCE
        for run in found:
            made = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
            assert len(made) == busy_run.ASSETS
        assert instance.event_log_storage.get_concurrency_info(busy_run.POOL).slot_count == 1
        spans = sorted(_span(instance, run.run_id, "busy_0") for run in found)
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
        assert _waiting(instance) == set()


def _waiting(instance: dg.DagsterInstance) -> set[str]:
    """Runs that asked for the place and did not give it back yet."""
    pending = instance.event_log_storage.get_concurrency_info(busy_run.POOL).pending_steps
    return {step.run_id for step in pending}


def _span(instance: dg.DagsterInstance, run_id: str, step: str) -> tuple[float, float]:
    stats = {stats.step_key: stats for stats in instance.get_run_step_stats(run_id)}[step]
    assert stats.start_time
    assert stats.end_time
    return stats.start_time, stats.end_time


@pytest.mark.filterwarnings(MISMATCH)
def test_places_in_pools_of_runs_that_are_gone_are_given_back(home: Path) -> None:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        storage = instance.event_log_storage
        storage.initialize_concurrency_limit_to_default("gpu")
        gone, lives = (instance.create_run_for_job(nothing) for _ in range(2))
        instance.report_engine_event("at work", lives, EngineEventData.in_process(os.getpid()))
        assert storage.claim_concurrency_slot("gpu", gone.run_id, "step").is_claimed
        assert not storage.claim_concurrency_slot("gpu", lives.run_id, "step").is_claimed
        free_pools(instance)
        assert storage.claim_concurrency_slot("gpu", lives.run_id, "step").is_claimed
        free_pools(instance)
        assert storage.get_concurrency_run_ids() == {lives.run_id}


@pytest.mark.filterwarnings(MISMATCH)
def test_places_of_runs_on_other_machines_are_the_daemons(home: Path) -> None:
    overrides = {"run_launcher": {"module": "dagster._core.test_utils", "class": "MockedRunLauncher"}}
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=overrides)) as instance:
        storage = instance.event_log_storage
        storage.initialize_concurrency_limit_to_default("gpu")
        elsewhere = instance.create_run_for_job(nothing)
        instance.report_engine_event("at work", elsewhere, EngineEventData.in_process(2**22))
        assert storage.claim_concurrency_slot("gpu", elsewhere.run_id, "step").is_claimed
        free_pools(instance)
        assert storage.get_concurrency_run_ids() == {elsewhere.run_id}


def test_postgres_is_behind_the_same_settings() -> None:
    one = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    other = yaml.safe_load((ROOT / "dagster.postgres.yaml").read_text())
    assert other == {"storage": {"postgres": {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}}}}
    assert "storage" not in one
    assert one["concurrency"]["pools"] == {"granularity": "op", "default_limit": 1}
