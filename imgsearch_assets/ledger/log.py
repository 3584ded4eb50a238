"""Writing a log of events (``serving.ledger.log``), by one writer at a time."""

import pyarrow as pa

from imgsearch_assets.tables import parquet_bytes, read_parquet
from serving.ledger.log import EventLog, Fragment

# Fragments of one level that become one of the next: a row is written log8(fragments) times in its life.
FAN = 8


def append(log: EventLog, rows: pa.Table, at: int, mark: str) -> None:
    """Add ``rows`` (``log.schema``), the log having come to ``mark`` at ``at`` (microseconds since 1970).

    An append of no rows is one as well: it says how far the log has come.
    """
    last = log.last()
    at = at if last is None else max(at, last.last + 1)  # a clock that went back hides nothing
    _write(log, rows.select(log.schema.names).cast(log.schema), Fragment(at, at, 0, mark, ""))


def compact(log: EventLog) -> None:
    """Write many fragments back as few, and remove what was taken up."""
    level = 0
    while level <= max((one.level for one in log.fragments()), default=-1):
        found = [one for one in log.fragments() if one.level == level]
        if len(found) >= FAN:
            rows = pa.concat_tables([read_parquet(log.store, one.key) for one in found])
            whole = Fragment(found[-1].last, found[0].first, level + 1, found[-1].mark, "")
            _write(log, rows, whole)
        level += 1
    live = log.fragments()
    for fragment in log.every():
        if fragment not in live:
            log.store.delete(fragment.key)


def _write(log: EventLog, rows: pa.Table, named: Fragment) -> None:
    rows = rows.sort_by([("product_id", "ascending"), ("at", "ascending")])
    name = f"{named.last:017d}-{named.first:017d}-{named.level:02d}-{named.mark}"
    log.store.put(f"{log.prefix}/{name}.parquet", parquet_bytes(rows))
