"""Columns as the bytes of protobuf fields, a whole column at once; and one row of them, at next to no cost.

A message built value by value costs Python some ten microseconds, and an answer has ten of them: more than
the search that found it. Rows that never change can be encoded once, by Arrow, outside the interpreter's
lock. The encoding is that of https://protobuf.dev/programming-guides/encoding.
"""

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

# Kinds of field, the lowest three bits of a tag.
_VARINT, LENGTH, FLOAT = 0, 2, 5

# An ``pa.LargeBinaryArray`` with the bytes of each row. (Arrow's stubs know too little of its functions.)
Bytes: TypeAlias = Any
# Such an array, or a scalar: the same bytes in every row.
Part: TypeAlias = Any


class Rows:
    """The bytes of each row, read in place: those of row n are ``data[starts[n] : starts[n + 1]]``."""

    def __init__(self, encoded: Bytes) -> None:
        _, offsets, data = encoded.buffers()
        self.starts = memoryview(offsets).cast("B").cast("q")[encoded.offset :]
        self.data = memoryview(data or b"")

    def __getitem__(self, row: int) -> memoryview:
        return self.data[self.starts[row] : self.starts[row + 1]]


def texts(field: int, values: Any) -> list[Part]:
    """A field of type string, or bytes, or of a message that is encoded already. A missing text is empty."""
    values = pc.fill_null(values.cast(pa.large_binary()), b"")
    return [_tag(field, LENGTH), _varints(pc.binary_length(values).to_numpy()), values]


def text_lists(field: int, values: Any) -> list[Part]:
    """A field of type repeated string."""
    each = joined(texts(field, values.flatten()))
    starts = np.concatenate([[0], np.cumsum(values.value_lengths().to_numpy())])
    _, offsets, data = each.buffers()
    return [_of(np.frombuffer(offsets, np.int64)[starts], data)]


def integers(field: int, values: NDArray[np.int64]) -> list[Part]:
    """A field of type int64, int32 or bool."""
    return [_tag(field, _VARINT), _varints(values)]


def floats(first_field: int, values: NDArray[np.float32]) -> list[Part]:
    """Fields of type float, numbered from ``first_field`` on: ``values`` float32 (n, fields), by column."""
    rows, fields = values.shape
    encoded = np.empty((rows, fields, 5), np.uint8)
    encoded[:, :, 0] = [first_field + place << 3 | FLOAT for place in range(fields)]
    encoded[:, :, 1:] = np.ascontiguousarray(values, "<f4").view(np.uint8).reshape(rows, fields, 4)
    return [_of(np.arange(rows + 1) * fields * 5, encoded)]


@lru_cache(4096)
def head(field: int, length: int) -> bytes:
    """What stands before the ``length`` bytes of a single text or message."""
    digits = [field << 3 | LENGTH]
    while length > 0x7F:
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes((*digits, length))


def joined(parts: list[Part]) -> Bytes:
    """Row by row, one behind the other."""
    return pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.large_binary()))


def _tag(field: int, kind: int) -> Part:
    """Of a field below 16: those above take two bytes."""
    return pa.scalar(bytes([field << 3 | kind]), pa.large_binary())


def _varints(values: NDArray[np.integer[Any]]) -> Bytes:
    """Seven bits a byte, the lowest first; the highest bit says that more follow. Negative ones take ten."""
    left = values.astype(np.int64).view(np.uint64)
    most = max(1, -(-int(left.max(initial=0)).bit_length() // 7))
    digits, used = np.empty((len(left), most), np.uint8), np.empty((len(left), most), bool)
    for place in range(most):
        used[:, place] = (left > 0) | (place == 0)
        digits[:, place] = left & np.uint64(0x7F)
        left = left >> np.uint64(7)
    digits[:, :-1] |= used[:, 1:].astype(np.uint8) << 7
    return _of(np.concatenate([[0], np.cumsum(used.sum(axis=1))]), digits[used])


def _of(offsets: NDArray[np.int64], data: "NDArray[np.uint8] | pa.Buffer") -> Bytes:
    buffers = [None, _buffer(offsets.astype(np.int64, copy=False)), _buffer(data)]
    return pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def _buffer(data: Any) -> pa.Buffer:
    """Without a copy: one of many megabytes would hold up every call."""
    return data if isinstance(data, pa.Buffer) else pa.py_buffer(data)
