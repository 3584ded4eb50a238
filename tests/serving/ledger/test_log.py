from pathlib import Path

import pyarrow as pa
import pytest

from imgsearch_assets.ledger.log import FAN, append, compact
from imgsearch_assets.tables import parquet_bytes
from serving.ledger.log import EventLog, Fragment
from serving.ledger.rows import AT, rows_where
from serving.object_store import LocalObjectStore

SCHEMA = pa.schema([pa.field("product_id", pa.string()), pa.field("at", AT), pa.field("n", pa.int64())])


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return EventLog(LocalObjectStore(tmp_path), "events", SCHEMA)


def rows(*ids: str, at: int) -> pa.Table:
    return pa.table({"product_id": ids, "at": [at] * len(ids), "n": [at] * len(ids)}, SCHEMA)


def test_nothing_yet(log: EventLog) -> None:
    assert log.last() is None
    assert log.about(["a"]).schema == SCHEMA


def test_the_events_of_one_product_and_how_far_the_log_came(log: EventLog) -> None:
    append(log, rows("b", "a", at=10), 10, "s1")
    append(log, rows("a", at=20), 20, "s2")
    append(log, rows(at=30), 30, "s3")
    assert log.about(["a"], ["n"]).to_pylist() == [{"n": 10}, {"n": 20}]
    last = log.last()
    assert last is not None
    assert (last.mark, last.last) == ("s3", 30)


def test_a_clock_that_went_back_hides_nothing(log: EventLog) -> None:
    append(log, rows("a", at=50), 50, "s1")
    append(log, rows("a", at=20), 20, "s2")
    last = log.last()
    assert last is not None
    assert (last.mark, last.last) == ("s2", 51)


def test_many_fragments_become_few_and_say_the_same(log: EventLog) -> None:
    for number in range(FAN * FAN + 3):
        append(log, rows("a", f"p{number}", at=number), number, f"s{number}")
        compact(log)
    assert [one.level for one in log.every()] == [2, 0, 0, 0]
    assert log.about(["a"])["n"].to_pylist() == list(range(FAN * FAN + 3))
    assert log.about(["p7"])["n"].to_pylist() == [7]
    last = log.last()
    assert last is not None
    assert last.mark == f"s{FAN * FAN + 2}"


def test_killed_between_writing_back_and_removing(log: EventLog) -> None:
    for number in range(FAN):
        append(log, rows("a", at=number), number, f"s{number}")
    before = {one.key: log.store.get(one.key) for one in log.every()}
    compact(log)
    for key, data in before.items():
        log.store.put(key, data)
    assert log.about(["a"])["n"].to_pylist() == list(range(FAN)), "once each"
    compact(log)
    assert [one.level for one in log.every()] == [1]


def test_names_sort_by_time() -> None:
    early = Fragment.of("ledger/events/00000000000000009-00000000000000001-01-s1.parquet")
    late = Fragment.of("ledger/events/00000000000000010-00000000000000010-00-s2.parquet")
    assert early < late
    assert early.covers(Fragment(5, 5, 0, "s0", ""))
    assert not early.covers(late)


def test_a_row_of_a_large_table_without_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalObjectStore(tmp_path)
    ids = [f"p{number:06d}" for number in range(100_000)]
    table = pa.table({"product_id": ids, "n": range(100_000)})
    store.put("t.parquet", parquet_bytes(table))
    read: list[int] = []
    plain = pa.parquet.ParquetFile.read_row_group

    def counted(self: pa.parquet.ParquetFile, group: int, *names: list[str]) -> pa.Table:
        read.append(group)
        return plain(self, group, *names)

    monkeypatch.setattr(pa.parquet.ParquetFile, "read_row_group", counted)
    assert rows_where(store, "t.parquet", "product_id", ["p040000"], ["n"]).to_pylist() == [{"n": 40_000}]
    assert set(read) == {1}
    assert rows_where(store, "t.parquet", "product_id", ["q"]).num_rows == 0
    assert rows_where(store, "t.parquet", "product_id", []).schema == table.schema
