"""What the feature store holds of a generation: the features of every picture, by its URL."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from imgsearch_assets.progress import Advance, silent
from imgsearch_assets.tables import GrowingTable
from serving.cache.features import CachedFeatures, FeatureStore, url_key
from serving.images.box import Box
from serving.object_store import ObjectStore

# What was written, so that what has not changed is not written again.
WRITTEN = pa.schema([("key", pa.string()), ("sha256", pa.string())])
_BATCH = 1_000


@dataclass(frozen=True)
class Filled:
    """Values wanted, there already, written, and not there at the end as they should be."""

    wanted: int
    reused: int
    written: int
    lacking: int = 0


def written_table(store: ObjectStore, embedder: str) -> GrowingTable:
    return GrowingTable(store, f"feature_store/{embedder}", WRITTEN, ("key",))


def features_by_key(
    embedder: str, items: pa.Table, vectors: NDArray[np.float32]
) -> Iterator[tuple[str, CachedFeatures]]:
    """Key and features of every picture. ``items`` are ``ITEMS`` with ``vectors`` float32 (n, d).

    A URL that several products share counts as the first one's picture.
    """
    columns = (items[name].to_pylist() for name in ("product_id", "image_url", "box"))
    rows = sorted((*row, number) for number, row in enumerate(zip(*columns, strict=True)))
    seen: set[str] = set()
    for (_, url), of_picture in groupby(rows, key=lambda row: row[:2]):
        if url not in seen:
            seen.add(url)
            some = list(of_picture)
            boxes = tuple(Box.from_key(box) for *_, box, _ in some)
            yield url_key(embedder, url), CachedFeatures(boxes, vectors[[number for *_, number in some]])


def fill_feature_store(
    store: ObjectStore,
    feature_store: FeatureStore,
    embedder: str,
    items: pa.Table,
    vectors: NDArray[np.float32],
    advance: Advance = silent,
) -> Filled:
    """Write what is lacking or has changed, then read everything back. ``advance`` counts values.

    What is lacking then was dropped: a full memory does so. Raises ``Unavailable``.
    """
    table = written_table(store, embedder)
    before = dict(zip(*(column.to_pylist() for column in table.read().columns), strict=True))
    reused = 0
    there: dict[str, str] = {}
    values = features_by_key(embedder, items, vectors)
    while batch := dict(islice(values, _BATCH)):
        hashes = {key: hashlib.sha256(value.to_bytes()).hexdigest() for key, value in batch.items()}
        absent = set(feature_store.missing(list(batch)))
        todo = [key for key in batch if key in absent or before.get(key) != hashes[key]]
        feature_store.put_many({key: batch[key] for key in todo})
        table.append(pa.table({"key": todo, "sha256": [hashes[key] for key in todo]}, schema=WRITTEN))
        there |= hashes
        reused += len(batch) - len(todo)
        advance(len(batch))
    table.compact()
    # Only now: what is written last may drop what was written first.
    lacking = feature_store.differing(there)
    return Filled(len(there), reused, len(there) - reused, len(lacking))
