"""The gate on golden pictures: what the pipeline wrote passes, what was made otherwise is stopped."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from imgsearch_assets.catalogue.snapshot import with_vectors
from imgsearch_assets.features.tables import embed_boxes, embeddings_table, vectors_of
from imgsearch_assets.gates.parity import parity
from imgsearch_assets.images.store import picture_key
from imgsearch_assets.index.generation import build_generation
from imgsearch_assets.models.shipped import register_embedder
from imgsearch_assets.sample.drawing import encode
from imgsearch_assets.sample.scenes import training_scene
from serving.errors import NotFound
from serving.images.box import Box
from serving.index.artifact import load
from serving.index.generation import ITEMS, PRODUCTS
from serving.index.loaded import Generation
from serving.models.embedder import Embedder
from serving.object_store import LocalObjectStore
from serving.settings import Settings

PICTURES = 6


class Batch:
    """Drawn pictures in a store, as the pipeline embeds and indexes them."""

    def __init__(self, root: Path) -> None:
        self.store = LocalObjectStore(root)
        self.embedder = Embedder(register_embedder(self.store))
        self.shas = []
        for seed in range(PICTURES):
            data = encode(training_scene(np.random.default_rng(seed))[0], 85)
            self.shas.append(hashlib.sha256(data).hexdigest())
            self.store.put(picture_key(self.shas[-1]), data)
        rows = [
            (f"P{number}", f"http://shop.example/{number}.jpg", sha, box.key)
            for number, sha in enumerate(self.shas)
            for box in (Box(0.2, 0.1, 0.8, 0.9), Box.whole())
        ]
        columns = map(list, zip(*rows, strict=True))
        self.items = pa.table(dict(zip(ITEMS.names, columns, strict=True)), schema=ITEMS)
        embed_boxes(self.store, self.embedder, self.items.select(["sha256", "box"]))
        table = embeddings_table(self.store, self.embedder.version, self.embedder.dim).read()
        self.vectors = vectors_of(with_vectors(self.items, table))

    def generation(self, vectors: np.ndarray) -> Generation:
        text = dict.fromkeys(("name", "brand", "category", "colour", "currency"), "x")
        products = [
            {**text, "product_id": f"P{number}", "price": 1, "in_stock": True, "image_urls": []}
            for number in range(PICTURES)
        ]
        manifest = build_generation(
            self.store,
            pa.Table.from_pylist(products, schema=PRODUCTS),
            self.items,
            vectors,
            embedder=self.embedder.version,
            preprocessing=self.embedder.preprocessing,
            detector="d",
            snapshot="s",
        )
        return load(self.store, manifest)


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    return Batch(tmp_path_factory.mktemp("parity"))


def test_what_the_pipeline_wrote_is_what_would_be_served(batch: Batch) -> None:
    gate = parity(batch.store, batch.generation(batch.vectors), Settings())
    assert gate.passed
    assert gate.measured > 0.99999
    assert gate.message.startswith("12 vectors made again as the service makes them have a cosine of ")


def test_one_picture_made_otherwise_is_enough(batch: Batch) -> None:
    vectors = batch.vectors.copy()
    vectors[3] += 0.1 * vectors[0]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    gate = parity(batch.store, batch.generation(vectors), Settings())
    assert not gate.passed
    assert gate.measured < 0.999
    assert gate.message.endswith(f"least alike on picture {batch.shas[1][:16]}")


def test_a_picture_that_opens_no_more_stops_it(batch: Batch) -> None:
    generation = batch.generation(batch.vectors)
    key = picture_key(batch.shas[2])
    data = batch.store.get(key)
    try:
        batch.store.put(key, data[:100])
        gate = parity(batch.store, generation, Settings())
        assert (gate.passed, gate.measured) == (False, -1.0)
        batch.store.delete(key)
        with pytest.raises(NotFound):
            parity(batch.store, generation, Settings())
    finally:
        batch.store.put(key, data)
