"""What is kept of the catalogue's pictures: the bytes under their hash, and one row for every URL."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa

from imgsearch_assets.tables import GrowingTable
from serving.errors import BadImage
from serving.object_store import ObjectStore

# Failures that the same URL will show again tomorrow, unless the shop mends it.
PERMANENT = BadImage.REASONS | {"not_found"}
# ``postponed``: not asked, because the host said to stay away or did not answer others.
REASONS = PERMANENT | {"http_error", "timeout", "connection", "bad_address", "postponed"}

_FIELDS: "list[pa.Field[Any]]" = [
    pa.field("url", pa.string(), nullable=False),
    pa.field("status", pa.string(), nullable=False),
    pa.field("reason", pa.string()),
    pa.field("http_status", pa.int16()),
    pa.field("sha256", pa.string()),
    pa.field("size_bytes", pa.int64()),
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("etag", pa.string()),
    pa.field("last_modified", pa.string()),
    pa.field("fetched_at", pa.timestamp("us", "UTC"), nullable=False),
    pa.field("attempts", pa.int32(), nullable=False),
    pa.field("retry_after", pa.timestamp("us", "UTC")),
]
FETCHES = pa.schema(_FIELDS)


@dataclass(frozen=True, slots=True)
class Fetch:
    """One row of ``FETCHES``: what is known of a URL.

    ``ok`` has a picture in the store. ``ok`` with a ``reason`` has the picture of an earlier day, because
    asking again failed; ``fetched_at`` is still that day. ``attempts`` counts the tries that failed so far,
    and the one that did not; ``retry_after`` is when to try again.
    """

    url: str
    status: Literal["ok", "failed"]
    reason: str | None
    http_status: int | None
    sha256: str | None
    size_bytes: int | None
    width: int | None
    height: int | None
    etag: str | None
    last_modified: str | None
    fetched_at: datetime
    attempts: int
    retry_after: datetime | None


def fetch_rows(fetches: Sequence[Fetch]) -> pa.Table:
    """The fetches as a table of ``FETCHES``."""
    return pa.Table.from_pylist([asdict(fetch) for fetch in fetches], schema=FETCHES)


def fetch_table(store: ObjectStore) -> GrowingTable:
    """The table of fetches of this store."""
    return GrowingTable(store, "fetches", FETCHES, ("url",))


def picture_key(sha256: str) -> str:
    """Where the bytes of a picture lie in the object store."""
    return f"images/{sha256}"
