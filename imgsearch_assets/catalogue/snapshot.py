"""Snapshots of the catalogue and the tables that lead from one to an index: immutable, named by content."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from imgsearch_assets.catalogue.contract import Checked, check_rows
from imgsearch_assets.catalogue.diff import Difference
from imgsearch_assets.catalogue.source import content_version
from imgsearch_assets.catalogue.warehouse import Answer, Warehouse
from imgsearch_assets.features.tables import detections_of
from imgsearch_assets.tables import parquet_bytes, read_parquet
from serving.errors import BadInput, NotFound, Unverified
from serving.index.generation import ITEMS, Manifest, Segment
from serving.index.store import read_manifest, read_pointer, verify
from serving.models.detection import item_boxes
from serving.object_store import ObjectStore

T = TypeVar("T")

log = logging.getLogger(__name__)

_CHANGES: "list[pa.Field[Any]]" = [
    pa.field("product_id", pa.string()),
    pa.field("change", pa.string()),
    pa.field("rewritten", pa.bool_()),
]
CHANGES = pa.schema(_CHANGES)
# How many looks there were.
_LOOKS = "snapshots/looks"
PICTURES = pa.schema([(name, pa.string()) for name in ("product_id", "category", "image_url", "sha256")])


def products_key(snapshot: str) -> str:
    return f"snapshots/{snapshot}/products.parquet"


def rejected_key(snapshot: str) -> str:
    return f"snapshots/{snapshot}/rejected.parquet"


def look_of(store: ObjectStore, snapshot: str) -> int:
    """The number of the last look that saw the catalogue with this content: 1 is the first, 0 is unknown."""
    return _number(store, f"snapshots/{snapshot}/look")


def number_look(store: ObjectStore, snapshot: str) -> None:
    """Note that the last look at the catalogue saw this content. By one at a time."""
    look = _number(store, _LOOKS) + 1
    store.put(_LOOKS, str(look).encode())
    store.put(f"snapshots/{snapshot}/look", str(look).encode())


def _number(store: ObjectStore, key: str) -> int:
    return int(store.get(key)) if store.exists(key) else 0


def take_snapshot(store: ObjectStore, warehouse: Warehouse) -> tuple[str, Answer[Checked]]:
    """Read, check and keep the catalogue; the snapshot's id and content, and what reading it cost.

    One at a time: ``imgsearch_assets.release.order`` goes by its number, so that of the last read is the
    highest. No clock has a part in it.
    Raises as ``Warehouse.snapshot``, and ``BadInput`` when no row can be used.
    """
    with store.exclusive("snapshots"):
        read = warehouse.snapshot()
        checked = check_rows(read.value)
        if checked.products.num_rows == 0:
            reasons = ", ".join(f"{reason} {count}" for reason, count in checked.rejections().items())
            raise BadInput(
                f"none of the {read.value.num_rows} rows of {warehouse.location} can be used ({reasons})"
            )
        snapshot = content_version(checked.products, checked.rejected)
        store.put(rejected_key(snapshot), parquet_bytes(checked.rejected))
        store.put(products_key(snapshot), parquet_bytes(checked.products))
        number_look(store, snapshot)
    return snapshot, Answer(checked, read.metadata)


def live_manifest(store: ObjectStore, environment: str) -> Manifest | None:
    """The manifest of what is live in ``environment``, None before the first release.

    Raises ``Unverified`` or ``NotFound`` when it is not what was released.
    """
    pointer = read_pointer(store, environment).pointer
    if pointer is None:
        return None
    return read_manifest(store, pointer.live.generation, pointer.live.manifest_sha256)


def if_readable(read: Callable[[], T]) -> T | None:
    """What ``read`` gives of what is live; None where that is damaged, as if nothing were.

    So a run goes on, and writes it anew.
    """
    try:
        return read()
    except (NotFound, Unverified) as error:
        log.warning("what is live is damaged, and is written anew: %s", error)
        return None


def live_products(store: ObjectStore, environment: str) -> pa.Table | None:
    """The products of the generation that is live in ``environment``, None before the first release.

    Raises ``Unverified`` or ``NotFound`` when they are not what was released.
    """
    manifest = live_manifest(store, environment)
    return None if manifest is None else products_of(store, manifest)


def products_of(store: ObjectStore, manifest: Manifest) -> pa.Table:
    """The products that a generation finds. Raises as ``verify``."""
    table = _read(store, manifest.segment("products"))
    for delta in manifest.deltas:
        removed = _read(store, delta.segment("removed"))["product_id"].combine_chunks()
        left = table.filter(pc.invert(pc.is_in(table["product_id"], value_set=removed)))
        table = pa.concat_tables([left, _read(store, delta.segment("products"))], promote_options="default")
    return table


def _read(store: ObjectStore, segment: Segment) -> pa.Table:
    verify(store, segment)
    return read_parquet(store, segment.key)


def newest_change(store: ObjectStore, snapshot: str) -> float | None:
    """When the retailer last wrote a row of the snapshot, seconds since 1970; None if no row says."""
    written = read_parquet(store, products_key(snapshot), ["updated_at"])["updated_at"]
    newest: int | None = pc.max(written.cast(pa.int64())).as_py()
    return None if newest is None else newest / 1_000_000


def keep(store: ObjectStore, snapshot: str, name: str, table: pa.Table) -> str:
    """Put a table that belongs to a snapshot into the store; its key, which holds a hash of the content."""
    key = f"snapshots/{snapshot}/{name}-{content_version(table)}.parquet"
    if not store.exists(key):
        store.put(key, parquet_bytes(table))
    return key


def changes_of(change: Difference) -> pa.Table:
    """``CHANGES``: every changed product, the name of its change, and whether it was written again since."""
    tables = {name: getattr(change, name) for name in change.counts if name != "unchanged"}
    ids: Any = pa.chunked_array([chunk for table in tables.values() for chunk in table["product_id"].chunks])
    names = pa.array([name for name, table in tables.items() for _ in range(table.num_rows)], pa.string())
    rewritten = pc.is_in(ids, value_set=change.rewritten["product_id"].combine_chunks())
    return pa.table([ids, names, rewritten], schema=CHANGES)


def urls_of(products: pa.Table) -> pa.Table:
    """A row a picture (product_id, category, image_url, updated_at), each once a product."""
    parents = pc.list_parent_indices(products["image_urls"])
    flat = pc.list_flatten(products["image_urls"])
    columns = {name: products[name].take(parents) for name in ("product_id", "category", "updated_at")}
    exploded = pa.table({**columns, "image_url": flat})
    numbered = exploded.append_column("_row", pa.array(range(exploded.num_rows), pa.int64()))
    first = numbered.group_by(["product_id", "image_url"]).aggregate([("_row", "min")])["_row_min"]
    return exploded.take(first.combine_chunks().sort())


def pictures_of(urls: pa.Table, fetches: pa.Table) -> pa.Table:
    """``PICTURES``: those of ``urls_of`` that are in the store, in order of product and URL."""
    good = fetches.filter(pc.equal(fetches["status"], pa.scalar("ok"))).select(["url", "sha256"])
    found = urls.join(good, "image_url", "url", join_type="inner")
    return found.select(PICTURES.names).sort_by([("product_id", "ascending"), ("image_url", "ascending")])


def items_of(pictures: pa.Table, detections: pa.Table) -> pa.Table:
    """``ITEMS``: the boxes of every picture that get a vector; none of a picture without a good row."""
    good = detections.filter(pc.equal(detections["status"], pa.scalar("ok")))
    found = {row["sha256"]: detections_of(row) for row in good.to_pylist()}
    rows = [
        {**row, "box": box.key}
        for row in pictures.to_pylist()
        if row["sha256"] in found
        for box in item_boxes(found[row["sha256"]], row["category"])
    ]
    return pa.Table.from_pylist(rows, schema=ITEMS)


def with_vectors(items: pa.Table, embeddings: pa.Table) -> pa.Table:
    """``items`` that have a good row of ``embeddings``, in their order, with its ``vector``."""
    good = embeddings.filter(pc.equal(embeddings["status"], pa.scalar("ok")))
    place: Any = pc.index_in(_pair(items), value_set=_pair(good).combine_chunks())
    there = pc.is_valid(place)
    vectors = good["vector"].combine_chunks().take(place.filter(there).combine_chunks())
    return items.filter(there).append_column("vector", vectors)


def _pair(rows: pa.Table) -> Any:
    """sha256 and box of each row as one text."""
    join: Any = pc.binary_join_element_wise  # whose stub forgets the separator
    return join(rows["sha256"], rows["box"], " ")


def touched_now(urls: pa.Table, changes: pa.Table, now: datetime) -> pa.Table:
    """``urls_of`` with ``updated_at`` at ``now`` where the product was written again.

    A catalogue may write days, or its clock may be wrong: that the column moved says more than what it says.
    """
    touched = changes.filter(changes["rewritten"])["product_id"].combine_chunks()
    instant = pa.scalar(now, urls.schema.field("updated_at").type)
    updated_at = pc.if_else(pc.is_in(urls["product_id"], value_set=touched), instant, urls["updated_at"])
    return urls.set_column(urls.schema.get_field_index("updated_at"), "updated_at", updated_at)


def failures_of(urls: pa.Table, fetches: pa.Table) -> pa.Table:
    """The pictures that could not be had (product_id, image_url, reason), in order of product."""
    failed = fetches.filter(pc.equal(fetches["status"], pa.scalar("failed"))).select(["url", "reason"])
    found = urls.join(failed, "image_url", "url", join_type="inner")
    return found.select(["product_id", "image_url", "reason"]).sort_by("product_id")
