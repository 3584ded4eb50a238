"""A generation: everything that is served together, named by one manifest.

Most of it is a base: a graph with its rows and products. What changed since that was built lies beside it in
deltas, each with the rows and products that came and the ids of those that went; a product that changed went
and came. The files of a base stay as they are for as long as the base is good.

Its id is a hash of what went in (rows, products, models, how the graph is built), so the same catalogue
seen by the same models is the same generation however often it is built. What came out (the graph, built
by several threads, differs from build to build) is held to the manifest by the hashes of its segments, and
the manifest itself by the hash in the pointer.
"""

import hashlib
import json
from typing import Any, Literal, Self

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

# Raised when a reader of the former layout could not read the present one. 2: groups of products; 3: deltas.
FORMAT: Literal[3] = 3

# M = 32 links a node; vectors as float16, half of float32 at no measurable loss of recall.
GRAPH = "HNSW32,SQfp16"
# FAISS's factory strings that are served; see ``kinds``. PQ64x4fs: 64 parts of 4 bits, compared in registers.
FACTORY = r"^(HNSW([2-9]|[1-9]\d{1,2}),SQfp16|IVF[1-9]\d{0,5},PQ[1-9]\d{0,2}(x4fs)?,Refine\(SQfp16\))$"
# How far from 1 the length of a row may be; one of float16 is off by less than a thousandth.
NORM_TOLERANCE = 0.01
METRIC: Literal["inner_product"] = "inner_product"

# One row a vector, in the order of the graph's ids; rows of one product lie together.
ITEMS = pa.schema(
    [
        pa.field("product_id", pa.string()),
        pa.field("image_url", pa.string()),
        pa.field("sha256", pa.string()),
        pa.field("box", pa.string()),  # ``Box.key``
    ]
)

_PRODUCT_COLUMNS: "list[pa.Field[Any]]" = [
    pa.field("product_id", pa.string()),
    pa.field("name", pa.string()),
    pa.field("brand", pa.string()),
    pa.field("category", pa.string()),
    pa.field("colour", pa.string()),
    pa.field("price", pa.int64()),
    pa.field("currency", pa.string()),
    pa.field("in_stock", pa.bool_()),
    pa.field("image_urls", pa.list_(pa.string())),
]
# What a product is, in ascending order of product_id.
PRODUCTS = pa.schema(_PRODUCT_COLUMNS)
# What products.parquet has beside it: each product's groups, named by a product id; see ``index.groups``.
GROUPS = pa.schema([pa.field("picture_group", pa.string()), pa.field("variant_group", pa.string())])

# What items.parquet of a delta has beside it: the row's vector, as many float16 as the base has dimensions.
VECTOR = "vector"
# The ids that a delta takes away.
REMOVED = pa.schema([pa.field("product_id", pa.string())])

Kind = Literal["base", "items", "products", "removed"]
_SHA256 = r"^[0-9a-f]{64}$"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Segment(_Frozen):
    """One immutable file of a generation."""

    kind: Kind
    key: str = Field(pattern=r"^segments/[0-9a-f]{64}\.[a-z]+$")
    sha256: str = Field(pattern=_SHA256)
    size_bytes: int = Field(gt=0)


def _only(segments: tuple[Segment, ...], *kinds: Kind) -> None:
    if sorted(segment.kind for segment in segments) != sorted(kinds):
        raise ValueError(f"there must be one segment each of {', '.join(kinds)}")


class Delta(_Frozen):
    """A change since the base was built, or since the delta before: how much came and went, and the files.

    ``removed`` products of before are no longer there; a product that changed is one of them and of
    ``products``, too.
    """

    products: int = Field(ge=0)
    rows: int = Field(ge=0)
    removed: int = Field(ge=0)
    segments: tuple[Segment, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _only(self.segments, "items", "products", "removed")
        return self

    def segment(self, kind: Kind) -> Segment:
        return next(segment for segment in self.segments if segment.kind == kind)


class Golden(_Frozen):
    """A row searched with its own vector when the graph was built, and the best cosine found."""

    row: int = Field(ge=0)
    score: float


class Beam(_Frozen):
    """The beam of ``rows`` for queries whose last wanted row has at least this ``cosine``."""

    cosine: float
    rows: int = Field(ge=1)


class Figures(_Frozen):
    """Measured on the float32 vectors while they were at hand."""

    # For ten rows: the farther a query lies from what there is, the wider. The nearest first, the last for
    # all others; the default is that of generations that do not say.
    beams: tuple[Beam, ...] = Field((Beam(cosine=-1, rows=128),), min_length=1)
    # Share of the exact ten nearest rows that is found so, over ``recall_queries`` disturbed rows.
    recall_at_10: float = Field(ge=0, le=1)
    recall_queries: int = Field(ge=1)
    # Largest distance of a row's length from 1.
    norm_error: float = Field(ge=0)

    def beam(self, cosine: float) -> int:
        """Of a query whose last wanted row has this cosine."""
        for beam in self.beams:
            if cosine >= beam.cosine:
                return beam.rows
        return self.beams[-1].rows


class Manifest(_Frozen):
    """What a generation consists of; ``generations/<id>/manifest.json``."""

    # One of a former format can be read and compared with, but not searched: ``artifact.load`` refuses it.
    format: Literal[1, 2, 3] = FORMAT
    id: str = Field(pattern=r"^[0-9a-f]{16}$")
    # Seconds since 1970.
    created_at: float
    # Of the base.
    segments: tuple[Segment, ...]
    # The oldest first.
    deltas: tuple[Delta, ...] = ()
    # That can be found.
    products: int = Field(ge=1)
    # That are stored, those of products that went included.
    rows: int = Field(ge=1)
    dim: int = Field(ge=1)
    metric: Literal["inner_product"] = METRIC
    graph: str = Field(pattern=FACTORY)
    faiss_version: str
    vectors_sha256: str = Field(pattern=_SHA256)
    embedder: str
    preprocessing: str
    detector: str
    snapshot: str
    figures: Figures
    golden: tuple[Golden, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _only(self.segments, "base", "items", "products")
        if self.base_products < 1 or self.base_rows < 1:
            raise ValueError("the deltas hold more than the generation")
        if self.id != self.expected_id():
            raise ValueError(f"the id {self.id} is not that of what the manifest names")
        return self

    def segment(self, kind: Kind) -> Segment:
        return next(segment for segment in self.segments if segment.kind == kind)

    @property
    def base_products(self) -> int:
        """Products of the base, those that went included."""
        return self.products - sum(delta.products - delta.removed for delta in self.deltas)

    @property
    def base_rows(self) -> int:
        return self.rows - sum(delta.rows for delta in self.deltas)

    @property
    def files(self) -> tuple[Segment, ...]:
        """Every file there is to it."""
        return (*self.segments, *(segment for delta in self.deltas for segment in delta.segments))

    def expected_id(self) -> str:
        return generation_id(
            items_sha256=self.segment("items").sha256,
            products_sha256=self.segment("products").sha256,
            deltas=self.deltas,
            **self.model_dump(include=set(_INPUTS)),
        )

    @property
    def key(self) -> str:
        return manifest_key(self.id)

    def to_json(self) -> bytes:
        return self.model_dump_json(indent=1).encode()


_INPUTS = (
    "format",
    "metric",
    "graph",
    "faiss_version",
    "vectors_sha256",
    "embedder",
    "preprocessing",
    "detector",
    "snapshot",
)


def generation_id(
    *, items_sha256: str, products_sha256: str, deltas: tuple[Delta, ...] = (), **inputs: object
) -> str:
    """The id of a generation made of these inputs (``_INPUTS``): 16 hexadecimal digits of their hash."""
    named = {"items": items_sha256, "products": products_sha256} | {name: inputs[name] for name in _INPUTS}
    if deltas:
        named["deltas"] = [segment.sha256 for delta in deltas for segment in delta.segments]
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:16]


def manifest_key(generation: str) -> str:
    return f"generations/{generation}/manifest.json"
