"""Building a generation of the index. What it has to pass before it goes live is in ``gates``."""

import hashlib
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from imgsearch_assets.index.base import build_base, figures_of
from imgsearch_assets.index.tables import in_order
from imgsearch_assets.progress import Advance, silent
from imgsearch_assets.tables import parquet_bytes
from serving.errors import BadInput, Conflict, NotFound, Unverified
from serving.index import store as index_store
from serving.index.artifact import GOLDEN_BEAM, take_over, write_segment
from serving.index.generation import (
    FORMAT,
    GRAPH,
    GROUPS,
    METRIC,
    REMOVED,
    VECTOR,
    Delta,
    Figures,
    Golden,
    Kind,
    Manifest,
    Segment,
    generation_id,
    manifest_key,
)
from serving.index.kinds import parameters
from serving.object_store import ObjectStore

_GOLDEN_ROWS = 16


def build_generation(
    store: ObjectStore,
    products: pa.Table,
    items: pa.Table,
    vectors: NDArray[np.float32],
    *,
    embedder: str,
    preprocessing: str,
    detector: str,
    snapshot: str,
    graph: str = GRAPH,
    advance: Advance = silent,
) -> Manifest:
    """Write a generation of ``vectors`` float32 (n, d), rows of unit length, one for each row of ``items``.

    ``items`` has the columns ``generation.ITEMS``; ``products`` those of ``generation.PRODUCTS``, and where
    they are known ``generation.GROUPS`` (else each product is a group of its own); any others are kept with
    them. Products without an item are left out. The same content is the same generation: what lies there
    whole is not written a second time, what is damaged is written anew under the same id. A graph of the same
    vectors is taken over from an earlier generation. ``graph`` is one of ``generation.FACTORY``. ``advance``
    is told of every row, ``len(vectors)`` in all.

    Raises ``BadInput`` when the parts do not fit together, ``Conflict`` when a file was removed meanwhile.
    """
    items, products, vectors = in_order(items, products, vectors)
    if not len(vectors):
        raise BadInput("there is nothing to index: no item has a vector")
    _check_groups(products)
    parts = [
        write_segment(store, "items", parquet_bytes(items)),
        write_segment(store, "products", parquet_bytes(products)),
    ]
    inputs: dict[str, Any] = {
        "format": FORMAT,
        "metric": METRIC,
        "graph": graph,
        "faiss_version": faiss.__version__,
        "vectors_sha256": _hash(vectors),
        "embedder": embedder,
        "preprocessing": preprocessing,
        "detector": detector,
        "snapshot": snapshot,
    }
    generation = generation_id(items_sha256=parts[0].sha256, products_sha256=parts[1].sha256, **inputs)
    before, seen = _there(store, generation)
    if before is not None and _is_whole(store, before.segment("base")):  # the others are as of just now
        advance(len(vectors))
        return before
    base = _earlier_base(store, inputs)
    if base is None:
        base = _build_base(store, vectors, graph, advance)
    else:
        advance(len(vectors))
    fields: dict[str, Any] = {
        **inputs,
        "id": generation,
        "created_at": time.time(),
        "segments": (base.segment, *parts),
        "products": products.num_rows,
        "rows": items.num_rows,
        "dim": vectors.shape[1],
        "figures": base.figures,
        "golden": base.golden,
    }
    return _written(store, Manifest.model_validate(fields), seen)


def build_delta(
    store: ObjectStore,
    parent: Manifest,
    products: pa.Table,
    items: pa.Table,
    vectors: NDArray[np.float32],
    removed: Collection[str],
    *,
    snapshot: str,
) -> Manifest:
    """Write what ``parent`` becomes without ``removed`` ids and with ``products``, their items and vectors.

    A product that changed is among both. Tables as ``build_generation``'s; a group has the name of a product
    that comes and names itself, or of one of ``parent`` that stays. What is written and what it takes follow
    the change alone. Nothing to change is ``parent``. Raises ``BadInput``, ``Conflict`` when a file was
    removed meanwhile.
    """
    items, products, vectors = in_order(items, products, vectors)
    if vectors.shape[1] != parent.dim:
        raise BadInput(f"vectors have {vectors.shape[1]} dimensions, those of {parent.id} have {parent.dim}")
    gone = pa.table([pa.array(sorted(set(removed)), pa.string())], schema=REMOVED)
    left = parent.products + products.num_rows - gone.num_rows
    if not products.num_rows and not gone.num_rows:
        return parent
    if left < 1:
        raise BadInput(f"no product would be left of generation {parent.id}")
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float16).ravel()), parent.dim)
    tables: dict[Kind, pa.Table] = {
        "items": items.append_column(VECTOR, column),
        "products": products,
        "removed": gone,
    }
    delta = Delta(
        products=products.num_rows,
        rows=items.num_rows,
        removed=gone.num_rows,
        segments=tuple(write_segment(store, kind, parquet_bytes(table)) for kind, table in tables.items()),
    )
    fields: dict[str, Any] = {
        **dict(parent),
        "snapshot": snapshot,
        "deltas": (*parent.deltas, delta),
        "products": left,
        "rows": parent.rows + items.num_rows,
        "created_at": time.time(),
    }
    fields["id"] = generation_id(
        items_sha256=parent.segment("items").sha256,
        products_sha256=parent.segment("products").sha256,
        **fields,
    )
    manifest = Manifest.model_validate(fields)
    before, seen = _there(store, manifest.id)
    # Of the same content, and yet of other bytes where the base was damaged and is written anew.
    if before is not None and before.files == manifest.files:
        return before
    return _written(store, manifest, seen)


def _there(store: ObjectStore, generation: str) -> tuple[Manifest | None, str | None]:
    """A generation's manifest as it lies in the store, None where nobody can read it; and its version."""
    seen = store.version(manifest_key(generation))
    try:
        return index_store.read_manifest(store, generation), seen
    except (NotFound, Unverified):
        return None, seen


def _is_whole(store: ObjectStore, segment: Segment) -> bool:
    try:
        take_over(store, segment)
    except (NotFound, Unverified):
        return False
    return True


def _written(store: ObjectStore, manifest: Manifest, seen: str | None) -> Manifest:
    """A generation in place of what was ``seen`` under its id."""
    try:
        with index_store.changing(store):
            for segment in manifest.files:  # some may be of a generation that was pruned meanwhile
                store.renew(segment.key)
            store.compare_and_set(manifest.key, manifest.to_json(), seen)
    except NotFound as error:
        raise Conflict(f"{error}: removed while generation {manifest.id} was built; build it anew") from None
    except Conflict:  # built twice at the same time; the first is as good
        return index_store.read_manifest(store, manifest.id)
    return manifest


def _check_groups(products: pa.Table) -> None:
    for group in GROUPS.names:
        strangers = pc.invert(pc.is_in(products[group], value_set=products["product_id"].combine_chunks()))
        if pc.any(strangers).as_py():
            raise BadInput(
                f"products: {group} {products.filter(strangers)[group][0]} is no product with an item"
            )


@dataclass(frozen=True)
class _Base:
    segment: Segment
    figures: Figures
    golden: tuple[Golden, ...]


def _hash(vectors: NDArray[np.float32]) -> str:
    return hashlib.sha256(vectors.data).hexdigest()


def _earlier_base(store: ObjectStore, inputs: dict[str, object]) -> _Base | None:
    """The graph of a generation with the very same vectors: a change of price needs no new one."""
    same = ("graph", "metric", "faiss_version", "vectors_sha256")
    for generation in index_store.list_generations(store):
        try:
            manifest = index_store.read_manifest(store, generation)
        except (NotFound, Unverified):
            continue  # damaged, or of another format: nothing to take over, and no reason not to build
        if all(getattr(manifest, name) == inputs[name] for name in same):
            base = manifest.segment("base")
            if _is_whole(store, base):
                return _Base(base, manifest.figures, manifest.golden)
    return None


def _build_base(store: ObjectStore, vectors: NDArray[np.float32], factory: str, advance: Advance) -> _Base:
    index = build_base(vectors, factory, advance)
    data = faiss.serialize_index(index).tobytes()
    figures = figures_of(index, vectors)
    rows = np.unique(np.linspace(0, len(vectors) - 1, _GOLDEN_ROWS).astype(np.int64))
    own = np.stack([index.reconstruct(int(row)) for row in rows])
    scores, _ = index.search(own, 1, params=parameters(index, GOLDEN_BEAM))
    golden = tuple(
        Golden(row=int(row), score=float(score)) for row, score in zip(rows, scores[:, 0], strict=True)
    )
    return _Base(write_segment(store, "base", data), figures, golden)
