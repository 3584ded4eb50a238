"""Where a page ends. By itself, so that whoever only hands it on loads nothing of an index."""

import zlib
from typing import NamedTuple


class After(NamedTuple):
    """The ``score`` of the last hit shown, ``mark`` of all shown with it, and how many were shown in all."""

    score: float
    tied: frozenset[int]
    shown: int


def mark(product_id: str) -> int:
    """A product in 32 bits, as a cursor has to be short."""
    return zlib.crc32(product_id.encode("utf-8", "surrogatepass"))
