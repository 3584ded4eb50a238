"""Vectors for the benchmarks of the index: embeddings of drawn pictures tiled to size, and a synthetic set.

Neither is random Gaussian data, which is no catalogue: there everything is about as far from everything.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from imgsearch_assets.datasets import drawn as drawn_set
from imgsearch_assets.index.generation import build_generation
from imgsearch_assets.models.candidates import SHIPPED, candidate
from serving.images.box import Box, crop
from serving.index.artifact import load
from serving.index.generation import ITEMS, PRODUCTS
from serving.index.loaded import Generation
from serving.models import embedder, runtime
from serving.models.embedder import Embedder
from serving.models.preprocess import open_picture
from serving.object_store import LocalObjectStore

SETS = ("drawn", "synthetic", "even")
SEED = 8_000_000  # far from those that a training draws
_BATCH_ROWS = 20_000
# Of the synthetic sets: rows of one kind of thing on average, categories, and how far each level scatters.
_ROWS_A_KIND, _CATEGORIES = 100, 20
# A shop has thousands of white T-shirts and few of most things: a kind's share falls like its rank ** -0.8.
_FALL = 0.8
_KIND, _ROW, _QUERY = 0.7, 0.5, 0.3

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Catalogue:
    """``xb`` float32 (n, d) and ``xq`` float32 (nq, d), rows unit length; what they are in a sentence."""

    name: str
    said: str
    xb: Rows
    xq: Rows


def unit(rows: NDArray[np.floating]) -> Rows:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def catalogue(name: str, n: int, queries: int, dim: int, products: int, keep: Path | None) -> Catalogue:
    """One of ``SETS``. ``keep`` is a folder for what is drawn, to be used again."""
    if name != "drawn":
        return synthetic(n, queries, dim, even=name == "even")
    with tempfile.TemporaryDirectory(prefix="imgsearch-catalogue-") as scratch:
        return drawn(n, queries, dim, products, keep or Path(scratch))


def synthetic(n: int, queries: int, dim: int, even: bool = False) -> Catalogue:
    """Categories, in them kinds, in those rows; a query is a disturbed row.

    A few kinds are large and most are small, or, ``even``, all alike: then a leaf of a tree can hold a kind.
    """
    rng = np.random.default_rng(0)
    categories = _directions(rng, _CATEGORIES, dim)
    count = max(_CATEGORIES, n // _ROWS_A_KIND)
    kinds = categories[np.arange(count) % _CATEGORIES] + _KIND * _directions(rng, count, dim)
    share = np.arange(1, count + 1) ** -(0 if even else _FALL)
    of_row = rng.choice(count, size=n, p=share / share.sum())
    xb = unit(kinds[of_row] + _ROW * _directions(rng, n, dim))
    xq = unit(xb[rng.integers(n, size=queries)] + _QUERY * _directions(rng, queries, dim))
    name, sizes = ("even", "all as large") if even else ("synthetic", f"sizes falling like rank ** -{_FALL}")
    said = f"{name}: {_CATEGORIES} categories, {count:,} kinds, {sizes}; a query is a disturbed row"
    return Catalogue(name, said, xb, xq)


def _directions(rng: np.random.Generator, n: int, dim: int) -> Rows:
    """float32 (n, dim), rows of about unit length, anywhere."""
    return np.asarray(rng.standard_normal((n, dim), np.float32) / np.float32(dim**0.5))


def drawn(n: int, queries: int, dim: int, products: int, keep: Path) -> Catalogue:
    """Packshots of drawn products to be found, street pictures of them to ask with, by the shipped embedder.

    Tiled to size with noise like the differences between pictures of one product: a tile is another picture
    of it. Shortened to ``dim`` by principal components when the embedder's are longer.
    """
    shop, street = _embedded(products, keep)
    shown = shop.reshape(products, -1, shop.shape[1])
    differences = (shown - shown.mean(axis=1, keepdims=True)).reshape(shop.shape)
    if dim < shop.shape[1]:
        axes = np.linalg.svd(shop, full_matrices=False)[2][:dim].T
        shop, street, differences = unit(shop @ axes), unit(street @ axes), differences @ axes
    rng = np.random.default_rng(0)
    spread = products * (shown.shape[1] - 1)  # degrees of freedom
    _, scale, axes = np.linalg.svd(differences / spread**0.5, full_matrices=False)
    noise = (scale[:, None] * axes).astype(np.float32)
    xb, xq = _tiled(shop, noise, n, rng), _tiled(street, noise, queries, rng)
    said = (
        f"drawn: {len(shop):,} embedded packshots of {products:,} drawn products tiled with noise; "
        f"a query is a street picture's, tiled alike"
    )
    return Catalogue("drawn", said, xb, xq)


def _tiled(base: Rows, noise: Rows, n: int, rng: np.random.Generator) -> Rows:
    """``n`` rows: every row of ``base`` about as often, with noise of the axes ``noise`` float32 (r, d)."""
    rows = np.empty((n, base.shape[1]), np.float32)
    of_base = rng.permutation(np.arange(n) % len(base))
    for start in range(0, n, _BATCH_ROWS):
        part = of_base[start : start + _BATCH_ROWS]
        drawn_noise = rng.standard_normal((len(part), len(noise)), np.float32) @ noise
        rows[start : start + _BATCH_ROWS] = unit(base[part] + drawn_noise)
    return rows


def _embedded(products: int, keep: Path) -> tuple[Rows, Rows]:
    """Vectors of the items' crops: of packshots, as many of each product, product by product; of streets."""
    bundle = candidate(embedder.NAME, SHIPPED, None)
    file = keep / f"vectors-{SEED}-{products}-{bundle.version}.npz"
    if file.exists():
        with np.load(file) as kept:
            return kept["shop"], kept["street"]
    pictures = drawn_set.load(products, SEED, keep).pictures
    runtime.tune(threads=1)
    model = Embedder(bundle)
    found: dict[str, Rows] = {}
    for kind in ("shop", "street"):
        chosen = sorted((one for one in pictures if one.kind == kind), key=lambda one: one.product)
        parts = [model.embed([crop(open_picture(one.path.read_bytes()), one.box)]) for one in chosen]
        found[kind] = np.concatenate(parts)
    np.savez(file, **found)
    return found["shop"], found["street"]


def shown(xb: Rows, products: int, rows_per_product: int) -> Rows:
    """The first ``products`` of ``xb``, each as so many rows near each other, as pictures of one are."""
    if rows_per_product == 1:
        return xb[:products]
    rng = np.random.default_rng(1)
    rows = np.repeat(xb[:products], rows_per_product, axis=0)
    return unit(rows + _QUERY * _directions(rng, *rows.shape))


@dataclass(frozen=True)
class Built:
    """A generation of a catalogue as the pipeline makes it, loaded as the search service loads it."""

    generation: Generation
    build_s: float
    base_bytes: int


def built(xb: Rows, rows_per_product: int, folder: Path) -> Built:
    """Row r belongs to product r // ``rows_per_product``; product ids ascend, so the order of rows stays."""
    count = -(-len(xb) // rows_per_product)
    ids = [f"{number:09d}" for number in range(count)]
    text = [""] * count
    products = pa.table(
        dict.fromkeys(("name", "brand", "category", "colour", "currency"), text)
        | {"product_id": ids, "price": [0] * count, "in_stock": [True] * count, "image_urls": [[]] * count}
    )
    of_row = [ids[row // rows_per_product] for row in range(len(xb))]
    items = pa.table(
        {
            "product_id": of_row,
            "image_url": [""] * len(xb),
            "sha256": [f"{row:064x}" for row in range(len(xb))],
            "box": [Box.whole().key] * len(xb),
        },
        schema=ITEMS,
    )
    products = products.select(PRODUCTS.names).cast(PRODUCTS)
    store = LocalObjectStore(folder)
    started = time.process_time()
    manifest = build_generation(
        store, products, items, xb, embedder="-", preprocessing="-", detector="-", snapshot="-"
    )
    build_s = time.process_time() - started
    return Built(load(store, manifest), build_s, manifest.segment("base").size_bytes)
