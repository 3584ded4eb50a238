"""Draws the sample's pictures to files, on every core, and takes up where an interrupted run stopped."""

import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from imgsearch_assets.progress import stage
from imgsearch_assets.sample.products import Product
from imgsearch_assets.sample.scenes import PACKSHOTS

# Raise it when the generator draws something else for the same seed: old drawings are then drawn anew.
GENERATOR = 1

# A street picture (a file below the sample's folder), the product on it, its category, and its box's key.
TRUTH = ("file", "product_id", "category", "box")

# Products in one unit of work: what an interrupted run loses at most on each core.
_CHUNK = 20
# Every product below the first number has a street picture, and one in so many after it.
_STREET_FIRST, _STREET_EVERY = 300, 10
PACKSHOT_QUALITY, _STREET_QUALITY = 88, 82


_FOLDERS = ("pictures", "street", "drawn")


@dataclass(frozen=True)
class Drawing:
    """Where the pictures of a sample lie: ``pictures/``, ``street/``, and records of what is done."""

    folder: Path
    seed: int

    def make_folders(self) -> None:
        for name in _FOLDERS:
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def packshot(self, number: int, kind: str) -> Path:
        return self.folder / "pictures" / f"p{number:06d}-{kind}.jpg"

    def street(self, number: int) -> Path:
        return self.folder / "street" / f"p{number:06d}.jpg"

    def record(self, numbers: range) -> Path:
        return self.folder / "drawn" / f"{numbers.start:06d}-{numbers.stop:06d}.json"


def encode(picture: NDArray[np.uint8], quality: int) -> bytes:
    """``picture`` (uint8 (h, w, 3) RGB) as JPEG."""
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not done:
        raise OSError("OpenCV could not encode a picture")
    return bytes(data)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)


def has_street(number: int) -> bool:
    return number < _STREET_FIRST or number % _STREET_EVERY == 0


def draw(drawing: Drawing, products: int) -> list[dict[str, Any]]:
    """Draw what is not there yet of the first ``products`` products; returns the truth of street pictures.

    A row of it has the columns ``TRUTH``. Drawings of another seed are removed first.
    """
    _claim(drawing)
    chunks = [range(start, min(start + _CHUNK, products)) for start in range(0, products, _CHUNK)]
    todo = [chunk for chunk in chunks if not drawing.record(chunk).exists()]
    if todo:
        with stage("drawing the sample", sum(len(chunk) for chunk in todo)) as advance:
            for done in _drawn(drawing, todo):
                advance(done)
    return [row for chunk in chunks for row in json.loads(drawing.record(chunk).read_text())]


def _claim(drawing: Drawing) -> None:
    """Make the folder this drawing's own: what another seed or generator drew there goes."""
    claim = drawing.folder / "drawing.json"
    mine = json.dumps({"generator": GENERATOR, "seed": drawing.seed})
    if not claim.exists() or claim.read_text() != mine:
        claim.unlink(missing_ok=True)
        for name in _FOLDERS:
            shutil.rmtree(drawing.folder / name, ignore_errors=True)
    drawing.make_folders()
    write_whole(claim, mine.encode())


def _drawn(drawing: Drawing, chunks: list[range]) -> Iterator[int]:
    """Draw the chunks, in other processes when that pays; yields how many products were just done."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if len(chunks) < 3 or cores == 1:
        for chunk in chunks:
            yield draw_chunk(drawing, chunk)
        return
    # Spawned, not forked: the parent may run threads, and forking those is how processes hang.
    with ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(draw_chunk, drawing, chunk) for chunk in chunks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def draw_chunk(drawing: Drawing, numbers: range) -> int:
    """Draw the products ``numbers`` and, when all their pictures are there, record them."""
    cv2.setNumThreads(1)
    truth = []
    for number in numbers:
        product = draw_product(drawing, number)
        if has_street(number):
            scene = product.street()
            path = drawing.street(number)
            write_whole(path, encode(scene.picture, _STREET_QUALITY))
            box, category = scene.items[0]
            row = ("street/" + path.name, product.product_id, category, box.key)
            truth.append(dict(zip(TRUTH, row, strict=True)))
    write_whole(drawing.record(numbers), json.dumps(truth).encode())
    return len(numbers)


def draw_product(drawing: Drawing, number: int) -> Product:
    """Draw the packshots of one product."""
    product = Product.drawn(drawing.seed, number)
    for kind, scene in zip(PACKSHOTS, product.packshots(), strict=True):
        write_whole(drawing.packshot(number, kind), encode(scene.picture, PACKSHOT_QUALITY))
    return product
