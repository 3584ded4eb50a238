"""How old what shoppers see may be before somebody is told, and the sensor that tells it."""

import json
from datetime import timedelta
from typing import Any

import dagster as dg
from dagster._time import get_current_timestamp

from imgsearch_assets.alerting.alerts import Alert
from imgsearch_assets.environment import Environment
from imgsearch_assets.watch.troubles import PATIENCE_S, Findings, find

# The daily run alone keeps this promise, with some hours for one that is slow or has to be repeated.
# Nobody is told at the first window: until the second the platform helps itself, and a message that asks for
# nothing teaches people to read none. The UI shows it.
DAILY = dg.FreshnessPolicy.time_window(warn_window=timedelta(hours=26), fail_window=timedelta(hours=30))
# Production by approval waits for a person, who is meant to look once a week.
WEEKLY = dg.FreshnessPolicy.time_window(warn_window=timedelta(days=7), fail_window=timedelta(days=8))


def due(findings: Findings, cursor: dict[str, Any], target: str, now: float, *where: Any) -> list[Alert]:
    """What ``target`` has to be told: of new troubles, of new causes, then of troubles that are over.

    ``cursor`` has ``seen``, when each trouble began, ``causes``, what its cause is and since when, ``told``,
    of which of them each target knows, and ``why``, with which causes. ``where`` is the environment and the
    addresses of the UI and of the runbook.
    """
    seen: dict[str, float] = cursor["seen"]
    told: dict[str, float] = cursor["told"].get(target, {})
    why: dict[str, str] = cursor["why"].get(target, {})
    begun = [
        Alert("begun", trouble, seen[key], now, *where)
        for key, trouble in findings.troubles.items()
        if key not in told and now - seen[key] >= PATIENCE_S.get(trouble.kind, 0)
    ]
    changed = [
        Alert.changed(trouble, told[key], cursor["causes"][key][1], *where)
        for key, trouble in findings.troubles.items()
        if why.get(key, trouble.cause) != trouble.cause
        and now - cursor["causes"][key][1] >= PATIENCE_S.get(trouble.kind, 0)
    ]
    over = [
        Alert.over(key, findings.ended_by.get(key.split("/")[1]), since, now, *where)
        for key, since in told.items()
        if key not in findings.troubles and key not in findings.unsure
    ]
    return begun + changed + over


def freshness_alerts(every_s: int = 30) -> dg.SensorDefinition:
    """Tells operators once that something turned wrong, has another cause, is over; starts nothing.

    What each target knows moves with what it took, so a message may come twice and is never lost.
    """

    @dg.sensor(
        name="freshness_alerts",
        minimum_interval_seconds=every_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells operators what is late, stopped, failed or halted, and when that is over.",
    )
    def look(
        context: dg.SensorEvaluationContext, environment: dg.ResourceParam[Environment]
    ) -> dg.SensorResult | dg.SkipReason:
        if context.repository_def is None:
            raise dg.DagsterInvariantViolationError("the sensor is of a repository")
        now = get_current_timestamp()
        findings = find(context.instance, context.repository_def.asset_graph, environment, now)
        known: dict[str, Any] = {"seen": {}, "causes": {}, "told": {}, "why": {}}
        known |= json.loads(context.cursor or "{}")
        seen = {key: known["seen"].get(key, one.began or now) for key, one in findings.troubles.items()}
        seen |= {key: at for key, at in known["seen"].items() if key in findings.unsure}
        causes = {
            key: _cause(one.cause, known["causes"].get(key), now) for key, one in findings.troubles.items()
        }
        causes |= {key: was for key, was in known["causes"].items() if key in findings.unsure}
        notifier = environment.notifier
        told, why = (
            {name: dict(known[what].get(name, {})) for name in notifier.targets} for what in ("told", "why")
        )
        cursor = {"seen": seen, "causes": causes, "told": told, "why": why}
        where = (environment.serving.environment, environment.dagster_url, environment.runbook_url)
        alerts = {name: due(findings, cursor, name, now, *where) for name in notifier.targets}
        taken = notifier.deliver(alerts)
        for name, count in taken.items():
            for alert in alerts[name][:count]:
                key = alert.trouble.key
                if alert.event == "over":
                    del told[name][key]
                    why[name].pop(key, None)
                else:
                    told[name][key], why[name][key] = alert.since, alert.trouble.cause
        said = [f"{name} was told of {count} of {len(alerts[name])}" for name, count in taken.items()]
        skipped = "; ".join(said) if any(alerts.values()) else "there is nothing new to tell"
        return dg.SensorResult(cursor=json.dumps(cursor), skip_reason=skipped)

    return look


def _cause(cause: str, was: list[Any] | None, now: float) -> list[Any]:
    """It and since when, in seconds since 1970; ``was`` is the same of the last look."""
    return was if was is not None and was[0] == cause else [cause, now]
