"""Queries of which the right answer is known, and how often it was given."""

from collections.abc import Sequence
from typing import TypeVar
from zlib import crc32

import cv2
import duckdb
import numpy as np
from numpy.typing import NDArray

from imgsearch_assets.sample.catalogue import Sample, pictured
from imgsearch_assets.sample.drawing import encode
from serving.images.box import Box, crop
from serving.images.decode import decode

# An encoded picture and the product that has to be found.
PictureQuery = tuple[bytes, str]

T = TypeVar("T")

RETAKE_AREA, RETAKE_GAIN, RETAKE_QUALITY = 0.7, 1.25, 60


def retaken(picture: NDArray[np.uint8], seed: int) -> bytes:
    """``picture`` (uint8 (h, w, 3) RGB) as someone else's camera has it, as JPEG.

    70 % of its area is left, wherever ``seed`` says, brighter and compressed again.
    """
    rng = np.random.default_rng(seed)
    side = RETAKE_AREA**0.5
    x, y = rng.uniform(0, 1 - side, 2)
    part = crop(picture, Box(x, y, x + side, y + side))
    return encode(cv2.convertScaleAbs(part, alpha=RETAKE_GAIN), RETAKE_QUALITY)


def photo_queries(sample: Sample, limit: int) -> list[PictureQuery]:
    """The first picture of up to ``limit`` products, retaken."""
    with duckdb.connect(str(sample.catalogue), read_only=True) as connection:
        rows = pictured(connection)
    queries = []
    for product_id, urls in _spread(rows, limit):
        picture = decode(sample.file_of(urls[0]).read_bytes())
        queries.append((retaken(picture, crc32(product_id.encode())), product_id))
    return queries


def street_queries(sample: Sample, limit: int) -> list[PictureQuery]:
    """Up to ``limit`` street pictures of products that are still in the catalogue."""
    with duckdb.connect(str(sample.catalogue), read_only=True) as connection:
        there = {product_id for product_id, _ in pictured(connection)}
    queries = [query for query in sample.queries if query.product_id in there]
    return [(query.path.read_bytes(), query.product_id) for query in _spread(queries, limit)]


def recall_at(k: int, ranked_ids: Sequence[Sequence[str]], truth: Sequence[str]) -> float:
    """The share of queries whose product is among the first ``k`` of its ranking, 0..1.

    Raises ``ValueError`` when there are no queries or not as many answers as questions.
    """
    if not truth:
        raise ValueError("no queries")
    found = (product_id in ranked[:k] for ranked, product_id in zip(ranked_ids, truth, strict=True))
    return sum(found) / len(truth)


def _spread(items: Sequence[T], limit: int) -> list[T]:
    """``limit`` of ``items``, evenly from first to last."""
    if len(items) <= limit:
        return list(items)
    return [items[i * len(items) // limit] for i in range(limit)]
