"""What the gate says of a model that was trained, whether it goes live or not."""

from dataclasses import dataclass

from imgsearch_assets.models.registration import Compared, Refused, TooFew, beside_live
from imgsearch_assets.training.trainer import Result, offer
from serving.object_store import ObjectStore


@dataclass(frozen=True)
class Verdict:
    """``live`` is whether it is; ``passed`` whether it is not worse, by the figures ``compared``."""

    live: bool
    passed: bool
    message: str
    compared: tuple[Compared, ...] = ()


def verdict(
    store: ObjectStore, result: Result, who: str, why: str, *, offered: bool, waive: bool = False
) -> Verdict:
    """Keep ``result`` as a candidate; where it is ``offered``, make it live if the gate lets it pass."""
    bundle = result.store(store)
    named = f"{bundle.name} {bundle.version}"
    if not offered:
        _, compared = beside_live(store, bundle, result.yardstick)
        passed = all(one.passed for one in compared)
        return Verdict(False, passed, f"{named} is kept, and was not offered", compared)
    try:
        done = offer(store, result, who or "dagster", why or f"job train_{bundle.name}", waive=waive)
    except Refused as refused:
        return Verdict(False, False, refused.message, refused.compared)
    except TooFew as few:
        return Verdict(False, False, few.message, beside_live(store, bundle, result.yardstick)[1])
    if not done.changed:
        return Verdict(True, True, f"{named} was live already")
    if not done.waived:
        return Verdict(True, True, f"{named} is live", done.compared)
    worse = "; ".join(one.sentence for one in done.waived)
    return Verdict(
        True, False, f"{named} is live, though worse ({worse}), as {who} says: {why}", done.compared
    )
