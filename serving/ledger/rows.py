"""Rows of a Parquet object by the values of one column, without reading the rest of it.

A row group says in its statistics which values it can hold. Of a table that is sorted by the column, with row
groups of some ten thousand rows, one product costs one of them, however large the table is.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.errors import NotFound
from serving.object_store import ObjectStore

T = TypeVar("T")

AT = pa.timestamp("us", "UTC")
_ATTEMPTS = 3


def rows_where(
    store: ObjectStore, key: str, column: str, values: Collection[str], columns: Sequence[str] | None = None
) -> pa.Table:
    """The rows whose ``column`` (text) is one of ``values``; ``columns`` narrows the answer.

    Where it may be null, no null is asked for. Raises ``NotFound``.
    """
    wanted = sorted(set(values))
    try:
        opened = pq.ParquetFile(store.local_path(key))
    except FileNotFoundError:  # removed this moment
        raise NotFound(f"there is no object {key}") from None
    with opened as file:
        schema = file.schema_arrow
        names = list(columns) if columns is not None else schema.names
        found = [
            part
            for group in range(file.num_row_groups)
            if _can_hold(file.metadata.row_group(group), schema.get_field_index(column), wanted)
            and (part := _of_group(file, group, column, wanted, names)).num_rows
        ]
    return pa.concat_tables(found) if found else _nothing(schema, names)


def latest_where(
    store: ObjectStore, table: str, key: Sequence[str], values: Collection[str], columns: Sequence[str]
) -> pa.Table:
    """The latest rows of a table that grows (``imgsearch_assets.tables``), their first ``key`` in ``values``.

    They have ``columns``, and ``written_at`` (timestamp): no later than then the row was there. Without any
    column where the table has no fragment.
    """
    parts = listed_and_read(
        lambda: _stamped(store, table, values, list(dict.fromkeys([*key, *columns])), key[0])
    )
    if not parts:
        return pa.table({})
    rows = pa.concat_tables(parts)
    rows = rows.append_column("_row", pa.array(range(rows.num_rows), pa.int64()))
    last = rows.group_by(list(key)).aggregate([("_row", "max")])["_row_max"]
    return rows.take(last.combine_chunks().sort()).select([*columns, "written_at"])


def _stamped(
    store: ObjectStore, table: str, values: Collection[str], columns: Sequence[str], key: str
) -> list[pa.Table]:
    parts = []
    for fragment in store.list(f"tables/{table}"):
        found = rows_where(store, fragment, key, values, columns)
        stamp_ns = int(fragment.rsplit("/", 1)[1].split("-", 1)[0])
        written_at = pa.repeat(pa.scalar(stamp_ns // 1000, AT), found.num_rows)
        parts.append(found.append_column("written_at", written_at))
    return parts


def listed_and_read(read: Callable[[], T]) -> T:
    """What ``read`` lists and reads; again where an object was written back as part of another meanwhile."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return read()
        except NotFound:
            continue
    return read()


def _can_hold(group: pq.RowGroupMetaData, place: int, wanted: Sequence[str]) -> bool:
    # Columns that are compared are plain, and stand before any that is nested.
    statistics: Any = group.column(place).statistics
    if statistics is None or not statistics.has_min_max:
        return True
    nearest = bisect_left(wanted, statistics.min)
    return nearest < len(wanted) and bool(wanted[nearest] <= statistics.max)


def _of_group(
    file: pq.ParquetFile, group: int, column: str, wanted: Sequence[str], names: Sequence[str]
) -> pa.Table:
    """The column alone first: most groups whose range fits do not hold the value."""
    keys = file.read_row_group(group, [column])[column]
    mask = pc.is_in(keys, value_set=pa.array(wanted, pa.string()))
    if not pc.any(mask).as_py():
        return _nothing(file.schema_arrow, names)
    return file.read_row_group(group, list(names)).select(list(names)).filter(mask)


def _nothing(schema: pa.Schema, names: Sequence[str]) -> pa.Table:
    return pa.schema([schema.field(name) for name in names]).empty_table()
