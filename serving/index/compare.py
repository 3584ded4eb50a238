"""The nearest rows of those that a filter keeps, by comparing each of them.

FAISS steps over a row that is not kept by asking about it, every one of the index; with little kept that
takes longer than to copy what is. A float16 index needs no training, so a part of it is an index, too.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import faiss
import numpy as np
from numpy.typing import NDArray

from serving.index.cost import ROOM_ROWS
from serving.index.kinds import vectors_of

Nearest = tuple[NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Kept:
    """``count`` rows; ``nearest(xq, k)`` of xq float32 (n, d) gives D float32 (n, k) and I int64 (n, k).

    I holds rows of the whole index; k is ``count`` at most.
    """

    count: int
    nearest: Callable[[NDArray[np.float32], int], Nearest]


class Vectors:
    """The vectors of an index without what finds them. Several threads may use it.

    Holds the index, for its memory is where they lie.
    """

    def __init__(self, index: faiss.Index) -> None:
        self._index = index
        self._flat = vectors_of(index)
        codes, shape = self._flat.codes, (self._flat.ntotal, self._flat.code_size)
        self._codes = faiss.rev_swig_ptr(codes.data(), codes.size()).reshape(shape)
        self._own = threading.local()

    def all(self) -> Kept:
        return Kept(self._flat.ntotal, self._flat.search)

    def scanned(self, keep: NDArray[np.bool_]) -> Kept:
        """The rows of ``keep`` bool (rows,), where they lie."""
        selector = faiss.IDSelectorBitmap(np.packbits(keep, bitorder="little"))
        nearest = partial(self._flat.search, params=faiss.SearchParameters(sel=selector))
        return Kept(int(np.count_nonzero(keep)), nearest)

    def gathered(self, rows: NDArray[np.int64]) -> Kept:
        """``rows`` int64 (n,), copied into an index of their own; good until the thread's next call."""
        part, room = self._own_room() if len(rows) <= ROOM_ROWS else self._room(len(rows))
        codes = np.take(self._codes, rows, axis=0, out=room[: len(rows)], mode="clip")
        part.reset()
        part.add_sa_codes(codes)
        return Kept(len(rows), partial(_nearest, part, rows))

    def _own_room(self) -> tuple[faiss.IndexScalarQuantizer, NDArray[np.uint8]]:
        """Kept by the thread: memory given back and asked for anew costs as much as the copy."""
        if not hasattr(self._own, "room"):
            self._own.room = self._room(ROOM_ROWS)
        room: tuple[faiss.IndexScalarQuantizer, NDArray[np.uint8]] = self._own.room
        return room

    def _room(self, rows: int) -> tuple[faiss.IndexScalarQuantizer, NDArray[np.uint8]]:
        flat = self._flat
        part = faiss.IndexScalarQuantizer(flat.d, flat.sq.qtype, flat.metric_type)
        return part, np.empty((rows, flat.code_size), np.uint8)


def _nearest(part: faiss.Index, rows: NDArray[np.int64], xq: NDArray[np.float32], k: int) -> Nearest:
    """Of ``part``, whose rows are these of the whole."""
    D, I = part.search(xq, k)  # noqa: E741 - faiss names them so
    return D, rows[I]
