"""Making Milvus serve what an environment's pointer names.

Milvus has aliases but no compare-and-set, so the pointer in the object store stays the authority and the
alias follows it: ``follow`` makes it so, whatever was done or left undone before. Order: rows, flush, index,
load, verify, description, alias. Killed in between, readers see the generation before; the next ``follow``
drops what is half-written and begins anew. One process at a time may do this in one Milvus.
"""

import logging
from dataclasses import dataclass, field

import numpy as np

from serving.errors import Unverified
from serving.index.artifact import GOLDEN_TOLERANCE, load
from serving.index.filters import FACETS
from serving.index.loaded import Generation
from serving.index.store import environments, read_manifest, read_pointer, to_go_back_to
from serving.milvus.client import Client
from serving.milvus.collection import (
    ABOUT,
    ROWS,
    VECTOR,
    alias_name,
    collection_name,
    generation_of,
    index_for,
    scalar_indexes,
    schema,
    search_params,
    vector_index,
)
from serving.milvus.description import Description
from serving.milvus.opening import opened
from serving.milvus.rows import description_entities, entities, rows_there
from serving.milvus.table import Table
from serving.object_store import ObjectStore

log = logging.getLogger(__name__)

# A batch on a busy cluster; a graph of a hundred million rows. Whole: pymilvus ignores others where it waits.
_WRITE_S, _BUILD_S = 60, 6 * 3600
_SAMPLE = 8


@dataclass(frozen=True)
class Followed:
    """What was done: the generation that is served, whether it was written, the collections dropped."""

    generation: str
    written: bool = False
    dropped: list[str] = field(default_factory=list)


def follow(store: ObjectStore, environment: str, client: Client, keep: int = 3) -> Followed | None:
    """Make the alias of ``environment`` lead to what its pointer names; None before its first release.

    A roll-back is the same: the older collection is still there, or is written again. Raises
    ``Unverified`` or ``NotFound`` when the generation must not be served (the alias stays) and
    ``Unavailable``.
    """
    alias = alias_name(environment)
    while True:
        pointer = read_pointer(store, environment).pointer
        if pointer is None:
            return None
        generation = pointer.live.generation
        collection = collection_name(generation)
        written = not _complete(client, collection)
        if written:
            manifest = read_manifest(store, generation, pointer.live.manifest_sha256)
            write(client, load(store, manifest))
        target = client.target_of(alias)
        if target is None:
            client.call("create_alias", collection, alias, timeout_s=_WRITE_S)
        elif target != collection:
            client.call("alter_alias", collection, alias, timeout_s=_WRITE_S)
        now = read_pointer(store, environment).pointer
        if now is not None and now.live.generation == generation:  # nobody moved it meanwhile
            return Followed(generation, written, _tidy(store, client, keep))


def write(client: Client, generation: Generation) -> None:
    """Write a generation into its collection, from nothing, and verify it.

    Raises ``Unverified`` when Milvus does not hold what was written, and ``Unavailable``.
    """
    manifest, rows = generation.manifest, rows_there(generation)
    collection, index = collection_name(manifest.id), index_for(len(rows))
    drop(client, collection)
    client.call("create_collection", collection, schema=schema(manifest.dim), timeout_s=_WRITE_S)
    client.call("create_partition", collection, ABOUT, timeout_s=_WRITE_S)
    for batch in entities(generation):
        client.call("insert", collection, batch, timeout_s=_WRITE_S)
    client.call("flush", collection, timeout_s=_BUILD_S)
    client.call("create_index", collection, scalar_indexes(), timeout_s=_WRITE_S, sync=False)
    client.call("create_index", collection, vector_index(index), timeout_s=_BUILD_S)
    client.call("load_collection", collection, timeout_s=_BUILD_S)
    _verify(client, generation, collection)
    description = Description(
        generation=manifest.id,
        embedder=manifest.embedder,
        detector=manifest.detector,
        dim=manifest.dim,
        products=manifest.products,
        rows=len(rows),
        created_at=manifest.created_at,
        index=index,
        values={facet: generation.values(facet) for facet in FACETS},
    )
    about = description_entities(description.pieces(), batch[0])
    client.call("insert", collection, about, partition_name=ABOUT, timeout_s=_WRITE_S)
    client.call("flush", collection, timeout_s=_BUILD_S)
    opened(client, collection)
    log.info("generation %s is in Milvus", manifest.id, extra={"fields": {"rows": len(rows)}})


def drop(client: Client, collection: str) -> None:
    """Remove a collection and the aliases that lead to it. Raises ``Unavailable``."""
    if not client.call("has_collection", collection):
        return
    for alias in client.call("list_aliases", collection)["aliases"]:
        client.call("drop_alias", alias, timeout_s=_WRITE_S)
    client.call("drop_collection", collection, timeout_s=_WRITE_S)


def _complete(client: Client, collection: str) -> bool:
    if not client.call("has_collection", collection):
        return False
    try:
        opened(client, collection, _BUILD_S)
    except Unverified as error:
        log.warning("%s", error)
        return False
    return True


def _verify(client: Client, generation: Generation, collection: str) -> None:
    """A few rows must be there as they are, and be found by their own vectors."""
    rows = rows_there(generation)
    index = index_for(len(rows))
    counted = Table(client, collection, index).count("")
    if counted != len(rows):
        raise Unverified(f"collection {collection} has {counted} rows, not {len(rows)}")
    sample = np.unique(rows[np.linspace(0, len(rows) - 1, _SAMPLE).astype(np.int64)])
    xq = generation.vectors_of(sample)
    kept = client.call(
        "query",
        collection,
        filter=f"row in {sample.tolist()}",
        output_fields=["row", "product_id", VECTOR],
        consistency_level="Strong",
    )
    held = {one["row"]: (one["product_id"], one[VECTOR]) for one in kept}
    best = client.call(
        "search",
        collection,
        data=list(xq),
        anns_field=VECTOR,
        limit=1,
        partition_names=[ROWS],
        search_params=search_params(index, 1),
        consistency_level="Strong",
    )
    for row, vector, hits in zip(sample.tolist(), xq, best, strict=True):
        product_id, stored = held.get(row, ("", []))
        if product_id != generation.id_of(generation.row_product[row]) or not np.array_equal(stored, vector):
            raise Unverified(f"collection {collection} does not hold row {row} as it was written")
        score, own = float(hits[0]["distance"]) if hits else -1.0, float(vector @ vector)
        if score < own - GOLDEN_TOLERANCE:
            raise Unverified(f"row {row} of collection {collection} finds {score:.4f}, not {own:.4f}")


def _tidy(store: ObjectStore, client: Client, keep: int) -> list[str]:
    """Drop our collections that nobody can need, half-written ones too; their names.

    Kept are those that an alias names and what every environment can go back to (``to_go_back_to``). Of these
    the live and the one before stay in Milvus's memory; readers may not have left it yet.
    """
    kept, loaded = set(), set()
    for environment in environments(store):
        pointer = read_pointer(store, environment).pointer
        history = pointer.history if pointer else ()
        names = [collection_name(generation) for generation in to_go_back_to(history, keep)]
        kept.update(names)
        loaded.update(names[:2])
    dropped = []
    for collection in client.call("list_collections"):
        if generation_of(collection) is None or client.call("list_aliases", collection)["aliases"]:
            continue
        if collection not in kept:
            drop(client, collection)
            dropped.append(collection)
        elif collection not in loaded:
            client.call("release_collection", collection)
    return dropped
