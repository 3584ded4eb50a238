"""Names, fields and indexes of the collections that hold generations."""

import re
from typing import Any

from pymilvus import CollectionSchema, DataType, MilvusClient

from serving.errors import BadInput
from serving.index.collapse import COLLAPSES
from serving.index.filters import FACETS
from serving.index.generation import PRODUCTS
from serving.milvus.description import Index

_PREFIX = "imgsearch_"
_COLLECTION = re.compile(rf"{_PREFIX}([0-9a-f]{{16}})")

# The rows are in Milvus's default partition; see ``milvus.description`` for the other.
ROWS, ABOUT = "_default", "about"
VECTOR = "vector"
# Of a product, as they are told.
PRODUCT_FIELDS = tuple(PRODUCTS.names)
# Of a row.
PICTURE_FIELDS = ("image_url", "sha256", "box")

# So few rows are compared one by one, as ``index.plan.EXACT_ROWS`` are in memory.
FLAT_ROWS = 2_000
# M as in ``index.generation.GRAPH``.
_LINKS, _BUILD_BEAM = 32, 200
_LEAST_BEAM, _DEPTH = 128, 2
METRIC = "IP"  # of unit rows, the cosine; as the manifest's

_TEXT_BYTES, _URL_BYTES, _MAX_URLS = 65_535, 8_192, 1_024
# Filtered or grouped by.
_INDEXED = ("product_key", "price", "in_stock", *COLLAPSES, *(f"{facet}_code" for facet in FACETS))


def collection_name(generation: str) -> str:
    return f"{_PREFIX}{generation}"


def generation_of(collection: str) -> str | None:
    """The generation that a collection holds by its name, None when it is no collection of ours."""
    found = _COLLECTION.fullmatch(collection)
    return found[1] if found else None


def alias_name(environment: str) -> str:
    """Raises ``BadInput`` for an environment that makes no name of an alias."""
    name = f"{_PREFIX}{environment}"
    if not re.fullmatch(r"\w+", name, re.ASCII) or generation_of(name):
        raise BadInput(f"environment {environment!r} cannot be an alias in Milvus")
    return name


def size_field(collapse: str) -> str:
    """Of how many products a row's group consists."""
    return f"{collapse}_size"


def schema(dim: int) -> CollectionSchema:
    """An entity a row. Fields with the name of a collapse hold the number of its group."""
    found = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    found.add_field("row", DataType.INT64, is_primary=True)
    found.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=dim)
    found.add_field("product_key", DataType.INT64)
    found.add_field("first", DataType.BOOL)  # of its product
    for collapse in COLLAPSES:
        found.add_field(collapse, DataType.INT64)
        found.add_field(size_field(collapse), DataType.INT64)
    for facet in FACETS:
        found.add_field(f"{facet}_code", DataType.INT64)
    for name in ("product_id", "name", *FACETS, "currency", *PICTURE_FIELDS, ABOUT):
        found.add_field(name, DataType.VARCHAR, max_length=_TEXT_BYTES)
    found.add_field("price", DataType.INT64)
    found.add_field("in_stock", DataType.BOOL)
    found.add_field(
        "image_urls",
        DataType.ARRAY,
        element_type=DataType.VARCHAR,
        max_capacity=_MAX_URLS,
        max_length=_URL_BYTES,
    )
    return found


def index_for(rows: int) -> Index:
    return "FLAT" if rows <= FLAT_ROWS else "HNSW"


def vector_index(index: Index) -> Any:
    """Parameters of ``create_index``."""
    params = MilvusClient.prepare_index_params()
    graph = {"M": _LINKS, "efConstruction": _BUILD_BEAM} if index == "HNSW" else {}
    params.add_index(VECTOR, index_name=VECTOR, index_type=index, metric_type=METRIC, params=graph)
    return params


def scalar_indexes() -> Any:
    """Parameters of ``create_index``."""
    params = MilvusClient.prepare_index_params()
    for field in _INDEXED:
        params.add_index(field, index_type="INVERTED")
    return params


def search_params(index: Index, fetch: int) -> dict[str, Any]:
    """For ``fetch`` rows or groups."""
    beam = {"ef": max(_LEAST_BEAM, _DEPTH * fetch)} if index == "HNSW" else {}
    return {"metric_type": METRIC, "params": beam}
