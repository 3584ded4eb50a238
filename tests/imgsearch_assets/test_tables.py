from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsearch_assets import tables
from imgsearch_assets.tables import GrowingTable
from serving.object_store import LocalObjectStore

SCHEMA = pa.schema([("a", pa.string()), ("b", pa.int64())])


@pytest.fixture
def table(tmp_path: Path) -> GrowingTable:
    return GrowingTable(LocalObjectStore(tmp_path), "letters", SCHEMA, ("a",))


def rows(**values: int) -> pa.Table:
    return pa.table({"a": list(values), "b": list(values.values())}, SCHEMA)


def test_nothing_yet(table: GrowingTable) -> None:
    assert table.read().schema == SCHEMA
    assert table.read(["b"]).column_names == ["b"]
    table.append(rows())
    assert list(table.store.list("tables")) == []


@given(st.lists(st.dictionaries(st.sampled_from("xyz"), st.integers(0, 9)), max_size=6))
def test_the_latest_row_of_a_key_wins(
    tmp_path_factory: pytest.TempPathFactory, writes: list[dict[str, int]]
) -> None:
    table = GrowingTable(LocalObjectStore(tmp_path_factory.mktemp("t")), "letters", SCHEMA, ("a",))
    expected: dict[str, int] = {}
    for write in writes:
        table.append(rows(**write))
        expected |= write
    assert {row["a"]: row["b"] for row in table.read().to_pylist()} == expected
    assert sorted(table.read(["b"])["b"].to_pylist()) == sorted(expected.values())


def test_lacking_gives_each_missing_key_once_in_order(table: GrowingTable) -> None:
    table.append(rows(x=1, y=2))
    wanted = pa.table({"a": ["q", "x", "q", "p"]})
    assert table.lacking(wanted)["a"].to_pylist() == ["q", "p"]


def test_compaction_keeps_the_rows(table: GrowingTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "COMPACT_ABOVE", 3)
    for i in range(5):
        table.append(rows(x=i, **{f"y{i}": i}))
    before = table.read().sort_by("a")
    table.compact()
    assert len(list(table.store.list("tables/letters"))) == 1
    assert table.read().sort_by("a") == before
    table.append(rows(x=100))
    assert {"a": "x", "b": 100} in table.read().to_pylist()


def test_many_read_append_and_write_back_at_once(
    table: GrowingTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "COMPACT_ABOVE", 8)

    def work(worker: int) -> None:
        for i in range(6):
            table.append(rows(**{f"{worker}-{i}": i}))
            table.compact()
            kept = table.read(["a"])["a"].to_pylist()
            assert {f"{worker}-{j}" for j in range(i + 1)} <= set(kept)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert {(row["a"], row["b"]) for row in table.read().to_pylist()} == {
        (f"{worker}-{i}", i) for worker in range(4) for i in range(6)
    }


def test_equal_tables_give_equal_bytes() -> None:
    assert tables.parquet_bytes(rows(x=1)) == tables.parquet_bytes(rows(x=1))
