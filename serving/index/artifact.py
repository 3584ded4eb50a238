"""A generation's files: written once and read back, or loaded after everything about them was verified.

FAISS keeps no checksum: a flipped bit in its vectors loads without a word and answers differently. So the
order of loading is size, hash, FAISS within limits, shape, and searches whose answers are known.
"""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.errors import NotFound, Unavailable, Unverified
from serving.index import memory
from serving.index.generation import (
    FORMAT,
    GROUPS,
    ITEMS,
    NORM_TOLERANCE,
    PRODUCTS,
    REMOVED,
    VECTOR,
    Kind,
    Manifest,
    Segment,
)
from serving.index.groups import groupings
from serving.index.kinds import empty, parameters, shape, tables_bytes
from serving.index.loaded import Change, Generation
from serving.index.part import Part, joined, row_products
from serving.index.store import check_size, verify
from serving.object_store import ObjectStore

_SUFFIX: dict[Kind, str] = {"base": "faiss"}

# float16 sums in another order on another processor.
GOLDEN_TOLERANCE = 2e-3
GOLDEN_BEAM = 128

# Tables unpack to several times their size on disk; the graph to about its own. What is made of tables, for
# filters, groups, answers, took up to three times as much as they do unpacked.
_TABLES_UNPACKED, _BESIDE_TABLES = 6, 3
_LIMITS = threading.Lock()
_STORED_PRODUCTS = pa.unify_schemas([PRODUCTS, GROUPS])


def write_segment(store: ObjectStore, kind: Kind, data: bytes) -> Segment:
    """Store ``data`` under its hash and read it back; what lies there whole is kept, as new.

    Raises ``Unverified`` when the store does not give back what was written.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    segment = Segment(
        kind=kind,
        key=f"segments/{sha256}.{_SUFFIX.get(kind, 'parquet')}",
        sha256=sha256,
        size_bytes=len(data),
    )
    try:
        take_over(store, segment)
    except (NotFound, Unverified):
        store.put(segment.key, data)
        verify(store, segment)
    return segment


def take_over(store: ObjectStore, segment: Segment) -> None:
    """Verify a file of an earlier build, which is as new then: its generation may be pruned this moment.

    Raises as ``verify``.
    """
    store.renew(segment.key)
    verify(store, segment)


def load(store: ObjectStore, manifest: Manifest, beside: Generation | None = None) -> Generation:
    """Everything a search needs, verified and warm.

    Where ``beside`` has the same base, that is taken over, and what is read is the deltas alone. Raises
    ``Unverified`` or ``NotFound`` when it must not be served, ``Unavailable`` when there is no memory for it
    beside what is loaded.
    """
    if manifest.format != FORMAT:
        raise Unverified(
            f"generation {manifest.id} is of format {manifest.format}, format {FORMAT} is served; "
            "a run of the pipeline builds it anew"
        )
    same_base = beside is not None and beside.manifest.segments == manifest.segments
    files = manifest.files[len(manifest.segments) :] if same_base else manifest.files
    _check_headroom(manifest, files)
    for segment in files:  # of all, before any of them is read
        check_size(store, segment)
    if beside is not None and same_base:
        base, of_base = beside.base, beside.base_groupings
    else:
        base = _read_base(store, manifest)
        of_base = groupings(base.products)
    delta, changes = read_deltas(store, manifest)
    generation = Generation.of(manifest, base, of_base, delta, changes)
    if generation.products_there != manifest.products:
        raise Unverified(
            f"generation {manifest.id} has {generation.products_there} products, "
            f"its manifest says {manifest.products}"
        )
    if not same_base:
        _check_golden(generation)
    return generation


def _read_base(store: ObjectStore, manifest: Manifest) -> Part:
    for segment in manifest.segments:
        verify(store, segment)
    items = _read_table(store, manifest.segment("items"), ITEMS, manifest.base_rows)
    products = _read_table(store, manifest.segment("products"), _STORED_PRODUCTS, manifest.base_products)
    unpacked = items.nbytes + products.nbytes  # what repeats itself is ten times smaller in its file
    _check_free(manifest, manifest.segment("base").size_bytes, _BESIDE_TABLES * unpacked)
    index = _read_index(store, manifest)
    return Part.of(index, products, items, row_products(items, products))


def read_deltas(store: ObjectStore, manifest: Manifest) -> tuple[Part | None, list[Change]]:
    """The deltas of a generation, verified, as one part and what each of them changes.

    No part where nothing came.
    Raises as ``load``.
    """
    if not manifest.deltas:
        return None, []
    vector = pa.field(VECTOR, pa.list_(pa.float16(), manifest.dim))
    tables: dict[str, list[pa.Table]] = {"items": [], "products": []}
    row_product, changes, before = [], [], 0
    for delta in manifest.deltas:
        for segment in delta.segments:
            verify(store, segment)
        items = _read_table(store, delta.segment("items"), ITEMS.append(vector), delta.rows)
        products = _read_table(store, delta.segment("products"), _STORED_PRODUCTS, delta.products)
        removed = _read_table(store, delta.segment("removed"), REMOVED, delta.removed)
        row_product.append(row_products(items, products) + np.int32(before))
        before += delta.products
        tables["items"].append(items)
        tables["products"].append(products)
        changes.append(Change(delta.products, [str(name) for name in removed["product_id"].to_pylist()]))
    if not before:
        return None, changes
    items = joined(tables["items"])
    index = _flat(items[VECTOR], manifest)
    products = joined(tables["products"]).combine_chunks()
    part = Part.of(index, products, items.select(ITEMS.names).combine_chunks(), np.concatenate(row_product))
    return part, changes


def _flat(vectors: Any, manifest: Manifest) -> faiss.IndexScalarQuantizer:
    """An index that compares each of ``vectors``, a column of lists of float16."""
    flat = pc.list_flatten(vectors).combine_chunks().to_numpy(zero_copy_only=False)
    xb = flat.reshape(-1, manifest.dim).astype(np.float32)
    # What is no number is off by no number, and not below.
    off = np.abs(np.linalg.norm(xb, axis=1) - 1).max(initial=0)
    if not off <= NORM_TOLERANCE:
        raise Unverified(f"a delta of generation {manifest.id} has a row that is not of unit length")
    index = faiss.IndexScalarQuantizer(
        manifest.dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    index.add(xb)
    return index


def _check_headroom(manifest: Manifest, files: Sequence[Segment]) -> None:
    """By the sizes of the ``files`` that are to be read, before any is."""
    base = sum(segment.size_bytes for segment in files if segment.kind == "base")
    tables = sum(segment.size_bytes for segment in files) - base
    _check_free(manifest, base, tables * _TABLES_UNPACKED)


def _check_free(manifest: Manifest, base: int, others: int) -> None:
    needed, free = int(base * 1.1) + others, memory.available_bytes()
    if needed > free:
        raise Unavailable(
            f"generation {manifest.id} needs {needed / 2**20:.0f} MiB of memory "
            f"and {free / 2**20:.0f} MiB are free"
        )


@contextmanager
def _limits(vector_bytes: int) -> Iterator[None]:
    """No vector of a file can be larger than the file; FAISS by itself would believe up to a terabyte."""
    with _LIMITS:
        before = faiss.get_deserialization_vector_byte_limit()
        faiss.set_deserialization_vector_byte_limit(vector_bytes)
        try:
            yield
        finally:
            faiss.set_deserialization_vector_byte_limit(before)


def _read_index(store: ObjectStore, manifest: Manifest) -> faiss.Index:
    base = manifest.segment("base")
    try:
        with _limits(base.size_bytes + tables_bytes(manifest.graph)):
            # Mapped: the processes of a pod share the vectors, and what nobody asks for takes no memory.
            index = faiss.read_index(str(store.local_path(base.key)), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:  # FAISS's own texts name files and line numbers
        raise Unverified(f"{base.key} cannot be read by FAISS {faiss.__version__}") from error
    *_, kinds = shape(empty(manifest.dim, manifest.graph))
    found, wanted = (
        shape(index),
        (manifest.dim, manifest.base_rows, faiss.METRIC_INNER_PRODUCT, kinds),
    )
    if found != wanted:
        raise Unverified(
            f"{base.key} is {_said(*found)}; the manifest of generation {manifest.id} says {_said(*wanted)}"
        )
    return index


def _said(dim: int, rows: int, metric: int, kinds: str) -> str:
    return f"{kinds} of {rows} x {dim} with metric {metric}"


def _read_table(store: ObjectStore, segment: Segment, schema: pa.Schema, rows: int) -> pa.Table:
    key = segment.key
    try:
        table = pq.read_table(store.local_path(key), use_threads=False).combine_chunks()
    except FileNotFoundError:  # removed this moment
        raise NotFound(f"there is no object {key}") from None
    except (pa.ArrowException, OSError) as error:
        raise Unverified(f"{key} is no Parquet table") from error
    for field in schema:
        if field.name not in table.column_names or table.schema.field(field.name).type != field.type:
            raise Unverified(f"{key} has no column {field.name} of type {field.type}")
    if table.num_rows != rows:
        raise Unverified(f"{key} has {table.num_rows} rows, not {rows}")
    return table


def _check_golden(generation: Generation) -> None:
    golden = generation.manifest.golden
    index = generation.base.index
    rows = np.stack([index.reconstruct(item.row) for item in golden])
    scores, _ = index.search(rows, 1, params=parameters(index, GOLDEN_BEAM))
    for item, score in zip(golden, scores[:, 0], strict=True):
        if abs(float(score) - item.score) > GOLDEN_TOLERANCE:
            raise Unverified(
                f"row {item.row} of generation {generation.manifest.id} finds {score:.4f}, "
                f"not {item.score:.4f}"
            )
