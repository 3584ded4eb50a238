"""What the feature store holds of a generation: the features of every picture, by its URL."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from imgsearch_assets.features.tables import texts
from imgsearch_assets.progress import Advance, silent, stage
from serving.cache.features import FeatureStore, packed, url_key
from serving.index.artifact import load
from serving.index.part import rows_in
from serving.index.store import read_manifest
from serving.object_store import ObjectStore

_BATCH = 10_000


@dataclass(frozen=True)
class Filled:
    """Values wanted, there already, written, and not there at the end as they should be."""

    wanted: int
    reused: int
    written: int
    lacking: int = 0


def values_by_key(
    embedder: str, items: pa.Table, vectors: NDArray[np.float32]
) -> Iterator[tuple[str, bytes]]:
    """Key and value of every picture. ``items`` are ``ITEMS`` with ``vectors`` float32 (n, d).

    A URL that several products share counts as the first one's picture.
    """
    # A generation has them in dictionaries, which Arrow does not sort.
    items = items.select(["image_url", "product_id", "box"]).cast(
        pa.schema([(name, pa.string()) for name in ("image_url", "product_id", "box")])
    )
    order = np.asarray(
        pc.sort_indices(
            items, [("image_url", "ascending"), ("product_id", "ascending"), ("box", "ascending")]
        )
    )
    items, kept = items.take(order), vectors[order].astype(np.float16)
    grid = np.array(",".join(texts(items, "box")).split(","), np.uint16).reshape(-1, 4)
    places = enumerate(zip(texts(items, "image_url"), texts(items, "product_id"), strict=True))
    before = None
    for (url, _), of_picture in groupby(places, key=lambda place: place[1]):
        rows = [number for number, _ in of_picture]
        if url != before:
            part = slice(rows[0], rows[-1] + 1)
            yield url_key(embedder, url), packed(grid[part], kept[part])
        before = url


def fill_for_generation(feature_store: FeatureStore, store: ObjectStore, generation: str) -> Filled:
    """Make the features of a generation's pictures complete. Raises as ``load``, and ``Unavailable``."""
    found = load(store, read_manifest(store, generation))
    rows = rows_in(*found.spans(found.present()))
    items, vectors = found.items.take(rows), found.vectors_of(rows)
    with stage("feature store", pc.count_distinct(items["image_url"]).as_py()) as advance:
        return fill_feature_store(feature_store, found.manifest.embedder, items, vectors, advance)


def fill_feature_store(
    feature_store: FeatureStore,
    embedder: str,
    items: pa.Table,
    vectors: NDArray[np.float32],
    advance: Advance = silent,
) -> Filled:
    """Write what is lacking or has changed, then read everything back. ``advance`` counts values.

    What is lacking then was dropped: a full memory does so. Raises ``Unavailable``.
    """
    wanted = written = 0
    for batch in _batches(embedder, items, vectors):
        todo = feature_store.differing(batch)
        feature_store.put_many({key: batch[key] for key in todo})
        wanted, written = wanted + len(batch), written + len(todo)
        advance(len(batch))
    lacking = 0
    if written:  # only now: what is written last may drop what was written first
        again = _batches(embedder, items, vectors)
        lacking = sum(len(feature_store.differing(batch)) for batch in again)
    return Filled(wanted, wanted - written, written, lacking)


def _batches(embedder: str, items: pa.Table, vectors: NDArray[np.float32]) -> Iterator[dict[str, bytes]]:
    values = values_by_key(embedder, items, vectors)
    while batch := dict(islice(values, _BATCH)):
        yield batch
