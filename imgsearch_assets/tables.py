"""A table that only grows: Parquet fragments below one key, the latest row of a key wins.

Appending is one atomic object, so work that is killed keeps every fragment it wrote, and several
writers never wait for each other. The same layout serves a folder and a bucket.
"""

import io
import time
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from serving.ledger.rows import AT, latest_where, listed_and_read
from serving.object_store import ObjectStore

# Past this many fragments a reader writes them back as one; older ones are removed after it is there.
COMPACT_ABOVE = 64
# So that one row of a large sorted table is read without the rest (``serving.ledger.rows``).
_ROW_GROUP = 32_768


def parquet_bytes(table: pa.Table) -> bytes:
    """``table`` as a Parquet file; equal tables give equal bytes."""
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=_ROW_GROUP, compression="zstd")
    return sink.getvalue()


def read_parquet(store: ObjectStore, key: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The table stored under ``key``. Raises ``NotFound``."""
    return pq.read_table(io.BytesIO(store.get(key)), columns=list(columns) if columns else None)


@dataclass(frozen=True)
class GrowingTable:
    """Rows of ``schema`` under ``tables/<name>/``; rows that agree in ``key`` columns replace each other."""

    store: ObjectStore
    name: str
    schema: pa.Schema
    key: tuple[str, ...]

    @property
    def _prefix(self) -> str:
        return f"tables/{self.name}"

    def append(self, rows: pa.Table) -> None:
        """Add rows (``schema``, in any order of columns). Nothing is written for no rows."""
        if rows.num_rows:
            rows = rows.select(self.schema.names).cast(self.schema)
            self._write(rows, time.time_ns())

    def _write(self, rows: pa.Table, stamp: int) -> None:
        self.store.put(f"{self._prefix}/{stamp:020d}-{uuid.uuid4().hex[:8]}.parquet", parquet_bytes(rows))

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The latest row of every key. ``columns`` narrows the answer."""
        wanted = list(dict.fromkeys([*self.key, *(columns or self.schema.names)]))
        parts = listed_and_read(
            lambda: [read_parquet(self.store, key, wanted) for key in self.store.list(self._prefix)]
        )
        if not parts:
            empty = self.schema.empty_table()
            return empty.select(columns) if columns else empty
        table = pa.concat_tables(parts)
        table = table.append_column("_row", pa.array(range(table.num_rows), pa.int64()))
        latest = table.group_by(list(self.key)).aggregate([("_row", "max")])["_row_max"]
        table = table.take(latest.combine_chunks().sort()).drop_columns("_row")
        return table.select(columns) if columns else table

    def find(self, values: Collection[str], columns: Sequence[str]) -> pa.Table:
        """The latest rows whose first key is in ``values``: ``columns``, and ``written_at``, a timestamp."""
        found = latest_where(self.store, self.name, self.key, values, columns)
        if found.num_columns:
            return found
        fields = [*(self.schema.field(name) for name in columns), pa.field("written_at", AT)]
        return pa.schema(fields).empty_table()

    def compact(self) -> None:
        """Write many fragments back as one, if there are many; others read and append meanwhile."""
        with self.store.exclusive(self._prefix):
            keys = list(self.store.list(self._prefix))
            if len(keys) <= COMPACT_ABOVE:
                return
            last = int(keys[-1].rsplit("/", 1)[1].split("-", 1)[0])
            self._write(self.read().sort_by([(name, "ascending") for name in self.key]), last + 1)
            for key in keys:
                self.store.delete(key)

    def lacking(self, wanted: pa.Table) -> pa.Table:
        """The rows of ``wanted`` (its key columns) that this table has no row for, once each, in order."""
        have = self.read(self.key)
        wanted = wanted.select(list(self.key)).append_column(
            "_row", pa.array(range(wanted.num_rows), pa.int64())
        )
        first = (
            wanted.group_by(list(self.key)).aggregate([("_row", "min")]).rename_columns([*self.key, "_row"])
        )
        missing = first.join(have, list(self.key), join_type="left anti")
        return missing.sort_by("_row").select(list(self.key))
