"""What the ledger keeps of every product: how the catalogue changed, and what each release did."""

from typing import Any

import pyarrow as pa

from serving.ledger.log import EventLog
from serving.ledger.rows import AT
from serving.object_store import ObjectStore

SEEN = ("new", "removed", "repictured", "touched", "reattributed", "rejected")
PASSED = ("came", "changed", "went")

_SIGHTINGS: "list[pa.Field[Any]]" = [
    pa.field("product_id", pa.string()),
    pa.field("change", pa.string()),  # of SEEN, against the snapshot before
    pa.field("reason", pa.string()),  # of a rejected row; ``detail`` too
    pa.field("detail", pa.string()),
    pa.field("at", AT),  # when the platform noticed
    pa.field("updated_at", AT),  # what the catalogue says
    pa.field("snapshot", pa.string()),
    pa.field("run", pa.string()),
]
SIGHTINGS = pa.schema(_SIGHTINGS)

_PASSAGES: "list[pa.Field[Any]]" = [
    pa.field("product_id", pa.string()),
    pa.field("change", pa.string()),  # of PASSED, against what was live before
    pa.field("at", AT),  # of the release
    pa.field("generation", pa.string()),
    pa.field("by", pa.string()),  # who released, and why
    pa.field("rolled_back_from", pa.string()),
    # How it came there; null for what went, and where it was before the ledger was kept.
    pa.field("seen_as", pa.string()),
    pa.field("seen_at", AT),
    pa.field("updated_at", AT),
    pa.field("fetched_at", AT),
    pa.field("detected_at", AT),
    pa.field("embedded_at", AT),
    pa.field("indexed_at", AT),
]
PASSAGES = pa.schema(_PASSAGES)


def sightings(store: ObjectStore) -> EventLog:
    """Every change of the catalogue, once; its marks are snapshots."""
    return EventLog(store, "sightings", SIGHTINGS)


def passages(store: ObjectStore, environment: str) -> EventLog:
    """What each release of ``environment`` changed, product by product; its marks are generations."""
    return EventLog(store, f"passages/{environment}", PASSAGES)
