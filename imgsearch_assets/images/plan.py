"""What to download, from what the catalogue names and what is known; no IO."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from imgsearch_assets.images.store import FETCHES, PERMANENT, Fetch


@dataclass(frozen=True)
class Target:
    """A URL to ask for, and what is known of it."""

    url: str
    previous: Fetch | None


@dataclass(frozen=True)
class DownloadPlan:
    """Every URL of the catalogue once. ``new`` and ``fresh`` hold ``url``; the others rows of ``FETCHES``.

    ``revalidate`` has a picture, but its product was touched since; ``retry`` failed and is due again;
    ``waiting`` would be asked for, but not yet; ``fresh`` needs nothing.
    """

    new: pa.Table
    revalidate: pa.Table
    retry: pa.Table
    waiting: pa.Table
    fresh: pa.Table

    @property
    def total(self) -> int:
        """How many URLs will be asked for."""
        return self.new.num_rows + self.revalidate.num_rows + self.retry.num_rows

    @property
    def counts(self) -> dict[str, int]:
        return {
            name: getattr(self, name).num_rows for name in ("new", "revalidate", "retry", "waiting", "fresh")
        }

    def targets(self) -> Iterator[Target]:
        """What to ask for: new pictures first, then changed ones, then what failed before."""
        for row in self.new.to_pylist():
            yield Target(row["url"], None)
        for table in (self.revalidate, self.retry):
            for batch in table.to_batches(max_chunksize=10_000):
                for row in batch.to_pylist():
                    yield Target(row["url"], Fetch(**row))


def plan_downloads(urls: pa.Table, fetches: pa.Table, now: datetime) -> DownloadPlan:
    """Sort the catalogue's URLs by what has to be done about each.

    ``urls`` has ``url`` and ``updated_at`` (of the product; may be null, and a URL may come more than once);
    ``fetches`` is of ``FETCHES``. A picture is asked for again when its product was touched after it was
    fetched. A passing failure waits for its ``retry_after`` even then, since the host may have named it; a
    permanent one is tried at once.
    """
    order = pa.array(range(urls.num_rows), pa.int64())
    wanted = (
        urls.select(["url", "updated_at"])
        .append_column("_order", order)
        .group_by("url")
        .aggregate([("updated_at", "max"), ("_order", "min")])
        .rename_columns(["url", "_updated_at", "_order"])
    )
    known = wanted.join(fetches.select(FETCHES.names), "url", join_type="left outer").sort_by("_order")

    updated_at = pc.field("_updated_at").cast(pa.timestamp("us", "UTC"))
    retry_after = pc.field("retry_after")
    ok, failed = (pc.field("status").isin([status]) for status in ("ok", "failed"))
    touched = pc.is_valid(updated_at) & pc.greater(updated_at, pc.field("fetched_at"))
    due = pc.is_null(retry_after) | pc.less_equal(retry_after, pa.scalar(now, pa.timestamp("us", "UTC")))
    permanent = pc.field("reason").isin(sorted(PERMANENT))

    stale = ok & touched
    again = failed & (due | (permanent & touched))
    return DownloadPlan(
        new=known.filter(pc.field("status").is_null()).select(["url"]),
        revalidate=known.filter(stale & due).select(FETCHES.names),
        retry=known.filter(again).select(FETCHES.names),
        waiting=known.filter((stale & ~due) | (failed & ~again)).select(FETCHES.names),
        fresh=known.filter(ok & ~touched).select(["url"]),
    )
