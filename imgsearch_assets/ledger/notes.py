"""The ledger: what became of every product, written as the difference to what it says already.

``note_sightings`` compares a snapshot with the one that the ledger came to; ``note_releases`` walks through
the releases that it does not know, whoever made them, and compares each generation with the one before. Both
are functions of what lies in the store, so work that was killed is made up for by the next run, and nothing
is noted twice.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from imgsearch_assets.catalogue.diff import difference
from imgsearch_assets.catalogue.snapshot import (
    changes_of,
    if_readable,
    live_products,
    products_key,
    products_of,
    rejected_key,
)
from imgsearch_assets.ledger.log import append, compact
from imgsearch_assets.ledger.passage import Passing, stages_of
from imgsearch_assets.tables import read_parquet
from serving.errors import NotFound, Unverified
from serving.index.generation import Manifest
from serving.index.store import Release, read_manifest, read_pointer
from serving.ledger.events import PASSAGES, SIGHTINGS, passages, sightings
from serving.ledger.log import EventLog
from serving.ledger.rows import AT
from serving.object_store import ObjectStore

T = TypeVar("T")


def note_sightings(store: ObjectStore, snapshot: str, at: datetime, run: str, environment: str) -> pa.Table:
    """Note what ``snapshot`` changes in the one that was noted last; ``SIGHTINGS``, what was written.

    ``at`` is when the platform noticed it. Where the snapshot before is no longer kept, what is live in
    ``environment`` stands for it.
    """
    log = sightings(store)
    with store.exclusive(log.prefix):
        last = log.last()
        if last is not None and last.mark == snapshot:
            return SIGHTINGS.empty_table()
        before = None
        if last is not None:
            before = _if_there(lambda: read_parquet(store, products_key(last.mark)))
            before = before or if_readable(lambda: live_products(store, environment))
        now = read_parquet(store, products_key(snapshot))
        refused = _refused(read_parquet(store, rejected_key(snapshot)), now)
        known = last and _if_there(lambda: read_parquet(store, rejected_key(last.mark)))
        refused_before = _refused(known, before) if known and before else refused.slice(0, 0)
        changes = _sighted(now, before, refused, refused_before)
        rows = _with(changes, {"at": pa.scalar(at, AT), "snapshot": snapshot, "run": run})
        rows = rows.select(SIGHTINGS.names).cast(SIGHTINGS)
        append(log, rows, _microseconds(at.timestamp()), snapshot)
        compact(log)
    return rows


def _sighted(now: pa.Table, before: pa.Table | None, refused: pa.Table, refused_before: pa.Table) -> pa.Table:
    """product_id, change, reason, detail, updated_at: each product once."""
    # What was refused and is no longer in the table left it, too; what is refused now did not leave it.
    left = _without(_without(refused_before, now), refused).select(["product_id"])
    seen = _without(changes_of(difference(now, before)), refused).select(["product_id", "change"])
    changes = pa.concat_tables([seen, _with(left, {"change": "removed"})])
    place = pc.index_in(changes["product_id"], value_set=now["product_id"].combine_chunks())
    nothing = {"reason": pa.scalar(None, pa.string()), "detail": pa.scalar(None, pa.string())}
    changes = _with(changes, nothing).append_column("updated_at", now["updated_at"].take(place).cast(AT))

    names = ["product_id", "reason", "detail"]
    bad = refused.join(refused_before, names, join_type="left anti")
    bad = _with(bad, {"change": "rejected", "updated_at": pa.scalar(None, AT)})
    return pa.concat_tables([changes, bad.select(changes.column_names)])


def _refused(rejected: pa.Table, products: pa.Table) -> pa.Table:
    """product_id, reason, detail of the products of which no row could be used, for the first such row."""
    named = rejected.filter(pc.is_valid(rejected["product_id"]))
    first = named.group_by("product_id", use_threads=False)
    found = first.aggregate([("reason", "first"), ("detail", "first")])
    return _without(found.rename_columns(["product_id", "reason", "detail"]), products)


def _with(rows: pa.Table, same: Mapping[str, Any]) -> pa.Table:
    """``rows`` with columns that are the same in all."""
    for name, value in same.items():
        rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
    return rows


def _without(rows: pa.Table, others: pa.Table) -> pa.Table:
    there = pc.is_in(rows["product_id"], value_set=others["product_id"].combine_chunks())
    return rows.filter(pc.invert(there))


def note_releases(store: ObjectStore, environment: str) -> pa.Table:
    """Note what every release of ``environment`` since the last one noted changed; what was written.

    ``PASSAGES``. A release whose generation is no longer there is noted with the next.
    """
    log = passages(store, environment)
    written = [PASSAGES.empty_table()]
    with store.exclusive(log.prefix):
        pointer = read_pointer(store, environment).pointer
        last = log.last()
        known = last.last if last else 0
        before = _manifest(store, last.mark) if last else None
        for release in reversed(pointer.history if pointer else ()):
            if _microseconds(release.at) <= known:
                continue
            manifest = _manifest(store, release.generation)
            if manifest is None:
                continue
            found = _passed(store, log, before, manifest)
            rows = _passages(store, found, manifest, release)
            append(log, rows, _microseconds(release.at), manifest.id)
            written.append(rows)
            before = manifest
        compact(log)
    return pa.concat_tables(written)


def _passed(store: ObjectStore, log: EventLog, before: Manifest | None, manifest: Manifest) -> Passing:
    if before is None and log.last() is not None:
        # What was live then is no longer kept: whatever the ledger holds to be live stands for it.
        return Passing.of(products_of(store, manifest), _alive(log))
    return Passing.between(store, before, manifest)


def _alive(log: EventLog) -> pa.Table:
    """The ids of the products that came and did not go."""
    rows = pa.concat_tables(
        [read_parquet(log.store, one.key, ["product_id", "change", "at"]) for one in log.fragments()]
    ).sort_by("at")
    last = rows.group_by("product_id", use_threads=False).aggregate([("change", "last")])
    return last.filter(pc.not_equal(last["change_last"], pa.scalar("went"))).select(["product_id"])


def _passages(store: ObjectStore, found: Passing, manifest: Manifest, release: Release) -> pa.Table:
    at = datetime.fromtimestamp(release.at, UTC)
    rows = found.rows()
    rows = rows.join(stages_of(store, manifest, found, at), "product_id", join_type="left outer")
    there = pc.not_equal(rows["change"], pa.scalar("went"))
    indexed = pa.scalar(datetime.fromtimestamp(manifest.created_at, UTC), AT)
    same = {
        "at": pa.scalar(at, AT),
        "generation": manifest.id,
        "by": f"{release.who}: {release.why}",
        "rolled_back_from": pa.scalar(release.rolled_back_from, pa.string()),
    }
    rows = _with(rows, same)
    rows = rows.append_column("indexed_at", pc.if_else(there, indexed, pa.scalar(None, AT)))
    return rows.select(PASSAGES.names).cast(PASSAGES)


def _manifest(store: ObjectStore, generation: str) -> Manifest | None:
    return _if_there(lambda: read_manifest(store, generation))


def _if_there(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except (NotFound, Unverified):
        return None


def _microseconds(at: float) -> int:
    return round(at * 1_000_000)
