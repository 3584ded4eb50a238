"""What running the platform costs: a materialization for every run that ended, whoever started it."""

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pyarrow as pa

from imgsearch_assets.graph.costs import Prices, RunCost, cost_of
from imgsearch_assets.graph.steps import preview

EVERY_S = 30
# A sensor that was never there before looks back so far, so that the run that started it all is told, too.
_FIRST_LOOK_S = 24 * 3600.0
# Runs that ended are seen a moment later, and not in their order.
_OVERLAP_S = 60.0
_AT_ONCE = 20
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]

run_cost = dg.AssetSpec(
    "run_cost",
    group_name="operation",
    deps=["staging_release"],
    kinds={"table"},
    description="What every run cost, one that failed as well: seconds by step and class of machine, times "
    "IMGSEARCH_PRICES; and what 1,000 new items cost in it. No run makes it: a sensor reads the records.",
)


def cost_sensor(prices: Prices) -> dg.SensorDefinition:
    """Tells the cost of every run that ended since its last look."""

    @dg.sensor(
        name="run_costs",
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Adds up the seconds of the runs that ended.",
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        cursor = json.loads(context.cursor or "{}")
        since, told = cursor.get("since", time.time() - _FIRST_LOOK_S), set(cursor.get("told", ()))
        ends = {
            record.dagster_run.run_id: (record.end_time or 0.0, record)
            for record in context.instance.get_run_records(
                dg.RunsFilter(statuses=_ENDED, updated_after=datetime.fromtimestamp(since, UTC)),
                order_by="update_timestamp",
                ascending=True,
            )
        }
        ended = [name for name, (end, _) in ends.items() if name not in told and end > since][:_AT_ONCE]
        since = max([since, *(ends[name][0] - _OVERLAP_S for name in ended)])
        told = {name for name in {*told, *ended} if name in ends and ends[name][0] > since}
        events = [_event(context.instance, ends[name][1], prices) for name in ended]
        return dg.SensorResult(
            asset_events=[event for event in events if event is not None],
            cursor=json.dumps({"since": since, "told": sorted(told)}),
            skip_reason=None if ended else "no run ended since the last look",
        )

    return look


def _event(instance: dg.DagsterInstance, record: Any, prices: Prices) -> dg.AssetMaterialization | None:
    """None of a run that ended before its first step."""
    run = record.dagster_run
    seconds = {
        step.step_key: (step.end_time or record.end_time) - step.start_time
        for step in instance.get_run_step_stats(run.run_id)
        if step.start_time is not None
    }
    if not seconds:
        return None
    cost = cost_of(seconds, _new_items(instance, run.run_id), prices)
    started = record.start_time or record.create_timestamp.timestamp()
    return dg.AssetMaterialization(
        run_cost.key,
        metadata={
            **_figures(cost, prices),
            "wall_seconds": round(record.end_time - started, 2),
            "run": dg.MetadataValue.dagster_run(run.run_id),
            "job": run.job_name,
            "status": run.status.value,
        },
    )


def _figures(cost: RunCost, prices: Prices) -> Mapping[str, Any]:
    table = {name: [getattr(step, name) for step in cost.steps] for name in ("name", "machine")}
    rounded: dict[str, Sequence[float]] = {
        "seconds": [round(step.seconds, 2) for step in cost.steps],
        "cost": [round(step.cost, 6) for step in cost.steps],
    }
    per_1000 = cost.per_1000_new
    return {
        "cost": cost.cost,
        **({} if per_1000 is None else {"cost_of_1000_new_items": per_1000}),
        "new_items": cost.new_items,
        "currency": prices.currency,
        "prices": dg.MetadataValue.json(prices.model_dump()),
        **{f"{machine}_seconds": round(spent, 2) for machine, spent in cost.seconds.items()},
        "steps": preview(pa.table(table | rounded)),
    }


def _new_items(instance: dg.DagsterInstance, run_id: str) -> int:
    """Products whose pictures the run had to get, as ``catalogue_diff`` counted them in it."""
    events = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
    for record in events:
        made = record.asset_materialization
        if made is not None and made.asset_key == dg.AssetKey("catalogue_diff"):
            return sum(int(str(made.metadata[name].value)) for name in ("new", "repictured"))
    return 0
