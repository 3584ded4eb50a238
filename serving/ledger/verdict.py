"""Why a product is, or is not, searchable: one sentence from what is known; no IO."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from serving.cache.stock import IN_STOCK, SOLD_OUT
from serving.index.generation import Manifest
from serving.ledger.facts import Facts, Row, seconds
from serving.ledger.journey import PictureState, Verdict

# Of what a generation keeps; ``updated_at`` alone shows nowhere.
_SHOWN = ("name", "brand", "category", "colour", "price", "currency", "image_urls")


class Judged(NamedTuple):
    verdict: Verdict
    sentence: str

    @property
    def searchable(self) -> bool | None:
        if self.verdict == "stock_unknown":
            return None
        return self.verdict in ("live", "outdated", "leaving")


def judge(facts: Facts) -> Judged:
    """The verdict, and its sentence for a person."""
    if facts.live is not None:
        return _live(facts, facts.live)
    where = f"{facts.product_id} is not searchable in {facts.environment}"
    if facts.row is None:
        verdict, why = _gone(facts)
    elif facts.other is not None and _of_now(facts, facts.other):
        verdict, why = _elsewhere(facts, facts.other)
    else:
        verdict, why = _on_its_way(facts)
    return Judged(verdict, f"{where}{why}")


def _of_now(facts: Facts, made: Manifest) -> bool:
    """Whether a generation that has the product was made since that was seen: an older one says nothing."""
    return facts.rolled_back is not None or made.created_at >= (seen_at(facts) or 0.0)


def _live(facts: Facts, live: Row) -> Judged:
    name, environment = facts.product_id, facts.environment
    generation = facts.release.generation if facts.release else ""
    there = in_stock(facts)
    if there is None:
        return Judged(
            "stock_unknown",
            f"{name} is live in {environment} since {moment(facts.since)} (generation {generation}), but its "
            f"stock is not known: {facts.stock_unknown}; it is searchable unless it is sold out",
        )
    if not there:
        at = facts.stock.at if facts.stock else None
        since = f" since {moment(at)}" if at else ""
        return Judged(
            "sold_out",
            f"{name} is hidden in {environment}: it is sold out{since}; generation {generation} has it, and "
            "only a search that asks for what is sold out, too, shows it",
        )
    is_live = f"{name} is searchable in {environment} since {moment(facts.since)} (generation {generation})"
    row = facts.row if facts.snapshot else live
    if row is None:
        _, why = _gone(facts)
        return Judged("leaving", f"{is_live}, as no release took it out so far{why}")
    if any(row[column] != live[column] for column in _SHOWN):
        return Judged(
            "outdated",
            f"{is_live}, but as it was before its last change, which was seen at {moment(seen_at(facts))}; "
            "no release brought it so far",
        )
    lacking = [one for one in facts.pictures if not one.searchable]
    if lacking:
        found = len(facts.pictures) - len(lacking)
        is_live += f", by {found} of its {len(facts.pictures)} pictures ({_why_not(lacking)})"
    return Judged("live", is_live)


def _gone(facts: Facts) -> tuple[Verdict, str]:
    """Of what the newest snapshot does not have."""
    out = taken_out(facts)
    was = f"; it was live until {moment(seconds(out['at']))}" if out else ""
    if facts.rejected:
        first = facts.rejected[0]
        return "rejected", (
            f": row {first['row']} of the catalogue, which is this product, was rejected as "
            f"{first['reason']} ({first['detail']}){was}"
        )
    return "removed", f": it is no longer in the catalogue, as was seen at {moment(seen_at(facts))}{was}"


def _elsewhere(facts: Facts, made: Manifest) -> tuple[Verdict, str]:
    """The generation ``made`` has it, but not the live one."""
    back = facts.rolled_back
    if back is not None:
        return "rolled_back", (
            f": generation {made.id}, which has it, was rolled back at {moment(back.at)} "
            f"by {back.who}: {back.why}"
        )
    there = [place.environment for place in facts.places if place.generation == made.id]
    if there:
        return "not_released", (
            f": generation {made.id}, which has it, is live in {', '.join(there)} and was not promoted yet"
        )
    return "not_released", (
        f": generation {made.id}, which has it and was made at {moment(made.created_at)}, was not released; "
        "its run, or the check that stopped it, is in Dagster under ann_index and staging_release"
    )


def _on_its_way(facts: Facts) -> tuple[Verdict, str]:
    pictures = facts.pictures
    had = [one for one in pictures if one.fetched == "done"]
    if not had:
        failed = [one for one in pictures if one.fetched == "failed"]
        if not failed:
            return "waiting", f" yet: it was seen at {moment(seen_at(facts))}, its pictures are to be fetched"
        again = min((one.retry_at for one in failed if one.retry_at), default=None)
        then = f"; the next try is due at {moment(again)}" if again else ""
        return (
            "no_picture",
            f": none of its {len(pictures)} pictures could be had ({_why_not(pictures)}){then}",
        )
    for stage, doing in (("detected", "looked at for items"), ("embedded", "given their vectors")):
        states = {getattr(one, stage) for one in had}
        if "done" in states:
            continue
        if "waiting" in states:
            return "waiting", f" yet: {len(had)} of its {len(pictures)} pictures are here, to be {doing}"
        reasons = _counted([str(getattr(one, f"{stage}_reason")) for one in had])
        return "no_item", f": none of its pictures could be {doing} ({reasons})"
    return "waiting", " yet: its pictures have their vectors, and no index was built with them so far"


def _why_not(pictures: Sequence[PictureState]) -> str:
    """Of pictures that are not in the index: why, and how many of each."""
    said = []
    for one in pictures:
        if one.fetched != "done":
            status = f" (HTTP {one.http_status})" if one.http_status else ""
            said.append(f"{one.reason}{status}" if one.fetched == "failed" else "to be fetched")
        else:
            said.append(one.detected_reason or one.embedded_reason or "to be indexed")
    return _counted(said)


def _counted(said: Sequence[str]) -> str:
    return ", ".join(f"{what} {count}" for what, count in Counter(said).most_common())


def in_stock(facts: Facts) -> bool | None:
    """As shoppers are shown: by Redis, or as the live generation has it; None where neither tells."""
    if facts.stock_unknown is not None:
        return None
    if facts.stock is not None and facts.stock.value in (IN_STOCK, SOLD_OUT):
        return facts.stock.value == IN_STOCK
    return None if facts.live is None else bool(facts.live["in_stock"])


def taken_out(facts: Facts) -> Row | None:
    """The release that took it out of what was live, if that is the last that the ledger knows of it."""
    last = facts.passages[-1] if facts.passages and facts.live is None else None
    return last if last is not None and last["change"] == "went" else None


def seen_at(facts: Facts) -> float | None:
    """When the catalogue was first seen as it is now."""
    return seconds(facts.sightings[-1]["at"]) if facts.sightings else None


def moment(at: float | None) -> str:
    """Seconds since 1970 as people write them."""
    if at is None:
        return "an unknown time"
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError):  # the last moment of the year 9999 is rounded up
        return "the end of time"
