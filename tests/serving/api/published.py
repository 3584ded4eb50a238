"""Products as the live generation of a real search service's object store."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from imgsearch_assets.index.generation import build_generation
from serving.images.box import Box
from serving.index.generation import GROUPS, ITEMS, PRODUCTS
from serving.index.store import point, read_pointer
from serving.object_store import LocalObjectStore

WHOLE = (Box.whole(),)


def publish(
    home: Path,
    catalogue: Mapping[str, Any],
    *,
    parts: Sequence[Box] = WHOLE,
    pictures: Mapping[str, str] | None = None,
    variants: Mapping[str, str] | None = None,
) -> str:
    """Makes a catalogue of ``Search.catalogue``'s kind the live generation under ``home``; its id.

    Every product has one picture with these ``parts``: the first has the product's vector, the others one a
    little paler. ``pictures`` and ``variants`` are the groups of those that are not alone, by product.
    """
    store = LocalObjectStore(home / "objects")
    rows = [{name: getattr(product, name) for name in PRODUCTS.names} for product, _ in catalogue.values()]
    for row in rows:
        row["image_urls"] = list(row["image_urls"])
    products = pa.Table.from_pylist(rows, schema=PRODUCTS)
    for column, groups in zip(GROUPS.names, (pictures or {}, variants or {}), strict=True):
        own = [groups.get(row["product_id"], row["product_id"]) for row in rows]
        products = products.append_column(column, pa.array(own, pa.string()))
    items = [
        {
            "product_id": row["product_id"],
            "image_url": row["image_urls"][0],
            "sha256": sha256(row["product_id"].encode()).hexdigest(),
            "box": part.key,
        }
        for row in rows
        for part in parts
    ]
    vectors = np.stack(
        [vector + 0.1 * (place > 0) for _, vector in catalogue.values() for place in range(len(parts))]
    )
    manifest = build_generation(
        store,
        products,
        pa.Table.from_pylist(items, schema=ITEMS),
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        embedder="embedder-1",
        preprocessing="p",
        detector="detector-1",
        snapshot="s",
    )
    point(store, "local", manifest, "test", "test", read_pointer(store, "local"))
    return manifest.id
