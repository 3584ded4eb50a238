"""Building a generation of the index. What it has to pass before it goes live is in ``gates``."""

import hashlib
import time
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from imgsearch_assets.progress import Advance, silent
from imgsearch_assets.tables import parquet_bytes
from serving.errors import BadInput, Conflict, NotFound, Unverified
from serving.index import store as index_store
from serving.index.artifact import GOLDEN_BEAM, verify, write_segment
from serving.index.generation import (
    FORMAT,
    GRAPH,
    GROUPS,
    ITEMS,
    METRIC,
    PRODUCTS,
    Figures,
    Golden,
    Manifest,
    Segment,
    generation_id,
    manifest_key,
)
from serving.index.search import MIN_BEAM
from serving.object_store import ObjectStore

_ADD_ROWS = 10_000
_EF_CONSTRUCTION = 80
_GOLDEN_ROWS = 16
_RECALL_QUERIES = 200
# Clustered, as photographs of garments are, 32 finds 0.998; nothing clustered, 64 lacks several of a hundred.
_BEAMS, _ENOUGH_RECALL = (32, 48, 64, 96, MIN_BEAM), 0.995
# A query is a row with this much of another direction added: a shopper's picture, not the shop's own.
_DISTURBANCE = 0.3


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
    advance: Advance = silent,
) -> Manifest:
    """Write a generation of ``vectors`` float32 (n, d), rows of unit length, one for each row of ``items``.

    ``items`` has the columns ``generation.ITEMS``; ``products`` those of ``generation.PRODUCTS``, and where
    they are known ``generation.GROUPS`` (else each product is a group of its own); any others are kept with
    them. Products without an item are left out. The same content is the same generation:
    nothing is written a second time, and a graph of the same vectors is taken over from an earlier
    generation. ``advance`` is told of every row, ``len(vectors)`` in all.

    Raises ``BadInput`` when the parts do not fit together.
    """
    items, products, vectors = _in_order(items, products, np.ascontiguousarray(vectors, np.float32))
    parts = [
        write_segment(store, "items", parquet_bytes(items)),
        write_segment(store, "products", parquet_bytes(products)),
    ]
    inputs: dict[str, object] = {
        "format": FORMAT,
        "metric": METRIC,
        "graph": GRAPH,
        "faiss_version": faiss.__version__,
        "vectors_sha256": _hash(vectors),
        "embedder": embedder,
        "preprocessing": preprocessing,
        "detector": detector,
        "snapshot": snapshot,
    }
    generation = generation_id(items_sha256=parts[0].sha256, products_sha256=parts[1].sha256, **inputs)
    if store.exists(manifest_key(generation)):
        advance(len(vectors))
        return index_store.read_manifest(store, generation)
    graph = _earlier_graph(store, inputs)
    if graph is None:
        graph = _build_graph(store, vectors, advance)
    else:
        advance(len(vectors))
    manifest = Manifest.model_validate(
        {
            **inputs,
            "id": generation,
            "created_at": time.time(),
            "segments": (graph.base, *parts),
            "products": products.num_rows,
            "rows": items.num_rows,
            "dim": vectors.shape[1],
            "figures": graph.figures,
            "golden": graph.golden,
        }
    )
    try:
        store.compare_and_set(manifest.key, manifest.to_json(), None)
    except Conflict:  # built twice at the same time; the first is as good
        return index_store.read_manifest(store, generation)
    return manifest


@dataclass(frozen=True)
class _Graph:
    base: Segment
    figures: Figures
    golden: tuple[Golden, ...]


def _hash(vectors: NDArray[np.float32]) -> str:
    return hashlib.sha256(vectors.data).hexdigest()


def _in_order(
    items: pa.Table, products: pa.Table, vectors: NDArray[np.float32]
) -> tuple[pa.Table, pa.Table, NDArray[np.float32]]:
    """Both tables sorted and in their schemas, the vectors turned with the items."""
    if vectors.ndim != 2 or len(vectors) != items.num_rows:
        raise BadInput(f"{items.num_rows} items and vectors of shape {vectors.shape} do not fit together")
    if not len(vectors):
        raise BadInput("there is nothing to index: no item has a vector")
    if not np.isfinite(vectors).all():
        raise BadInput("a vector holds a number that is not finite")
    products = _with_groups(_with_schema(products, PRODUCTS, "products"))
    items = _with_schema(items, ITEMS, "items").select(ITEMS.names)
    ids = products["product_id"]
    if pc.count_distinct(ids).as_py() != products.num_rows:
        raise BadInput("products: a product_id occurs twice")
    strangers = pc.invert(pc.is_in(items["product_id"], value_set=ids))
    if pc.any(strangers).as_py():
        raise BadInput(f"items: {items.filter(strangers)['product_id'][0]} is not among the products")
    order = pc.sort_indices(
        items, [(name, "ascending") for name in ("product_id", "sha256", "box", "image_url")]
    )
    items = items.take(order).combine_chunks()
    products = products.filter(pc.is_in(ids, value_set=items["product_id"])).sort_by("product_id")
    for group in GROUPS.names:
        strangers = pc.invert(pc.is_in(products[group], value_set=products["product_id"].combine_chunks()))
        if pc.any(strangers).as_py():
            raise BadInput(
                f"products: {group} {products.filter(strangers)[group][0]} is no product with an item"
            )
    return items, products.combine_chunks(), vectors[order.to_numpy()]


def _with_schema(table: pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    """The columns of ``schema``, cast, then any others. A missing text is empty; nothing else may miss."""
    columns: dict[str, Any] = {}
    for field in schema:
        if field.name not in table.column_names:
            raise BadInput(f"{name}: the column {field.name} is missing")
        column: Any = table[field.name].cast(field.type)
        if pa.types.is_string(field.type) and field.name != "product_id":
            column = pc.fill_null(column, "")
        if column.null_count:
            raise BadInput(f"{name}: {column.null_count} rows have no {field.name}")
        columns[field.name] = column
    others = {other: table[other] for other in table.column_names if other not in columns}
    return pa.table(columns | others)


def _with_groups(products: pa.Table) -> pa.Table:
    """``PRODUCTS``, ``GROUPS``, then any others. A product of no group is one by itself."""
    ids, names = products["product_id"], products.column_names
    groups = {
        name: pc.fill_null(products[name].cast(pa.string()), ids) if name in names else ids
        for name in GROUPS.names
    }
    others = {name: products[name] for name in names if name not in PRODUCTS.names and name not in groups}
    return pa.table({name: products[name] for name in PRODUCTS.names} | groups | others)


def _earlier_graph(store: ObjectStore, inputs: dict[str, object]) -> _Graph | None:
    """The graph of a generation with the very same vectors: a change of price needs no new one."""
    same = ("graph", "metric", "faiss_version", "vectors_sha256")
    for generation in index_store.list_generations(store):
        try:
            manifest = index_store.read_manifest(store, generation)
            if all(getattr(manifest, name) == inputs[name] for name in same):
                verify(store, manifest.segment("base"))
                return _Graph(manifest.segment("base"), manifest.figures, manifest.golden)
        except (NotFound, Unverified):
            continue  # damaged, or of another format: nothing to take over, and no reason not to build
    return None


def _build_graph(store: ObjectStore, vectors: NDArray[np.float32], advance: Advance) -> _Graph:
    index = faiss.index_factory(vectors.shape[1], GRAPH, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = _EF_CONSTRUCTION
    for start in range(0, len(vectors), _ADD_ROWS):
        part = vectors[start : start + _ADD_ROWS]
        index.add(part)
        advance(len(part))
    data = faiss.serialize_index(index).tobytes()
    beam, recall_at_10 = _beam(index, vectors)
    figures = Figures(
        beam=beam,
        recall_at_10=recall_at_10,
        recall_queries=min(_RECALL_QUERIES, len(vectors)),
        norm_error=float(np.abs(np.linalg.norm(vectors, axis=1) - 1).max()),
    )
    rows = np.unique(np.linspace(0, len(vectors) - 1, _GOLDEN_ROWS).astype(np.int64))
    own = np.stack([index.reconstruct(int(row)) for row in rows])
    scores, _ = index.search(own, 1, params=faiss.SearchParametersHNSW(efSearch=GOLDEN_BEAM))
    golden = tuple(
        Golden(row=int(row), score=float(score)) for row, score in zip(rows, scores[:, 0], strict=True)
    )
    return _Graph(write_segment(store, "base", data), figures, golden)


def _beam(index: faiss.Index, xb: NDArray[np.float32]) -> tuple[int, float]:
    """The least of ``_BEAMS`` that finds enough of the exact ten nearest of ``xb`` float32 (n, d); how much.

    A row at the distance of the tenth counts as found: which of equals comes first
    is chance.
    """
    rng = np.random.default_rng(0)
    k = min(10, len(xb))
    noise = rng.normal(size=(min(_RECALL_QUERIES, len(xb)), xb.shape[1]))
    noise *= _DISTURBANCE / np.linalg.norm(noise, axis=1, keepdims=True)
    xq = (xb[rng.choice(len(xb), len(noise), replace=False)] + noise).astype(np.float32)
    xq /= np.linalg.norm(xq, axis=1, keepdims=True)
    exact, _ = faiss.knn(xq, xb, k, metric=faiss.METRIC_INNER_PRODUCT)
    for beam in _BEAMS:
        _, found = index.search(xq, k, params=faiss.SearchParametersHNSW(efSearch=beam))
        scores = np.einsum("qd,qkd->qk", xq, xb[np.maximum(found, 0)])
        recall = float(((found >= 0) & (scores >= exact[:, -1:] - 1e-4)).mean())
        if recall >= _ENOUGH_RECALL:
            break
    return beam, recall
