"""The tables of an index: in their schemas, in their order, and fitting together; no IO."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from serving.errors import BadInput
from serving.index.generation import GROUPS, ITEMS, PRODUCTS


def in_order(
    items: pa.Table, products: pa.Table, vectors: NDArray[np.float32]
) -> tuple[pa.Table, pa.Table, NDArray[np.float32]]:
    """Both tables sorted and in their schemas, products without an item left out; ``vectors`` float32 (n, d).

    Raises ``BadInput`` when the parts do not fit together.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    if vectors.ndim != 2 or len(vectors) != items.num_rows:
        raise BadInput(f"{items.num_rows} items and vectors of shape {vectors.shape} do not fit together")
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
