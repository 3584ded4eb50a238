"""What a run has to pass on its way to a generation: is the catalogue, or what was got of it, absurd?

Shares of what is live, but for the first ``spare`` products, which are none of a shop worth stopping for.
No IO.
"""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from imgsearch_assets.catalogue.diff import Difference
from imgsearch_assets.gates.generation import Gate
from serving.index.loaded import Generation


@dataclass(frozen=True)
class Bounds:
    """How much may be wrong; why so much is said with the settings of these names."""

    spare: int = 20
    min_rows: float = 0.5
    max_rejected: float = 0.2
    max_removed: float = 0.2
    max_changed: float = 0.5
    max_not_downloaded: float = 0.2
    min_searchable: float = 0.9

    def allowed(self, share: float, of: int) -> int:
        """How many of ``of`` may be so."""
        return max(self.spare, int(of * share))


def enough_rows(products: int, live: int | None, bounds: Bounds) -> Gate:
    """The snapshot is not half of a catalogue."""
    if live is None:
        return Gate("enough_rows", True, products, 1, f"{products} products; nothing is live")
    wanted = max(1, live - bounds.allowed(1 - bounds.min_rows, live))
    return Gate(
        "enough_rows",
        products >= wanted,
        products,
        wanted,
        f"{products} products in the snapshot, at least {wanted} wanted: {live} are live",
    )


def few_rejected(products: int, rejected: int, bounds: Bounds) -> Gate:
    """Nearly all rows keep to the contract."""
    rows = products + rejected
    return _at_most(
        "few_rejected", rejected, rows, bounds.allowed(bounds.max_rejected, rows), "rows rejected"
    )


def of_difference(change: Difference, bounds: Bounds) -> list[Gate]:
    """Not too much of what is live goes, nor changes. A row merely written again is no change."""
    counts = change.counts
    live = sum(counts.values()) - counts["new"]
    changed = counts["repictured"] + counts["reattributed"]
    removed = bounds.allowed(bounds.max_removed, live)
    return [
        _at_most("few_removed", counts["removed"], live, removed, "live products removed"),
        _at_most(
            "few_changed", changed, live, bounds.allowed(bounds.max_changed, live), "live products changed"
        ),
    ]


def few_not_downloaded(failed: int, wanted: int, bounds: Bounds) -> Gate:
    """Most pictures that the catalogue names can be had."""
    allowed = bounds.allowed(bounds.max_not_downloaded, wanted)
    return _at_most("few_not_downloaded", failed, wanted, allowed, "pictures not to be had")


def coverage(products: pa.Table, generation: Generation, bounds: Bounds) -> Gate:
    """What can be bought can be found: products of the snapshot in stock that are in the generation."""
    active = products.filter(products["in_stock"])["product_id"]
    there = generation.products["product_id"].take(generation.present()).combine_chunks()
    found = active.filter(pc.is_in(active, value_set=there)).length()
    wanted = max(0, len(active) - bounds.allowed(1 - bounds.min_searchable, len(active)))
    return Gate(
        "coverage",
        found >= wanted,
        found / max(1, len(active)),
        wanted / max(1, len(active)),
        f"{found} of {len(active)} products in stock are searchable, at least {wanted} wanted",
    )


def complete(wanted: int, lacking: int) -> Gate:
    """Everything read back from the feature store is what was written."""
    return Gate(
        "feature_store_complete",
        not lacking,
        wanted - lacking,
        wanted,
        f"{wanted - lacking} of {wanted} pictures read back from Redis as they were written"
        + ("; is its memory full?" if lacking else ""),
    )


def _at_most(name: str, count: int, of: int, allowed: int, what: str) -> Gate:
    return Gate(name, count <= allowed, count, allowed, f"{count} of {of} {what}, at most {allowed} allowed")
