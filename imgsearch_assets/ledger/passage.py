"""What one generation changed in the one before, product by product, and how each product came there."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from imgsearch_assets.catalogue.diff import difference
from imgsearch_assets.catalogue.snapshot import products_of
from imgsearch_assets.features.tables import detections_table, embeddings_table, texts
from imgsearch_assets.images.store import fetch_table
from imgsearch_assets.tables import read_parquet
from serving.index.generation import Manifest
from serving.ledger.events import sightings
from serving.ledger.rows import AT, rows_where
from serving.object_store import ObjectStore

_LEFT = ("removed", "rejected")
_TIMES = ("fetched_at", "detected_at", "embedded_at")


@dataclass(frozen=True)
class Passing:
    """Ids (Arrow's text) of the products that ``came``, ``changed`` or ``went``."""

    came: Any
    changed: Any
    went: Any

    @classmethod
    def between(cls, store: ObjectStore, before: Manifest | None, after: Manifest) -> Self:
        """Read the deltas alone where ``after`` is ``before`` and some more of them."""
        deltas = () if before is None else after.deltas[: len(before.deltas)]
        if before is None or before.segments != after.segments or before.deltas != deltas:
            return cls.of(products_of(store, after), None if before is None else products_of(store, before))
        was: dict[str, bool] = {}
        now: dict[str, bool] = {}
        for delta in after.deltas[len(deltas) :]:
            gone, there = (
                read_parquet(store, delta.segment(kind).key, ["product_id"])["product_id"].to_pylist()
                for kind in ("removed", "products")
            )
            for names, state in ((gone, False), (there, True)):
                for name in map(str, names):
                    was.setdefault(name, not state)
                    now[name] = state
        return cls(
            *(
                pa.array([name for name in now if (was[name], now[name]) == pair], pa.string())
                for pair in ((False, True), (True, True), (True, False))
            )
        )

    @classmethod
    def of(cls, after: pa.Table, before: pa.Table | None) -> Self:
        """The same of two tables of products; of ``before`` the ids may be all there is."""
        ids: Any = after["product_id"].combine_chunks()
        nothing = ids.slice(0, 0)
        if before is None:
            return cls(ids, nothing, nothing)
        if before.column_names == ["product_id"]:
            were: Any = before["product_id"].combine_chunks()
            came, went = (
                one.filter(pc.invert(pc.is_in(one, other))) for one, other in ((ids, were), (were, ids))
            )
            return cls(came, nothing, went)
        change = difference(after, before)
        changed = pa.concat_tables([change.repictured, change.touched, change.reattributed])
        return cls(*(table["product_id"].combine_chunks() for table in (change.new, changed, change.removed)))

    def rows(self) -> pa.Table:
        """product_id and change."""
        parts = (("came", self.came), ("changed", self.changed), ("went", self.went))
        return pa.table(
            {
                "product_id": pa.concat_arrays([ids for _, ids in parts]),
                "change": pa.array([name for name, ids in parts for _ in range(len(ids))], pa.string()),
            }
        )


def stages_of(store: ObjectStore, manifest: Manifest, found: Passing, at: datetime) -> pa.Table:
    """Of the products of ``manifest`` that came or changed: when each stage of each was through.

    product_id, seen_as, seen_at, updated_at, then when the last of its pictures was fetched, detected and
    embedded. Nothing that came after ``at``.
    """
    ids = pa.concat_arrays([found.came, found.changed])
    return _seen(store, found, ids, at).join(
        _worked(store, manifest, ids, at), "product_id", join_type="left outer"
    )


def _seen(store: ObjectStore, found: Passing, ids: Any, at: datetime) -> pa.Table:
    """What came counts from when it first was there again; what changed from its last change."""
    rows = sightings(store).about(ids.to_pylist(), ["product_id", "change", "at", "updated_at"])
    rows = rows.filter(pc.less_equal(rows["at"], pa.scalar(at, AT)))
    left = rows.filter(pc.is_in(rows["change"], pa.array(_LEFT)))
    there = rows.filter(pc.invert(pc.is_in(rows["change"], pa.array(_LEFT))))
    gone = left.group_by("product_id").aggregate([("at", "max")]).rename_columns(["product_id", "gone_at"])
    there = there.join(gone, "product_id", join_type="left outer").sort_by("at")
    since: Any = pc.greater(there["at"], there["gone_at"])
    there = there.filter(pc.fill_null(since, True))
    came = pc.is_in(there["product_id"], found.came)
    parts = []
    firsts: tuple[tuple[pa.Table, Any], ...] = (
        (there.filter(came), "first"),
        (there.filter(pc.invert(came)), "last"),
    )
    for mine, which in firsts:
        taken = [(name, which) for name in ("change", "at", "updated_at")]
        part = mine.group_by("product_id", use_threads=False).aggregate(taken)
        parts.append(part.rename_columns(["product_id", "seen_as", "seen_at", "updated_at"]))
    seen = pa.concat_tables(parts)
    return pa.table({"product_id": ids}).join(seen, "product_id", join_type="left outer")


def _worked(store: ObjectStore, manifest: Manifest, ids: Any, at: datetime) -> pa.Table:
    pictures = _pictures(store, manifest, ids)
    shas, urls = (set(texts(pictures, name)) for name in ("sha256", "image_url"))
    # Whatever the length of a vector: none is read.
    vectors = embeddings_table(store, manifest.embedder, dim=1)
    found = (
        ("image_url", fetch_table(store).find(urls, ["url", "fetched_at"]), "url", "fetched_at"),
        ("sha256", detections_table(store, manifest.detector).find(shas, ["sha256"]), "sha256", "written_at"),
        ("sha256", vectors.find(shas, ["sha256"]), "sha256", "written_at"),
    )
    for (name, table, key, time), as_name in zip(found, _TIMES, strict=True):
        table = table.filter(pc.less_equal(table[time], pa.scalar(at, AT)))
        latest = table.group_by(key).aggregate([(time, "max")]).rename_columns([name, as_name])
        pictures = pictures.join(latest, name, join_type="left outer")
    return (
        pictures.group_by("product_id")
        .aggregate([(name, "max") for name in _TIMES])
        .rename_columns(["product_id", *_TIMES])
    )


def _pictures(store: ObjectStore, manifest: Manifest, ids: Any) -> pa.Table:
    """product_id, image_url, sha256 of the rows of ``ids``; of a delta's where there is one."""
    names, wanted = ["product_id", "image_url", "sha256"], ids.to_pylist()
    keys = [manifest.segment("items").key, *(delta.segment("items").key for delta in manifest.deltas)]
    parts, left = [], set(wanted)
    for key in reversed(keys):
        part = rows_where(store, key, "product_id", left, names)
        parts.append(part)
        left -= set(part["product_id"].to_pylist())
    return pa.concat_tables(parts).group_by(names).aggregate([])
