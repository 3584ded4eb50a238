"""The whole chain in this very process: what the command line runs."""

import os
import uuid
from dataclasses import dataclass

import dagster as dg
from dagster._core.instance.ref import InstanceRef  # the public constructors take no overrides

from imgsearch_assets.automation import recorded_version, sighting
from imgsearch_assets.definitions import REFRESH, build_definitions
from imgsearch_assets.environment import read_environment
from imgsearch_assets.launcher import free_pools
from serving.errors import BadSettings, ImgsearchError
from serving.location import open_store

# How an error of our own tree begins in Dagster's records: what it came of is not for people.
_OURS = "serving.errors."
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class RefreshFailed(ImgsearchError):
    """A step or a gate failed; what was live stays live. ``run_id`` is the run in Dagster."""

    def __init__(self, step: str, reason: str, run_id: str) -> None:
        super().__init__(f"{step} failed: {reason.splitlines()[0][:500]}")
        self.step = step
        self.run_id = run_id


@dataclass(frozen=True)
class Refreshed:
    """What a refresh made searchable, and ``seconds`` by step."""

    products: int
    rejected: int
    pictures: int
    indexed: int
    download_failures: int
    recall_at_10_vs_exact: float
    generation: str
    seconds: dict[str, float]
    run_id: str

    def figures(self) -> dict[str, object]:
        return {
            "products": self.products,
            "pictures": self.pictures,
            "indexed": self.indexed,
            "download_failures": self.download_failures,
            "recall_at_10_vs_exact": self.recall_at_10_vs_exact,
            "generation": self.generation,
        }


def run_refresh(instance: dg.DagsterInstance | None = None) -> Refreshed:
    """Make the catalogue searchable; recorded in ``instance``, by default that of ``DAGSTER_HOME``.

    Raises ``BadSettings``, ``BadInput`` and ``Unavailable`` for a catalogue that cannot be read, and
    ``RefreshFailed``.
    """
    environment = read_environment()
    open_store(environment.serving)  # what is wrong with it is said here, and not as a run that never began
    version = environment.warehouse.version()
    if instance is None:
        with quiet_instance() as own:
            return _refresh(own, version, build_definitions(environment))
    return _refresh(instance, version, build_definitions(environment))


def quiet_instance() -> dg.DagsterInstance:
    """The instance of ``DAGSTER_HOME``, but one that leaves this process's terminal to the progress bars."""
    home = os.environ.get("DAGSTER_HOME")
    if home is None:
        raise BadSettings("DAGSTER_HOME is not set; it is the folder dagster below IMGSEARCH_HOME")
    logs = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(home, overrides={"compute_logs": logs}))


def _refresh(instance: dg.DagsterInstance, version: str, definitions: dg.Definitions) -> Refreshed:
    # Before the run: had the catalogue changed meanwhile, the sensor would see another version afterwards.
    if version != recorded_version(instance):
        instance.report_runless_asset_event(sighting(version))
    free_pools(instance)  # of a refresh that was killed: no daemon need be there to do it
    run_id = str(uuid.uuid4())
    result = definitions.resolve_job_def(REFRESH).execute_in_process(
        instance=instance, run_config=_QUIET, run_id=run_id, raise_on_error=False
    )
    if not result.success:
        raise _failure(result)
    found = {
        event.asset_key.path[-1]: event.step_materialization_data.materialization.metadata
        for event in result.all_events
        if event.is_step_materialization and event.asset_key is not None
    }

    def figure(asset: str, name: str) -> int | float | str:
        value = found[asset][name].value
        if not isinstance(value, int | float | str):
            raise TypeError(f"{asset}: {name} is {value!r}")
        return value

    return Refreshed(
        products=int(figure("product_snapshot", "dagster/row_count")),
        rejected=int(figure("product_snapshot", "rejected")),
        pictures=int(figure("product_images", "pictures")),
        indexed=int(figure("ann_index", "products")),
        download_failures=int(figure("product_images", "without_picture")),
        recall_at_10_vs_exact=round(float(figure("ann_index", "recall_at_10_vs_exact")), 4),
        generation=str(figure("ann_index", "generation")),
        seconds={
            str(event.step_key): event.step_success_data.duration_ms / 1000
            for event in result.all_events
            if event.is_step_success
        },
        run_id=run_id,
    )


def _failure(result: dg.ExecuteInProcessResult) -> RefreshFailed:
    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed:
                return RefreshFailed(f"gate {check.check_name}", str(check.description), result.run_id)
    event = next(event for event in result.all_events if event.is_step_failure)
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        reason = data.user_failure_data.description
    else:
        error = data.error
        while error is not None and error.cause is not None and not error.message.startswith(_OURS):
            error = error.cause
        said = error.message.strip().removeprefix(_OURS) if error else "unknown"
        if error is not None and error.message.startswith(_OURS):
            said = said.partition(": ")[2]
        reason = f"{said}; run {result.run_id} in Dagster shows where"
    return RefreshFailed(str(event.step_key), reason, result.run_id)
