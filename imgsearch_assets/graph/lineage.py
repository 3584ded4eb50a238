"""The tables behind the assets: their columns, what each means, and of which columns before it is made.

Types are those of the code's own schemas; a column means the same wherever it occurs. No IO.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from imgsearch_assets.catalogue.contract import PRODUCTS
from imgsearch_assets.catalogue.snapshot import CHANGES, PICTURES
from imgsearch_assets.features.tables import embeddings_schema
from serving.index.generation import GROUPS, ITEMS, VECTOR
from serving.index.generation import PRODUCTS as INDEXED
from serving.ledger.events import PASSAGES, SIGHTINGS

MEANING: Mapping[str, str] = {
    "product_id": "The retailer's own name of the product, unique.",
    "name": "What the product is called.",
    "brand": "Who makes it.",
    "category": "What kind of thing it is; says which of several items on a picture is meant.",
    "colour": "In the retailer's words.",
    "price": "In the smallest unit of the currency.",
    "currency": "ISO 4217.",
    "in_stock": "Whether it can be bought; the stock feed is newer.",
    "image_urls": "Where its pictures are, the main one first.",
    "updated_at": "When the retailer last wrote the row, if it says.",
    "change": "new, removed, repictured, touched or reattributed (seen only: rejected); of a release: "
    "came, changed or went.",
    "rewritten": "Whether it was written since: then its pictures are asked for again.",
    "reason": "Why the row was rejected.",
    "detail": "What about the row is wrong.",
    "at": "When it was seen, or released.",
    "snapshot": "The look at the catalogue that has the change.",
    "run": "The run that saw it.",
    "generation": "The index that was released.",
    "by": "Who released it, and why.",
    "rolled_back_from": "The generation that the release went back from.",
    "seen_as": "The change of the catalogue that the release brought.",
    "seen_at": "When that was seen.",
    "fetched_at": "When the last of its pictures was there.",
    "detected_at": "When the last of them had its items.",
    "embedded_at": "When the last of these had its vector.",
    "indexed_at": "When the index was made.",
    "image_url": "Where the picture was fetched.",
    "sha256": "Hash of the picture's bytes, by which they are kept.",
    "box": "Part of the picture that is searched: the item, or the whole picture.",
    VECTOR: "What the part looks like to the embedder; unit length.",
    "picture_group": "Products that have a picture in common, named by one of them.",
    "variant_group": "Products that differ in colour or size alone, named by one of them.",
    "key": "Embedder and hash of the picture's URL.",
    "boxes": "The parts of the picture that are searched.",
    "vectors": "A vector for each of the boxes.",
}


def _joined(*schemas: pa.Schema) -> pa.Schema:
    """The fields of all, each name once."""
    fields: dict[str, Any] = {}
    for schema in schemas:
        fields = {field.name: field for field in schema} | fields
    return pa.schema(list(fields.values()))


# How many numbers a vector has is the model's, not the graph's.
_VECTOR = pa.schema([pa.field(VECTOR, pa.list_(embeddings_schema(1).field(VECTOR).type.value_type))])
_INDEX = _joined(ITEMS, _VECTOR, INDEXED, GROUPS)
_FEATURES = pa.schema(
    [
        pa.field("key", pa.string()),
        pa.field("boxes", pa.list_(pa.string())),
        pa.field("vectors", pa.list_(_VECTOR.field(VECTOR).type)),
    ]
)

# A row of ``ann_index`` is a vector with its product, of ``feature_store`` a picture's URL.
SCHEMAS: Mapping[str, pa.Schema] = {
    "products": PRODUCTS,
    "product_snapshot": PRODUCTS,
    "product_sightings": SIGHTINGS,
    "catalogue_diff": CHANGES,
    "product_images": PICTURES,
    "item_detections": ITEMS,
    "item_embeddings": _joined(ITEMS, _VECTOR),
    "ann_index": _INDEX,
    "feature_store": _FEATURES,
    "product_ledger": PASSAGES,
}

Sources = Mapping[str, Sequence[tuple[str, str]]]


def _as_is(asset: str, schema: pa.Schema) -> Sources:
    return {name: [(asset, name)] for name in schema.names}


_ROW = [("product_snapshot", name) for name in PRODUCTS.names]
_LOOKS = [("item_embeddings", VECTOR)]

SOURCES: Mapping[str, Sources] = {
    "product_snapshot": _as_is("products", PRODUCTS),
    "product_sightings": {
        "product_id": [("product_snapshot", "product_id")],
        "updated_at": [("product_snapshot", "updated_at")],
        **dict.fromkeys(("change", "reason", "detail"), _ROW),
        **dict.fromkeys(("at", "snapshot", "run"), ()),
    },
    "catalogue_diff": {
        "product_id": [("product_snapshot", "product_id")],
        "change": _ROW,
        "rewritten": [("product_snapshot", "updated_at")],
    },
    "product_images": {
        "product_id": [("product_snapshot", "product_id")],
        "category": [("product_snapshot", "category")],
        "image_url": [("product_snapshot", "image_urls")],
        # A picture that was touched is asked for again under the same URL.
        "sha256": [("product_snapshot", "image_urls"), ("catalogue_diff", "rewritten")],
    },
    "item_detections": {
        **_as_is("product_images", pa.schema([ITEMS.field(name) for name in ITEMS.names if name != "box"])),
        "box": [("product_images", "sha256"), ("product_images", "category")],
    },
    "item_embeddings": {
        **_as_is("item_detections", ITEMS),
        VECTOR: [("item_detections", "sha256"), ("item_detections", "box")],
    },
    "ann_index": {
        **_as_is("product_snapshot", INDEXED),
        **_as_is("item_embeddings", SCHEMAS["item_embeddings"]),
        "picture_group": [("item_embeddings", "sha256"), *_LOOKS],
        "variant_group": [
            *(("product_snapshot", name) for name in ("name", "brand", "category", "colour")),
            *_LOOKS,
        ],
    },
    "feature_store": {
        "key": [("ann_index", "image_url")],
        "boxes": [("ann_index", "box")],
        "vectors": [("ann_index", VECTOR)],
    },
    "product_ledger": {
        "product_id": [("ann_index", "product_id")],
        "change": [("ann_index", name) for name in INDEXED.names],
        "seen_as": [("product_sightings", "change")],
        "seen_at": [("product_sightings", "at")],
        "updated_at": [("product_sightings", "updated_at")],
        "fetched_at": [("product_images", "sha256")],
        "detected_at": [("item_detections", "box")],
        "embedded_at": [("item_embeddings", VECTOR)],
        **dict.fromkeys(("at", "generation", "by", "rolled_back_from", "indexed_at"), ()),
    },
}


def table_metadata(asset: str) -> dict[str, Any]:
    """Column schema and column lineage of an asset that is a table; nothing of one that is none."""
    found: dict[str, Any] = {}
    if schema := SCHEMAS.get(asset):
        of_column = SOURCES.get(asset, {})
        found["dagster/column_schema"] = dg.TableSchema(
            [_column(field, of_column.get(field.name, ())) for field in schema]
        )
    if sources := SOURCES.get(asset):
        found["dagster/column_lineage"] = dg.TableColumnLineage(
            {
                name: [dg.TableColumnDep(dg.AssetKey(parent), column) for parent, column in of]
                for name, of in sources.items()
            }
        )
    return found


def _column(field: Any, sources: Sequence[tuple[str, str]]) -> dg.TableColumn:
    """Its sources are in the description as well: not every version of the UI shows the lineage."""
    return dg.TableColumn(
        field.name,
        type=str(field.type),
        description=" ".join([MEANING[field.name], *_from(sources)]),
        constraints=dg.TableColumnConstraints(nullable=field.nullable),
    )


def _from(sources: Sequence[tuple[str, str]]) -> list[str]:
    """A sentence; none where nothing of the tables before is in it."""
    columns: dict[str, list[str]] = {}
    for asset, name in sources:
        columns.setdefault(asset, []).append(name)
    said = [
        f"any column of {asset}" if names == SCHEMAS[asset].names else f"{asset}.{f', {asset}.'.join(names)}"
        for asset, names in columns.items()
    ]
    return [f"From {', '.join(said)}."] if said else []
