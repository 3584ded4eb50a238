"""How old what shoppers see may be before somebody is told, and the sensor that tells it."""

import json
from datetime import timedelta
from typing import Any

import dagster as dg
from dagster._time import get_current_timestamp

from imgsearch_assets.alerting.alerts import Alert, Kind
from imgsearch_assets.environment import Environment
from imgsearch_assets.watch.troubles import Findings, find

# The daily run alone keeps this promise, with some hours for one that is slow or has to be repeated.
# Nobody is told at the first window: until the second the platform helps itself, and a message that asks for
# nothing teaches people to read none. The UI shows it.
DAILY = dg.FreshnessPolicy.time_window(warn_window=timedelta(hours=26), fail_window=timedelta(hours=30))
# Production by approval waits for a person, who is meant to look once a week.
WEEKLY = dg.FreshnessPolicy.time_window(warn_window=timedelta(days=7), fail_window=timedelta(days=8))

# What passes by itself within this is not told: a file that is being written, a Redis that restarts.
_PATIENCE_S = {Kind.STOCK: 60.0, Kind.CATALOGUE: 60.0}


def due(findings: Findings, cursor: dict[str, Any], target: str, now: float, *where: Any) -> list[Alert]:
    """What ``target`` has to be told: of new troubles, then of those that are over.

    ``cursor`` has ``seen``, when each trouble began, and ``told``, of which of them each target knows.
    ``where`` is the environment and the address of the UI.
    """
    seen: dict[str, float] = cursor["seen"]
    told: dict[str, float] = cursor["told"].get(target, {})
    begun = [
        Alert("begun", trouble, seen[key], now, *where)
        for key, trouble in findings.troubles.items()
        if key not in told and now - seen[key] >= _PATIENCE_S.get(trouble.kind, 0)
    ]
    over = [
        Alert.over(key, findings.ended_by.get(key.split("/")[1]), since, now, *where)
        for key, since in told.items()
        if key not in findings.troubles and key not in findings.unsure
    ]
    return begun + over


def freshness_alerts(every_s: int = 30) -> dg.SensorDefinition:
    """Tells operators once when something turns wrong and once when it is over; starts nothing.

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
        known: dict[str, Any] = json.loads(context.cursor or '{"seen": {}, "told": {}}')
        seen = {key: known["seen"].get(key, one.began or now) for key, one in findings.troubles.items()}
        seen |= {key: at for key, at in known["seen"].items() if key in findings.unsure}
        notifier = environment.notifier
        told = {name: dict(known["told"].get(name, {})) for name in notifier.targets}
        cursor = {"seen": seen, "told": told}
        where = (environment.serving.environment, environment.dagster_url)
        alerts = {name: due(findings, cursor, name, now, *where) for name in notifier.targets}
        taken = notifier.deliver(alerts)
        for name, count in taken.items():
            for alert in alerts[name][:count]:
                if alert.event == "begun":
                    told[name][alert.trouble.key] = alert.since
                else:
                    del told[name][alert.trouble.key]
        said = [f"{name} was told of {count} of {len(alerts[name])}" for name, count in taken.items()]
        why = "; ".join(said) if any(alerts.values()) else "there is nothing new to tell"
        return dg.SensorResult(cursor=json.dumps(cursor), skip_reason=why)

    return look
