"""What was seen on a picture that somebody sent, for the next page, another filter, another part of it."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import orjson
from numpy.typing import NDArray

from serving.cache.values import checked, unchecked
from serving.errors import BadInput
from serving.images.box import Box

# How long it is kept after it was last added to.
PICTURE_TTL_S = 600
# Parts that somebody tried; the latest stay.
_MOST_PARTS = 32
_LAYOUT = 1
_NORM_ERROR = 1e-3


@dataclass(frozen=True, slots=True)
class Item:
    """What a detector found, on the grid of ``Box``."""

    box: Box
    category: str
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class PictureFeatures:
    """The items on a picture, the main one first, and unit vectors float32 (d,) of parts of it.

    The numbers are kept to the bit: pages of one search have to be of the same vectors.
    """

    items: tuple[Item, ...]
    parts: dict[Box, NDArray[np.float32]]

    def having(self, parts: dict[Box, NDArray[np.float32]]) -> Self:
        """With these as well."""
        rest = {box: row for box, row in self.parts.items() if box not in parts}
        return replace(self, parts=dict([*rest.items(), *parts.items()][-_MOST_PARTS:]))

    def to_bytes(self) -> bytes:
        items = [(item.box.key, item.category, item.score) for item in self.items]
        head = orjson.dumps([_LAYOUT, items, [box.key for box in self.parts]])
        data = b"\n".join([head, b"".join(row.astype("<f4").tobytes() for row in self.parts.values())])
        return checked(data)

    @classmethod
    def from_bytes(cls, kept: bytes) -> Self | None:
        """What ``to_bytes`` wrote; None for anything else."""
        data = unchecked(kept)
        if data is None:
            return None
        head, _, rows = data.partition(b"\n")
        try:
            layout, items, keys = orjson.loads(head)
            if layout != _LAYOUT:
                return None
            seen = tuple(
                Item(Box.from_key(key), str(category), float(score)) for key, category, score in items
            )
            vectors = np.frombuffer(rows, "<f4").reshape(len(keys), -1)
            parts = {Box.from_key(key): row for key, row in zip(keys, vectors, strict=True)}
        except (ValueError, TypeError, AttributeError, BadInput):
            return None
        lengths = np.linalg.norm(vectors, axis=1)
        return cls(seen, parts) if (np.abs(lengths - 1) <= _NORM_ERROR).all() else None
