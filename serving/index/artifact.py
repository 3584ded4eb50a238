"""A generation's files: written once and read back, or loaded after everything about them was verified.

FAISS keeps no checksum: a flipped bit in its vectors loads without a word and answers differently. So the
order of loading is size, hash, FAISS within limits, shape, and searches whose answers are known.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from serving.errors import NotFound, Unavailable, Unverified
from serving.index import memory
from serving.index.collapse import Collapse
from serving.index.compare import Vectors
from serving.index.filters import Attributes
from serving.index.generation import FORMAT, GROUPS, ITEMS, PRODUCTS, Kind, Manifest, Segment
from serving.index.groups import Grouping, groupings
from serving.object_store import ObjectStore

SUFFIX: dict[Kind, str] = {"base": "faiss", "items": "parquet", "products": "parquet"}

# float16 sums in another order on another processor.
GOLDEN_TOLERANCE = 2e-3
GOLDEN_BEAM = 128

# Tables unpack to several times their size on disk; the graph to about its own.
_TABLES_UNPACKED = 6
_LIMITS = threading.Lock()
_STORED_PRODUCTS = pa.unify_schemas([PRODUCTS, GROUPS])


@dataclass(frozen=True, eq=False)
class Generation:
    """A loaded generation. Never changes; whoever holds a reference may search it.

    ``row_product`` int32 (rows,) is each row's product, never falling; product p has the rows
    ``first_row[p]`` to ``first_row[p + 1]`` (int64 (products + 1,)).
    """

    manifest: Manifest
    index: faiss.Index
    products: pa.Table
    items: pa.Table
    attributes: Attributes
    row_product: NDArray[np.int32]
    first_row: NDArray[np.int64]
    groupings: dict[Collapse, Grouping]

    @cached_property
    def flat(self) -> Vectors:
        """The rows to be compared one by one."""
        return Vectors(self.index)

    def vectors(self, product: int) -> NDArray[np.float32]:
        """The rows of a product, float32 (n, d), of unit length but for the rounding of float16."""
        first, last = int(self.first_row[product]), int(self.first_row[product + 1])
        return np.stack([self.index.reconstruct(row) for row in range(first, last)])


def write_segment(store: ObjectStore, kind: Kind, data: bytes) -> Segment:
    """Store ``data`` under its hash and read it back.

    Raises ``Unverified`` when the store does not give back what was written.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    segment = Segment(kind=kind, key=f"segments/{sha256}.{SUFFIX[kind]}", sha256=sha256, size_bytes=len(data))
    try:
        verify(store, segment)  # written by an earlier build
    except (NotFound, Unverified):
        store.put(segment.key, data)
        verify(store, segment)
    return segment


def verify(store: ObjectStore, segment: Segment) -> None:
    """Hold a file to its size and hash. Raises ``NotFound`` or ``Unverified``."""
    size = store.size(segment.key)
    if size != segment.size_bytes:
        raise Unverified(f"{segment.key} has {size} bytes, not {segment.size_bytes}")
    with store.local_path(segment.key).open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != segment.sha256:
            raise Unverified(f"{segment.key} does not have the hash that its name says")


def load(store: ObjectStore, manifest: Manifest) -> Generation:
    """Everything a search needs, verified and warm.

    Raises ``Unverified`` or ``NotFound`` when it must not be served, ``Unavailable`` when there is no memory
    for it beside what is loaded.
    """
    if manifest.format != FORMAT:
        raise Unverified(
            f"generation {manifest.id} is of format {manifest.format}, format {FORMAT} is served; "
            "a run of the pipeline builds it anew"
        )
    _check_headroom(manifest)
    for segment in manifest.segments:
        verify(store, segment)
    index = _read_index(store, manifest)
    items = _read_table(store, manifest, "items", ITEMS, manifest.rows)
    products = _read_table(store, manifest, "products", _STORED_PRODUCTS, manifest.products)
    attributes = Attributes.of(products)
    row_product = _row_product(items, products)
    first_row = np.searchsorted(row_product, np.arange(manifest.products + 1))
    generation = Generation(
        manifest,
        index,
        products,
        items,
        attributes,
        row_product,
        first_row.astype(np.int64),
        groupings(products, row_product),
    )
    _check_golden(generation)
    return generation


def _check_headroom(manifest: Manifest) -> None:
    base = manifest.segment("base").size_bytes
    tables = sum(segment.size_bytes for segment in manifest.segments) - base
    needed, free = int(base * 1.1) + tables * _TABLES_UNPACKED, memory.available_bytes()
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
        with _limits(base.size_bytes):
            index = faiss.read_index(str(store.local_path(base.key)))
    except RuntimeError as error:  # FAISS's own texts name files and line numbers
        raise Unverified(f"{base.key} cannot be read by FAISS {faiss.__version__}") from error
    found = (index.d, index.ntotal, index.metric_type, type(index))
    wanted = (manifest.dim, manifest.rows, faiss.METRIC_INNER_PRODUCT, faiss.IndexHNSWSQ)
    if found != wanted:
        raise Unverified(
            f"{base.key} is {_shape(*found)}; the manifest of generation {manifest.id} says {_shape(*wanted)}"
        )
    return index


def _shape(dim: int, rows: int, metric: int, kind: type) -> str:
    return f"{kind.__name__} of {rows} x {dim} with metric {metric}"


def _read_table(store: ObjectStore, manifest: Manifest, kind: Kind, schema: pa.Schema, rows: int) -> pa.Table:
    key = manifest.segment(kind).key
    try:
        table = pq.read_table(store.local_path(key)).combine_chunks()
    except (pa.ArrowException, OSError) as error:
        raise Unverified(f"{key} is no Parquet table") from error
    for field in schema:
        if field.name not in table.column_names or table.schema.field(field.name).type != field.type:
            raise Unverified(f"{key} has no column {field.name} of type {field.type}")
    if table.num_rows != rows:
        raise Unverified(f"{key} has {table.num_rows} rows, not {rows}")
    return table


def _row_product(items: pa.Table, products: pa.Table) -> NDArray[np.int32]:
    places = pc.index_in(items["product_id"], value_set=products["product_id"])
    if places.null_count:
        raise Unverified("an item belongs to no product of the generation")
    row_product = places.to_numpy().astype(np.int32)
    if np.any(np.diff(row_product) < 0):
        raise Unverified("the items are not in the order of the products")
    return row_product


def _check_golden(generation: Generation) -> None:
    golden = generation.manifest.golden
    rows = np.stack([generation.index.reconstruct(item.row) for item in golden])
    scores, _ = generation.index.search(rows, 1, params=faiss.SearchParametersHNSW(efSearch=GOLDEN_BEAM))
    for item, score in zip(golden, scores[:, 0], strict=True):
        if abs(float(score) - item.score) > GOLDEN_TOLERANCE:
            raise Unverified(
                f"row {item.row} of generation {generation.manifest.id} finds {score:.4f}, "
                f"not {item.score:.4f}"
            )
