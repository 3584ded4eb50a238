"""Columns of whatever type a catalogue has, read as the type that is wanted.

A column of a fitting type is cast as a whole; of any other, CSV's text above all, each value is parsed. What
cannot be read is null in the values and True in the mask beside them.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
# An Arrow array; its stubs know fewer of the ways to use one than Arrow does.
Column = Any
Read = tuple[Column, Mask]

_YES_NO = {
    "true": True,
    "t": True,
    "yes": True,
    "1": True,
    "false": False,
    "f": False,
    "no": False,
    "0": False,
}


def texts(column: Column) -> Read:
    return _read(column, pa.string(), _is_text, lambda value: value if isinstance(value, str) else None)


def text_lists(column: Column) -> Read:
    """Lists of texts. One text with several is separated by ``|`` or blanks, neither of which is in a URL."""
    return _read(column, pa.list_(pa.string()), _is_text_list, _split)


def integers(column: Column) -> Read:
    return _read(column, pa.int64(), _is_integer, _integer)


def booleans(column: Column) -> Read:
    return _read(
        column, pa.bool_(), pa.types.is_boolean, lambda value: _YES_NO.get(str(value).strip().lower())
    )


def instants(column: Column) -> Read:
    """Times in microseconds, taken for UTC where they do not say."""
    return _read(column, pa.timestamp("us", "UTC"), pa.types.is_timestamp, _instant)


def mask(values: Column) -> Mask:
    """bool (n,), null as False."""
    found: Mask = pc.fill_null(values, False).to_numpy(zero_copy_only=False)
    return found


def _read(
    column: Column,
    wanted: pa.DataType,
    fits: Callable[[pa.DataType], bool],
    parse: Callable[[object], object | None],
) -> Read:
    if fits(column.type):
        return column.cast(wanted, safe=False), np.zeros(len(column), bool)
    values = pa.array([None if value is None else parse(value) for value in column.to_pylist()], wanted)
    return values, mask(pc.and_(pc.is_null(values), pc.is_valid(column)))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind))


def _is_text_list(kind: pa.DataType) -> bool:
    return bool((pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _is_text(kind.value_type))


def _is_integer(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) and kind != pa.uint64())


def _split(value: object) -> list[str] | None:
    return [part for part in re.split(r"[|\s]+", value) if part] if isinstance(value, str) else None


def _integer(value: object) -> int | None:
    try:
        number = int(str(value).strip().removesuffix(".0"))
    except ValueError:
        return None
    return number if abs(number) < 2**63 else None


def _instant(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
    except ValueError:
        return None
    if isinstance(found, date) and not isinstance(found, datetime):
        found = datetime.combine(found, time())
    if not isinstance(found, datetime):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
