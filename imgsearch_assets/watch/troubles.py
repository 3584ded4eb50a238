"""What is wrong now, of all that an operator is told by themselves: states, not events.

So twenty failing runs are one trouble, and one that nobody could be told of is still there at the next look.
"""

import re
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.freshness import (
    CronFreshnessPolicy,
    FreshnessState,
    TimeWindowFreshnessPolicy,
)
from dagster._core.scheduler.instigation import InstigatorTick, InstigatorType, TickStatus

from imgsearch_assets.alerting.alerts import Kind, Trouble, duration
from imgsearch_assets.environment import Environment
from imgsearch_assets.watch.standing import Standing, at_fault, held_up_by, sentence, standings, why_failed
from serving.errors import Unavailable

CATALOGUE_SENSOR = "catalogue_changes"
# What passes by itself within this is not told: a file that is being written, a Redis that restarts.
PATIENCE_S = {Kind.STOCK: 60.0, Kind.CATALOGUE: 60.0}
# The feed looks every second at least.
_FEED_AWAY_S = 60.0


@dataclass(frozen=True)
class Findings:
    """``troubles`` by their keys. Of the keys in ``unsure`` nothing can be said now: they stay as they were.

    ``ended_by`` has the run that made an asset last, by the asset's name.
    """

    troubles: dict[str, Trouble]
    unsure: frozenset[str]
    ended_by: dict[str, str]


def find(instance: dg.DagsterInstance, graph: AssetGraph, environment: Environment, now: float) -> Findings:
    """Look at everything once. ``now`` is in seconds since 1970."""
    found = standings(instance, graph)
    troubles = [
        *_late(instance, found, now),
        *_gates(found),
        *_failed(instance, found),
        *_catalogue(instance, now),
        *_stock(environment),
    ]
    return Findings(
        {trouble.key: trouble for trouble in troubles},
        frozenset(_unsure(found)),
        {one.name: one.made_by for one in found.values() if one.made_by is not None},
    )


def _unsure(found: dict[str, Standing]) -> Iterator[str]:
    for one in found.values():
        if one.policy is not None and one.freshness in (None, FreshnessState.UNKNOWN):
            yield f"{Kind.LATE}/{one.name}"
        if not one.made:  # in work, or something before it failed
            yield f"{Kind.FAILED}/{one.name}"
        yield from (f"{Kind.GATE}/{one.name}/{gate}" for gate in one.unsaid)


def _late(instance: dg.DagsterInstance, found: dict[str, Standing], now: float) -> Iterator[Trouble]:
    for one in found.values():
        if one.policy is None or not one.late:
            continue
        age = duration(now - one.made_at) if one.made_at is not None else "unknown"
        why, run = held_up_by(instance, found, one.name)
        facts = {"age": age, "promise": promise(one.policy), "held_up_by": why}
        yield Trouble(Kind.LATE, one.name, f"{one.name} is late", facts, run, one.freshness_since)


def promise(policy: dg.FreshnessPolicy) -> str:
    """What a policy says, in words."""
    if isinstance(policy, TimeWindowFreshnessPolicy):
        return f"made anew within {duration(policy.fail_window.to_timedelta().total_seconds())}"
    if isinstance(policy, CronFreshnessPolicy):
        lead = duration(policy.lower_bound_delta.total_seconds())
        return f"made within the {lead} before each {policy.deadline_cron} ({policy.timezone})"
    raise TypeError(f"{type(policy).__name__} is no policy that is known here")


def _gates(found: dict[str, Standing]) -> Iterator[Trouble]:
    for one in found.values():
        for name, check in one.gates.items():
            said = check.evaluation.description if check.evaluation else None
            facts = {"reason": said or "it did not pass", "effect": "what is live stays live"}
            title = f"{one.name} did not pass its gate {name}"
            yield Trouble(Kind.GATE, f"{one.name}/{name}", title, facts, check.run_id, check.create_timestamp)


def _failed(instance: dg.DagsterInstance, found: dict[str, Standing]) -> Iterator[Trouble]:
    for one in at_fault(found):
        if one.run is not None:
            why, run = why_failed(instance, one.run.run_id), one.run.run_id
            title = f"a run failed at {one.name}, and is not tried again by itself"
            yield Trouble(
                Kind.FAILED, one.name, title, {"reason": why}, run, one.run_ended_at, _without_figures(why)
            )


def _without_figures(reason: str) -> str:
    """Its words: counts, times and ids are others every time, the cause is not."""
    return re.sub(r"\S*\d\S*", "#", reason)


def _catalogue(instance: dg.DagsterInstance, now: float) -> Iterator[Trouble]:
    """The sensor that looks at the catalogue failed at its last look, and did not succeed shortly before.

    Who looks at both now and then does not see what it did in between.
    """
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        if state.instigator_name != CATALOGUE_SENSOR:
            continue
        done = [TickStatus.SUCCESS, TickStatus.SKIPPED]
        of = state.instigator_origin_id, state.selector_id
        read = instance.get_ticks(*of, limit=1, statuses=done)
        read_at = read[0].timestamp if read else None
        if read_at is not None and now - read_at < PATIENCE_S[Kind.CATALOGUE]:
            continue
        for tick in instance.get_ticks(*of, limit=1, statuses=[*done, TickStatus.FAILURE]):
            if tick.status is TickStatus.FAILURE:
                why = _why(tick)
                facts = {"reason": why, "effect": "new items and stock wait"}
                yield Trouble(
                    Kind.CATALOGUE,
                    "the catalogue",
                    "the catalogue cannot be read",
                    facts,
                    began=read_at,
                    cause=_without_figures(why),
                )


def _why(tick: InstigatorTick) -> str:
    return sentence(tick.error) if tick.error is not None else "it says nothing of why"


def _stock(environment: Environment) -> Iterator[Trouble]:
    """The stock feed halted, does not look any more, or Redis is away. No trouble where it never ran."""
    if environment.serving.redis_url is None:
        return
    facts, cause = dict[str, str](), ""
    with closing(environment.stock_log) as stock_log:
        try:
            compared_at, halted = stock_log.compared_at(), stock_log.halted()
        except Unavailable as error:
            cause, facts["reason"] = "away", error.message
        else:
            age_s = time.time() - compared_at
            if halted is not None:
                cause, facts["reason"] = "halted", halted.why
            elif compared_at and age_s > _FEED_AWAY_S:
                cause = "does not look"
                facts["reason"] = "the feed does not look at the catalogue; does imgsearch stock feed run?"
            if compared_at:
                facts["last_followed"] = f"{duration(age_s)} ago"
    if cause:
        yield Trouble(Kind.STOCK, "the stock", "the stock is not followed", facts, cause=cause)
