"""The journey of one product: its verdict, then each stage with its time and reason."""

from collections.abc import Callable, Sequence

from serving.cache.stock import UNKNOWN
from serving.cache.stock_log import StockLog
from serving.ledger.facts import Facts, Row, gather, seconds
from serving.ledger.journey import Event, Journey, PictureState, Refused, Stage, StageName, State
from serving.ledger.verdict import in_stock, judge, moment, seen_at, taken_out
from serving.object_store import ObjectStore

MOST_EVENTS = 50


def explain(
    store: ObjectStore,
    environment: str,
    product_id: str,
    stock_log: StockLog | None = None,
    timeout_s: float = 10.0,
) -> Journey:
    """Where a product is, and why. Raises as ``gather``."""
    facts = gather(store, environment, product_id, stock_log, timeout_s)
    judged = judge(facts)
    return Journey(
        product_id=product_id,
        environment=environment,
        searchable=judged.searchable,
        verdict=judged.verdict,
        sentence=judged.sentence,
        seen_at=seen_at(facts),
        updated_at=seconds(facts.row["updated_at"]) if facts.row else None,
        snapshot=facts.snapshot,
        stages=_stages(facts),
        pictures=list(facts.pictures),
        rejected=[
            Refused(row=one["row"], reason=one["reason"], detail=one["detail"]) for one in facts.rejected
        ],
        places=list(facts.places),
        history=_history(facts),
    )


def _stages(facts: Facts) -> list[Stage]:
    pictures = facts.pictures
    had = [one for one in pictures if one.fetched == "done"]
    return [
        _seen(facts),
        _of_pictures("downloaded", pictures, lambda one: (one.fetched, one.fetched_at, one.reason)),
        _of_pictures("detected", had, lambda one: (one.detected, one.detected_at, one.detected_reason)),
        _of_pictures("embedded", had, lambda one: (one.embedded, one.embedded_at, one.embedded_reason)),
        _indexed(facts),
        _released(facts),
        _stock(facts),
    ]


def _seen(facts: Facts) -> Stage:
    at = seen_at(facts)
    if facts.row is not None:
        last = facts.sightings[-1] if facts.sightings else {"change": "there", "snapshot": facts.snapshot}
        detail = f"{last['change']} in snapshot {last['snapshot']}"
        if last["snapshot"] != facts.snapshot:
            detail += f", the same in the newest, {facts.snapshot}"
        return Stage(stage="seen", state="done", at=at, detail=detail)
    if facts.rejected:
        first = facts.rejected[0]
        return Stage(stage="seen", state="failed", at=at, detail=f"{first['reason']}: {first['detail']}")
    return Stage(stage="seen", state="failed", at=at, detail="no longer in the catalogue")


def _of_pictures(
    stage: StageName,
    pictures: Sequence[PictureState],
    said: Callable[[PictureState], tuple[State, float | None, str | None]],
) -> Stage:
    """Done where all are, or as far as they are; failed where none could be."""
    told = [said(one) for one in pictures]
    states = [state for state, _, _ in told]
    reasons = sorted({reason for state, _, reason in told if state == "failed" and reason})
    state: State = "done" if "done" in states else "waiting" if "waiting" in states or not told else "failed"
    detail = f"{states.count('done')} of {len(pictures)} pictures"
    if reasons:
        detail += f"; {', '.join(reasons)}"
    times = [at for state, at, _ in told if state == "done" and at is not None]
    return Stage(stage=stage, state=state, at=max(times, default=None), detail=detail)


def _indexed(facts: Facts) -> Stage:
    if facts.other is not None:
        made = facts.other
        detail = f"generation {made.id}, not live"
        return Stage(stage="indexed", state="done", at=made.created_at, detail=detail)
    if facts.live is None or facts.release is None:
        return Stage(stage="indexed", state="waiting", at=None, detail="no generation has it")
    known = next((one for one in reversed(facts.passages) if one["indexed_at"] is not None), None)
    at = None if known is None else seconds(known["indexed_at"])
    name = facts.release.generation if known is None else known["generation"]
    return Stage(stage="indexed", state="done", at=at, detail=f"generation {name}")


def _released(facts: Facts) -> Stage:
    if facts.live is not None and facts.release is not None:
        detail = f"generation {facts.release.generation}, released at {moment(facts.release.at)}"
        return Stage(stage="live", state="done", at=facts.since, detail=f"{detail} by {facts.release.who}")
    if facts.rolled_back is not None:
        back = facts.rolled_back
        return Stage(
            stage="live", state="failed", at=back.at, detail=f"rolled back by {back.who}: {back.why}"
        )
    if (out := taken_out(facts)) is not None:
        detail = f"until then; generation {out['generation']} has it no more"
        return Stage(stage="live", state="failed", at=seconds(out["at"]), detail=detail)
    return Stage(stage="live", state="waiting", at=None, detail="not released")


def _stock(facts: Facts) -> Stage:
    there = in_stock(facts)
    if there is None:
        detail = f"not known: {facts.stock_unknown or 'what is live does not have it'}"
        return Stage(stage="in_stock", state="waiting", at=None, detail=detail)
    detail = "in stock" if there else "sold out, and hidden"
    if facts.stock is None:
        detail += ", as the generation has it: no Redis is named"
    elif facts.stock.value == UNKNOWN:
        detail += f", as the generation has it: Redis has no stock of it for {facts.environment}"
    at = facts.stock.at if facts.stock else None
    return Stage(stage="in_stock", state="done" if there else "failed", at=at, detail=detail)


def _history(facts: Facts) -> list[Event]:
    events = [_sighting(row) for row in facts.sightings] + [_passage(row) for row in facts.passages]
    return sorted(events, key=lambda event: event.at, reverse=True)[:MOST_EVENTS]


def _sighting(row: Row) -> Event:
    detail = f"{row['reason']}: {row['detail']}" if row["reason"] else "the catalogue"
    return Event(
        at=seconds(row["at"]) or 0.0,
        change=row["change"],
        detail=detail,
        snapshot=row["snapshot"],
        generation=None,
        run=row["run"],
        searchable_after_s=None,
    )


def _passage(row: Row) -> Event:
    at, seen = seconds(row["at"]) or 0.0, seconds(row["seen_at"])
    back = f"back from {row['rolled_back_from']}, " if row["rolled_back_from"] else ""
    return Event(
        at=at,
        change=row["change"],
        detail=f"{back}released by {row['by']}",
        snapshot=None,
        generation=row["generation"],
        run=None,
        searchable_after_s=None if seen is None else round(at - seen, 3),
    )
