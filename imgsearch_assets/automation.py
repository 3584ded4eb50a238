"""When things run: a change of the catalogue starts one run through the whole chain, and so does a day."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, AUTOMATION_CONDITION_TAG, WILL_RETRY_TAG

from imgsearch_assets.catalogue.warehouse import Warehouse
from imgsearch_assets.environment import Environment
from imgsearch_assets.messages import Inbox, Look, look_when_told
from serving.errors import NotFound, Unavailable
from serving.models.live import live_version
from serving.object_store import ObjectStore

# In which time the daemon starts a run again that died.
_RETRIED_S = 30.0
# How often it is asked for messages that the catalogue was written: at each look of the daemon. These are
# five seconds apart, sensors in an order that is drawn, so an interval of five would miss every other one.
_ASKED_S = 1

PRODUCTS = dg.AssetKey("products")
SNAPSHOT = dg.AssetKey("product_snapshot")
# By which Dagster knows the data version of what it does not make itself.
DATA_VERSION_TAG = "dagster/data_version"
# And by which a materialization says what it was made of: what was known of ``PRODUCTS`` as its step began.
_READ_TAG = f"dagster/input_data_version/{PRODUCTS.to_user_string()}"

# By whose values the queue of dagster.yaml holds runs apart: a training takes hours, and no new product waits
# for one. Who starts assets by hand, not a job, has a run of neither kind.
KIND_TAG = "imgsearch/kind"
# A run that died is started again from the catalogue: what it had seen of it may be of yesterday.
RUN_TAGS = {"dagster/retry_strategy": "ALL_STEPS", KIND_TAG: "catalogue"}

# An asset whose upstream changed runs, unless the run that changed it runs this one as well. What was made
# anew and is the same is no change: of a run that names no assets (a job launched by the command line)
# nobody can say what it was to run. Not on what a gate refused, whichever run made that: within one the
# gate itself stops what follows.
_NEW_DATA: Any = (
    dg.AutomationCondition.data_version_changed() & ~dg.AutomationCondition.executed_with_root_target()
).with_label("new_data_without_root")
ON_CHANGE = (
    dg.AutomationCondition.eager().replace("newly_updated_without_root", _NEW_DATA)
    & dg.AutomationCondition.all_deps_blocking_checks_passed()
).with_label("eager_past_gates")
_CODE_CHANGED: Any = dg.AutomationCondition.code_version_changed()  # typed for assets, used for any
# Where nothing was ever registered, and where this code ships another model than the one that was.
ON_NEW_CODE = (dg.AutomationCondition.missing().newly_true() | _CODE_CHANGED.since_last_handled()).with_label(
    "new_code"
)


def whole(assets: Sequence[dg.AssetKey]) -> dg.RunRequest:
    """Of a job with these assets, which are named: else conditions take what fails in it as not asked for."""
    return dg.RunRequest(asset_selection=list(assets), tags=RUN_TAGS)


def started_by_condition(run: dg.DagsterRun) -> bool:
    """Whether a condition on an asset started it: not a change of the catalogue, the clock or a person."""
    return AUTOMATION_CONDITION_TAG in run.tags


def sighting(version: str) -> dg.AssetMaterialization:
    """That the catalogue was seen with a new content.

    A materialization, though another made it; the next snapshot records it as what it was made of.
    """
    return dg.AssetMaterialization(PRODUCTS, tags={DATA_VERSION_TAG: version})


def recorded_version(instance: dg.DagsterInstance) -> str | None:
    """The content of the catalogue as the instance last heard of it."""
    return data_version(instance, PRODUCTS)


def data_version(instance: dg.DagsterInstance, key: dg.AssetKey) -> str | None:
    """Of the latest materialization of ``key``; None where there is none, or it has no version."""
    return _tag(instance, key, DATA_VERSION_TAG)


def _tag(instance: dg.DagsterInstance, key: dg.AssetKey, tag: str) -> str | None:
    event = instance.get_latest_materialization_event(key)
    made = event.asset_materialization if event else None
    return (made.tags or {}).get(tag) if made else None


def catalogue_sensor(
    job: Any,
    chain: Sequence[dg.AssetKey],
    needed: Sequence[dg.AssetKey],
    poll_s: int,
    inbox: Inbox | None = None,
) -> dg.SensorDefinition:
    """Looks at the catalogue, tells of a new content and starts ``job``, all of ``chain``; else nothing.

    A condition would lose what changes while a run has read the catalogue and not yet said so. What counts
    here is whether the last snapshot began with what is known of the catalogue now. While a run waits or is
    in work, changes are only told: the next run is for all of them. ``needed`` has to be there before. With
    an ``inbox``, a message is a reason to look at once, and ``poll_s`` is when it looks without one.
    """

    @dg.sensor(
        name="catalogue_changes",
        job=job,
        minimum_interval_seconds=poll_s if inbox is None else min(poll_s, _ASKED_S),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Compares the catalogue with what was last read of it.",
    )
    def look(
        context: dg.SensorEvaluationContext, environment: dg.ResourceParam[Environment]
    ) -> dg.SensorResult | dg.SkipReason:
        def compare(cursor: str) -> Look:
            return _compare(context.instance, environment.warehouse, cursor, chain, needed)

        if inbox is None:
            return compare(context.cursor or "").result
        with inbox.open() as post:
            return look_when_told(post, context.cursor, poll_s, time.time(), compare)

    return look


def _compare(
    instance: dg.DagsterInstance,
    catalogue: Warehouse,
    cursor: str,
    chain: Sequence[dg.AssetKey],
    needed: Sequence[dg.AssetKey],
) -> Look:
    """Look once. ``cursor`` is the former look's."""
    seen, _, asked = cursor.partition("\n")
    said = "the catalogue was not written since the last look"
    version, events = recorded_version(instance), []
    try:
        # Taken before the content: what is written meanwhile is seen next time.
        stamp = f"{catalogue.location} {catalogue.stamp()}"
        if stamp != seen:
            said = "the catalogue was written, its content is the same"
            found = catalogue.version()
            if found != version:
                version, events = found, [sighting(found)]
                said = "the catalogue changed"
    except Unavailable as error:
        return Look(dg.SkipReason(error.message), cursor, done=False)
    requests, done = [], True
    run = _last_run(instance)
    lost = run is not None and _lost(run)
    if version == _read_version(instance) and not lost:
        asked = ""
    elif any(instance.get_latest_materialization_event(key) is None for key in needed):
        done = False
        said += "; no run before the models are registered"
    elif run is not None and not run.dagster_run.is_finished:
        done = False
        said += "; a run is in work, the next one comes after it"
    elif version == asked and not lost:
        said += "; the run for it read nothing, the next change or the daily run makes up for it"
    else:
        asked, requests, done = str(version), [whole(chain)], False
    cursor = f"{stamp}\n{asked}"
    result = dg.SensorResult(
        cursor=cursor,
        asset_events=events,
        run_requests=requests,
        skip_reason=None if requests else said,
    )
    return Look(result, cursor, done)


def _read_version(instance: dg.DagsterInstance) -> str | None:
    """The content that was known when the last snapshot began: it has that or a later one."""
    return _tag(instance, SNAPSHOT, _READ_TAG)


def _last_run(instance: dg.DagsterInstance) -> dg.RunRecord | None:
    """The last run that was to read the catalogue."""
    planned = instance.get_latest_planned_materialization_info(SNAPSHOT)
    return instance.get_run_record_by_id(planned.run_id) if planned else None


def _lost(run: dg.RunRecord) -> bool:
    """Whether a run that died was to be started again, and was not.

    The daemon does not do it for what runs without it, nor where it looked for failures in the very moment in
    which that of this run was on record and its status not yet.
    """
    tags, ended = run.dagster_run.tags, run.end_time
    to_retry = tags.get(WILL_RETRY_TAG) == "true" and AUTO_RETRY_RUN_ID_TAG not in tags
    return to_retry and ended is not None and time.time() - ended > _RETRIED_S


def model_sensor(models: Mapping[str, dg.AssetKey], poll_s: int) -> dg.SensorDefinition:
    """Looks which versions are live (name of the model to its asset); another one is taken up.

    Whoever moved the pointer: a training that registered its model, a promotion by hand, a roll-back.
    """

    @dg.sensor(
        name="model_changes",
        target=dg.AssetSelection.assets(*models.values()),
        minimum_interval_seconds=poll_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Compares the live models with those that the pipeline works with.",
    )
    def look(
        context: dg.SensorEvaluationContext, store: dg.ResourceParam[ObjectStore]
    ) -> dg.SensorResult | dg.SkipReason:
        asked: dict[str, str] = json.loads(context.cursor or "{}")
        moved: dict[str, str] = {}
        for name, key in models.items():
            try:
                live = live_version(store, name)
            except NotFound:  # the first materialization will register one
                continue
            known = data_version(context.instance, key)
            if known not in (None, live) and asked.get(name) != live:
                moved[name] = live
            elif known == live:
                asked.pop(name, None)  # so that coming back to an earlier one is a change as well
        if not moved:
            return dg.SensorResult(
                cursor=json.dumps(asked), skip_reason="the pipeline works with the live models"
            )
        keys = [models[name] for name in moved]
        return dg.SensorResult(
            cursor=json.dumps(asked | moved),
            run_requests=[dg.RunRequest(asset_selection=keys, tags=RUN_TAGS)],
        )

    return look


def automation_sensor(poll_s: int) -> dg.AutomationConditionSensorDefinition:
    """Evaluates the conditions on the assets."""
    return dg.AutomationConditionSensorDefinition(
        "automation",
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=poll_s,
        run_tags=RUN_TAGS,
    )


def daily(job: Any, assets: Sequence[dg.AssetKey]) -> dg.ScheduleDefinition:
    """The floor: pictures that failed are tried again even when nobody touches the catalogue.

    ``assets`` are those of ``job``.
    """

    @dg.schedule(
        name="daily",
        job=job,
        cron_schedule="0 4 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def look() -> dg.RunRequest:
        return whole(assets)

    return look
