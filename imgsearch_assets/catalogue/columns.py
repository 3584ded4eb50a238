"""Columns of whatever type a catalogue has, read as the type that is wanted.

A column of a fitting type is cast as a whole; of any other, CSV's text above all, each value is parsed. What
cannot be read is null in the values and True in the mask beside them; so are a text that is no UTF-8, which a
Parquet file may hold, and a time outside of the years 1 to 9999, which are all that Python knows.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
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

_INTEGER = re.compile(r"[+-]?[0-9]{1,30}(\.0+)?")
# Of the years 1 to 9999, in seconds since 1970; the last is not among them.
_YEARS = (-62_135_596_800, 253_402_300_800)
_A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


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
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s" if pa.types.is_date32(column.type) else "ms"))
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
    if fits(column.type) and _whole(column):
        values = (_within(column) if pa.types.is_timestamp(column.type) else column).cast(wanted, safe=False)
    else:
        values = pa.array([None if value is None else parse(value) for value in _python(column)], wanted)
    return values, mask(pc.and_(pc.is_null(values), pc.is_valid(column)))


def _whole(column: Column) -> bool:
    """Whether every text is UTF-8."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _within(times: Column) -> Column:
    """``times``, null outside of ``_YEARS``: a cast would let them run over."""
    a_second, most = _A_SECOND[times.type.unit], 2**63 - 1
    first, end = (max(-most, min(most, year * a_second)) for year in _YEARS)
    numbers = times.cast(pa.int64())
    fits = pc.and_(pc.greater_equal(numbers, pa.scalar(first)), pc.less(numbers, pa.scalar(end)))
    return pc.if_else(fits, times, pa.scalar(None, times.type))


def _python(column: Column) -> list[object]:
    """The values, each that Python cannot have as ``Ellipsis``, which nothing parses."""
    try:
        values: list[object] = column.to_pylist()
    except (OverflowError, ValueError):
        return [_value(scalar) for scalar in column]
    return values


def _value(scalar: Any) -> object:
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):
        return ...


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind))


def _is_text_list(kind: pa.DataType) -> bool:
    return bool((pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _is_text(kind.value_type))


def _is_integer(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) and kind != pa.uint64())


def _split(value: object) -> list[str] | None:
    if isinstance(value, list) and all(part is None or isinstance(part, str) for part in value):
        return value
    return [part for part in re.split(r"[|\s]+", value) if part] if isinstance(value, str) else None


def _integer(value: object) -> int | None:
    text = format(Decimal(value), "f") if isinstance(value, float | Decimal) else str(value).strip()
    if not _INTEGER.fullmatch(text):
        return None
    number = int(text.partition(".")[0])
    return number if abs(number) < 2**63 else None


def _instant(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
        if not isinstance(found, datetime):
            return None
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (OverflowError, ValueError):
        return None


def shown(scalar: Any) -> str:
    """A value of a raw column for a person to read: short, and with nothing that breaks a line."""
    try:
        text = repr(scalar.as_py())
    except UnicodeDecodeError as error:
        text = f"{error.object!r}, which is no UTF-8"
    except (OverflowError, ValueError):
        text = "outside of the years 1 to 9999"
    return text if len(text) <= 200 else f"{text[:197]}..."
