"""A log of events: fragments, each sorted by product, that together are read as one table.

What is appended is one immutable object, whose name says what time it covers and how far it reaches (its
*mark*: the snapshot or the generation it leads up to). So an append and the note of how far the log has come
are one write, and a writer that was killed has done both or neither.

Fragments of one level are written back as one of the next when there are many, so a row is written a few
times in its life and one product is found in a few files. A fragment whose time lies within that of one of a
higher level was taken up by it, and is left out until it is removed.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa

from serving.ledger.rows import listed_and_read, rows_where
from serving.object_store import ObjectStore


def _go_on() -> None:
    """Any reader may take its time."""


@dataclass(frozen=True, order=True)
class Fragment:
    """One object of a log. Times are microseconds since 1970."""

    last: int
    first: int
    level: int
    mark: str
    key: str

    @classmethod
    def of(cls, key: str) -> "Fragment":
        last, first, level, mark = key.rsplit("/", 1)[1].removesuffix(".parquet").split("-", 3)
        return cls(int(last), int(first), int(level), mark, key)

    def covers(self, other: "Fragment") -> bool:
        return self.level > other.level and self.first <= other.first and other.last <= self.last


@dataclass(frozen=True)
class EventLog:
    """The events under ``ledger/<name>/``. ``schema`` begins with ``product_id`` and has a time ``at``."""

    store: ObjectStore
    name: str
    schema: pa.Schema

    @property
    def prefix(self) -> str:
        return f"ledger/{self.name}"

    def every(self) -> list[Fragment]:
        """Every object there is, in order of time."""
        return sorted(Fragment.of(key) for key in self.store.list(self.prefix))

    def fragments(self) -> list[Fragment]:
        """Those that are read."""
        found = self.every()
        high = [one for one in found if one.level]
        return [one for one in found if not any(other.covers(one) for other in high)]

    def last(self) -> Fragment | None:
        """The fragment that reaches farthest; None of an empty log."""
        return max(self.fragments(), default=None)

    def about(
        self,
        products: Collection[str],
        columns: Sequence[str] | None = None,
        check: Callable[[], None] = _go_on,
    ) -> pa.Table:
        """The events of ``products`` in order of time; ``check`` is called before each fragment is read."""

        def read() -> pa.Table:
            parts = [self.schema.empty_table()]
            for fragment in self.fragments():
                check()
                parts.append(rows_where(self.store, fragment.key, "product_id", products))
            return pa.concat_tables(parts)

        table = listed_and_read(read).sort_by("at")
        return table.select(list(columns)) if columns else table
