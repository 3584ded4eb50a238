"""What a generation holds of one product, and how alike two are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from serving.errors import NotFound
from serving.images.box import Box
from serving.proto import geometry_pb2, search_pb2
from serving.services.searchable import About

# Of a design, or of a picture, that very many products have.
MOST_OTHERS = 100


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Rows in their order: (picture's URL, its SHA-256, ``Box.key``); vectors float32 (n, dim)."""

    rows: Sequence[tuple[str, str, str]]
    vectors: NDArray[np.float32]


def missing(about: About, product_id: str) -> NotFound:
    return NotFound(f"generation {about.generation} does not hold product {product_id!r}")


def reply(
    about: About,
    product: search_pb2.Product,
    shown: Shown,
    variants: Iterable[str],
    same_picture: Iterable[str],
    like: Shown | None,
) -> search_pb2.ExplainReply:
    """``like`` is a second product."""
    return search_pb2.ExplainReply(
        product=product,
        generation=about.generation,
        created_at=about.created_at,
        embedder_version=about.embedder,
        detector_version=about.detector,
        pictures=[
            search_pb2.Picture(image_url=url, image_sha256=sha256, parts=[_box(key) for _, _, key in rows])
            for (url, sha256), rows in groupby(shown.rows, key=lambda row: row[:2])
        ],
        variants=variants,
        same_picture=same_picture,
        pair=None if like is None else _pair(shown, like),
    )


def _pair(shown: Shown, like: Shown) -> search_pb2.Pair:
    scores = shown.vectors @ like.vectors.T
    row, of_row = divmod(int(np.argmax(scores)), len(like.rows))
    (url, _, key), (of_url, _, of_key) = shown.rows[row], like.rows[of_row]
    return search_pb2.Pair(
        score=min(float(scores[row, of_row]), 1.0),  # as of a hit
        image_url=url,
        box=_box(key),
        of_image_url=of_url,
        of_box=_box(of_key),
    )


def _box(key: str) -> geometry_pb2.Box:
    box = Box.from_key(key)
    return geometry_pb2.Box(x0=box.x0, y0=box.y0, x1=box.x1, y1=box.y1)
