from pathlib import Path

import psutil

from serving.index import memory


def test_without_a_container_the_machine_is_the_limit(tmp_path: Path) -> None:
    assert 0 < memory.available_bytes(tmp_path) <= psutil.virtual_memory().total


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("3000\n")
    assert memory.available_bytes(tmp_path) == 2_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_bytes(tmp_path) > 5_000


def test_memory_comes_back() -> None:
    memory.give_back()
    process = psutil.Process()
    before = process.memory_info().rss
    blocks = [bytes(1_000) for _ in range(50_000)]
    grown = process.memory_info().rss
    del blocks
    memory.give_back()
    assert process.memory_info().rss - before < (grown - before) / 2
