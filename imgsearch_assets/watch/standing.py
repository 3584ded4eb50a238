"""How every asset stands: made when, to be made by which run, in time or late, past its gates or not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)
from dagster._core.storage.tags import WILL_RETRY_TAG
from dagster_shared.error import SerializableErrorInfo

_Event = dg.DagsterEventType
_Status = dg.DagsterRunStatus
_FAILED, _PLANNED = AssetCheckExecutionRecordStatus.FAILED, AssetCheckExecutionRecordStatus.PLANNED
# Of a run that is not in work, though it will be.
_WAITS = {
    _Status.NOT_STARTED: "waits for its turn",
    _Status.QUEUED: "waits for its turn",
    _Status.FAILURE: "will be tried again",
}


@dataclass(frozen=True)
class Standing:
    """Of one asset. ``run`` is the last that was to make it, ``made`` whether it was made since then.

    ``gates`` are its blocking checks that failed, with what they said; ``unsaid`` those that have no verdict.
    What is not made ``by_itself`` waits for somebody to start it.
    """

    name: str
    policy: dg.FreshnessPolicy | None = None
    freshness: FreshnessState | None = None
    freshness_since: float | None = None
    made_at: float | None = None
    made_by: str | None = None
    run: dg.DagsterRun | None = None
    run_ended_at: float | None = None
    made: bool = True
    gates: Mapping[str, AssetCheckExecutionRecord] = field(default_factory=dict)
    unsaid: frozenset[str] = frozenset()
    parents: tuple[str, ...] = ()
    by_itself: bool = True

    @property
    def failed(self) -> bool:
        """Whether its last run failed for the last time, before it was made."""
        return (
            not self.made
            and self.run is not None
            and self.run.status is _Status.FAILURE
            and self.run.tags.get(WILL_RETRY_TAG) != "true"
        )

    @property
    def in_work(self) -> bool:
        """Whether a run is under way that will make it, or will be tried again."""
        if self.made or self.run is None:
            return False
        return not self.run.is_finished or (self.run.status is _Status.FAILURE and not self.failed)

    @property
    def late(self) -> bool:
        return self.freshness is FreshnessState.FAIL


def standings(instance: dg.DagsterInstance, graph: AssetGraph) -> dict[str, Standing]:
    """Of every asset that is made here, by its name, what is upstream first."""
    keys = [key for key in graph.toposorted_asset_keys if graph.get(key).is_materializable]
    records = {record.asset_entry.asset_key: record for record in instance.get_asset_records(keys)}
    fresh = instance.get_freshness_state_records(keys)
    blocking = [key for key in graph.asset_check_keys if graph.get_check_spec(key).blocking]
    checks = instance.event_log_storage.get_latest_asset_check_execution_by_key(blocking)
    runs: dict[str, dg.RunRecord | None] = {}
    found = {}
    for key in keys:
        node = graph.get(key)
        entry = records[key].asset_entry if key in records else None
        event = entry.last_materialization if entry else None
        made_id = (entry.last_materialization_storage_id if entry else None) or 0
        planned = instance.event_log_storage.get_latest_planned_materialization_info(key)
        if planned and planned.run_id not in runs:
            runs[planned.run_id] = instance.get_run_record_by_id(planned.run_id)
        run = runs[planned.run_id] if planned else None
        state = fresh.get(key)
        own = {check.name: checks.get(check) for check in blocking if check.asset_key == key}
        found[key.to_user_string()] = Standing(
            name=key.to_user_string(),
            policy=node.freshness_policy_or_from_metadata,
            freshness=state.freshness_state if state else None,
            freshness_since=state.updated_at.timestamp() if state else None,
            made_at=event.timestamp if event else None,
            made_by=event.run_id or None if event else None,
            run=run.dagster_run if run else None,
            run_ended_at=run.end_time if run else None,
            made=planned is None or made_id > planned.storage_id,
            gates={name: check for name, check in own.items() if check is not None and _blocked(check)},
            unsaid=frozenset(
                name for name, check in own.items() if check is None or check.status is _PLANNED
            ),
            by_itself=node.automation_condition is not None,
            parents=tuple(sorted(parent.to_user_string() for parent in node.parent_keys)),
        )
    return found


def _blocked(check: AssetCheckExecutionRecord) -> bool:
    return (
        check.status is _FAILED
        and check.evaluation is not None
        and check.evaluation.severity is dg.AssetCheckSeverity.ERROR
    )


def at_fault(found: Mapping[str, Standing]) -> Iterator[Standing]:
    """Of what failed, that with which each run's failure began: not what waited for it, nor for a gate."""
    for one in found.values():
        if not one.failed or one.run is None:
            continue
        before = [found[name] for name in one.parents if name in found]
        waited = any(parent.failed and parent.run == one.run for parent in before)
        run_id = one.run.run_id
        stopped = any(check.run_id == run_id for parent in before for check in parent.gates.values())
        if not waited and not stopped:
            yield one


def upstream(found: Mapping[str, Standing], name: str) -> list[Standing]:
    """Whatever ``name`` is made of, the deepest first, and itself last."""
    wanted = {name}
    for one in reversed(list(found.values())):
        if one.name in wanted:
            wanted.update(one.parents)
    return [one for one in found.values() if one.name in wanted]


def held_up_by(
    instance: dg.DagsterInstance, found: Mapping[str, Standing], name: str
) -> tuple[str, str | None]:
    """The deepest upstream asset that is in the way of ``name``, and why; the id of the run that shows it."""
    for one in upstream(found, name):
        said = _in_the_way(instance, one)
        if said is not None and (one.name != name or one.gates or one.failed or one.in_work):
            return said
    why = (
        "does the Dagster daemon run?" if found[name].by_itself else "it waits for somebody to start its job"
    )
    return f"nothing upstream: no run was to make it since; {why}", found[name].made_by


def _in_the_way(instance: dg.DagsterInstance, one: Standing) -> tuple[str, str | None] | None:
    for gate, check in one.gates.items():
        evaluation = check.evaluation
        why = evaluation.description if evaluation and evaluation.description else "it did not pass"
        return f"{one.name}: its gate {gate} stopped it: {why}", check.run_id
    run = one.run
    if one.failed and run is not None:
        return f"{one.name}: its last run failed: {why_failed(instance, run.run_id)}", run.run_id
    if one.in_work and run is not None:
        return f"{one.name}: its run {_WAITS.get(run.status, 'is in work')}", run.run_id
    if one.late:
        return f"{one.name}, which is late itself, and no run was to make it since", one.made_by
    return None


def why_failed(instance: dg.DagsterInstance, run_id: str) -> str:
    """The sentence with which a run's failure began."""
    for entry in instance.all_logs(run_id, of_type=_Event.STEP_FAILURE):
        event = entry.dagster_event
        if event is not None and event.step_failure_data.error is not None:
            return sentence(event.step_failure_data.error)
    for entry in instance.all_logs(run_id, of_type=_Event.RUN_FAILURE):
        if entry.dagster_event is not None and entry.dagster_event.message:
            return entry.dagster_event.message
    return "it says nothing of why"


def sentence(error: SerializableErrorInfo) -> str:
    """What an error says, without the name of its class and without what Dagster wraps it in."""
    while error.cause is not None and error.message.startswith("dagster._core.errors."):
        error = error.cause
    said = error.message.strip()
    name, _, rest = said.partition(": ")
    return rest if rest and " " not in name else said
