"""Products of the sample generator as a data set: packshots and a street picture of each, with all boxes.

What is drawn stays, and is the start of a larger set of the same seed; an interrupted drawing is completed.
"""

import json
from collections.abc import Iterable
from concurrent.futures import as_completed
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from imgsearch_assets.datasets.dataset import Dataset, Labelled
from imgsearch_assets.pool import processes
from imgsearch_assets.progress import stage
from imgsearch_assets.sample.drawing import GENERATOR, PACKSHOT_QUALITY, encode, write_whole
from imgsearch_assets.sample.products import Product
from imgsearch_assets.sample.scenes import PACKSHOTS, Scene
from serving.errors import BadInput
from serving.images.box import Box
from serving.models import runtime

_STREET_QUALITY = 82  # a phone's
_CHUNK = 10  # products in one unit of work: what an interrupted run loses at most on each core

Row = dict[str, Any]


def load(products: int, seed: int, folder: Path) -> Dataset:
    """The first ``products`` products of ``seed``, below ``folder``, drawn as far as they are not there yet.

    Raises ``BadInput`` for less than one product.
    """
    if products < 1:
        raise BadInput(f"drawn:{products} asks for no product; at least 1")
    name = f"drawn-{seed}"
    root = folder.resolve() / f"{name}-{GENERATOR}"
    (root / "drawn").mkdir(parents=True, exist_ok=True)
    chunks = range(0, products, _CHUNK)
    todo = [first for first in chunks if not _record(root, first).exists()]
    if todo:
        with stage("drawing products", len(todo) * _CHUNK) as advance:
            for _ in _drawn(root, seed, todo):
                advance(_CHUNK)
    rows: list[Row] = [row for first in chunks for row in json.loads(_record(root, first).read_bytes())]
    pictures = tuple(_labelled(root, row) for row in rows if row["number"] < products)
    return Dataset(f"{name}, {products} products", root, pictures)


def _record(root: Path, first: int) -> Path:
    return root / "drawn" / f"{first:06d}.json"


def _labelled(root: Path, row: Row) -> Labelled:
    items = tuple((Box.from_key(key), category) for key, category in row["items"])
    return Labelled(root / row["file"], row["product"], items[0][1], row["kind"], items=items)


def _drawn(root: Path, seed: int, chunks: list[int]) -> Iterable[None]:
    draw = partial(draw_chunk, root, seed)
    if len(chunks) < 3 or runtime.cores() == 1:
        yield from map(draw, chunks)
        return
    with processes() as pool:
        futures = [pool.submit(draw, first) for first in chunks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def draw_chunk(root: Path, seed: int, first: int) -> None:
    """Draw the pictures of the ten products from ``first`` on, and when all are there, record them."""
    cv2.setNumThreads(1)
    rows: list[Row] = []
    for number in range(first, first + _CHUNK):
        product = Product.drawn(seed, number)
        into = root / f"{first:06d}"
        into.mkdir(exist_ok=True)
        for shot, scene in zip((*PACKSHOTS, "street"), (*product.packshots(), product.street()), strict=True):
            quality = _STREET_QUALITY if shot == "street" else PACKSHOT_QUALITY
            path = into / f"{product.product_id}-{shot}.jpg"
            write_whole(path, encode(scene.picture, quality))
            rows.append(_row(path.relative_to(root), product, shot, scene))
    write_whole(_record(root, first), json.dumps(rows).encode())


def _row(file: Path, product: Product, shot: str, scene: Scene) -> Row:
    items = scene.items
    # Something may stand before the garment that was asked for; then it is not the first item.
    if items[0][1] != product.design.category:
        items = sorted(items, key=lambda item: item[1] != product.design.category)
    return {
        "file": file.as_posix(),
        "number": product.number,
        "product": product.product_id,
        "kind": "street" if shot == "street" else "shop",
        "items": [(box.key, category) for box, category in items],
    }
