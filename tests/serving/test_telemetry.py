import io
import json
import logging
import shutil
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from serving.telemetry import (
    CallFigures,
    FolderMetrics,
    JsonLines,
    LinesHandler,
    RecordFigures,
    accepted_id,
    caller,
    log_json,
    process_registry,
    request_id,
)


def line(**fields: object) -> dict:
    record = logging.LogRecord("a.b", logging.INFO, "f.py", 1, "seen %s", ("Ω",), None)
    for name, value in fields.items():
        setattr(record, name, value)
    return json.loads(JsonLines().format(record))


def test_a_record_is_one_object() -> None:
    found = line(fields={"method": "Search", "took_ms": 1.5})
    assert found.pop("at") > 1e9
    assert found == {
        "level": "info",
        "logger": "a.b",
        "message": "seen Ω",
        "method": "Search",
        "took_ms": 1.5,
    }


def test_a_record_in_a_request_has_its_id() -> None:
    token = request_id.set("abc")
    try:
        assert line()["request_id"] == "abc"
    finally:
        request_id.reset(token)


def test_a_record_of_a_known_caller_has_the_id_of_its_key() -> None:
    assert "key" not in line()
    token = caller.set("0123456789ab")
    try:
        assert line()["key"] == "0123456789ab"
    finally:
        caller.reset(token)


def test_an_exception_stays_on_its_line() -> None:
    try:
        raise ValueError("no\nway")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, "f.py", 1, "failed", (), sys.exc_info())
    text = JsonLines().format(record)
    assert "\n" not in text
    assert "ValueError: no\nway" in json.loads(text)["exception"]


@given(st.text())
def test_an_id_from_outside_is_a_plain_word_or_ours(outside: str) -> None:
    found = accepted_id(outside)
    assert found.isascii()
    assert 1 <= len(found) <= 64
    assert not set(found) & set(" \n\"'{}\\/")


def test_ids() -> None:
    assert accepted_id("abc-1.2_X") == "abc-1.2_X"
    assert accepted_id(None) != accepted_id(None)


@pytest.fixture
def untouched_logging():
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


@pytest.mark.usefixtures("untouched_logging")
def test_every_logger_writes_lines() -> None:
    stream = io.StringIO()
    log_json(stream)
    logging.getLogger("one").info("first")
    logging.getLogger("two").debug("not this")
    logging.getLogger().handlers[0].flush()
    assert [json.loads(text)["message"] for text in stream.getvalue().splitlines()] == ["first"]


def test_a_warning_is_written_at_once_with_what_came_before_it() -> None:
    stream = io.StringIO()
    handler = LinesHandler(stream)
    handler.emit(logging.LogRecord("a", logging.INFO, "f.py", 1, "first", (), None))
    handler.emit(logging.LogRecord("a", logging.WARNING, "f.py", 1, "second", (), None))
    assert stream.getvalue() == "first\nsecond\n"


def test_warnings_are_counted_and_what_is_worse() -> None:
    registry, handler = process_registry(), LinesHandler(io.StringIO())

    def counted() -> dict[str, float]:
        (family,) = RecordFigures().collect()
        return {sample.labels["level"]: sample.value for sample in family.samples}

    before = counted()
    assert list(before) == ["warning", "error", "critical"]
    for level in (logging.INFO, logging.WARNING, logging.ERROR, logging.WARNING):
        handler.emit(logging.LogRecord("a", level, "f.py", 1, "seen", (), None))
    assert {level: count - before[level] for level, count in counted().items()} == {
        "warning": 2,
        "error": 1,
        "critical": 0,
    }
    assert registry.get_sample_value("imgsearch_log_records_total", {"level": "error"}) == counted()["error"]


def test_the_disk_of_a_folder_is_told_before_there_is_one(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    FolderMetrics(registry, tmp_path / "not" / "there")
    size = registry.get_sample_value("imgsearch_home_size_bytes")
    free = registry.get_sample_value("imgsearch_home_free_bytes")
    assert size == shutil.disk_usage(tmp_path).total
    assert free is not None
    assert 0 < free <= size


def test_other_lines_are_written_by_and_by() -> None:
    stream = io.StringIO()
    handler = LinesHandler(stream)
    for times in (1, 2):
        handler.emit(logging.LogRecord("a", logging.INFO, "f.py", 1, "seen", (), None))
        deadline = time.monotonic() + 10
        while stream.getvalue() != times * "seen\n":
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_calls_are_counted_into_the_buckets_they_belong_to() -> None:
    registry = CollectorRegistry()
    calls = CallFigures()
    registry.register(calls)
    for took_s in (0.0005, 0.001, 0.02, 60.0):
        calls.count("Search", "OK", took_s)
    calls.count("Embed", "NOT_FOUND", 0.2)
    value = registry.get_sample_value
    assert value("imgsearch_rpc_calls_total", {"method": "Search", "status": "OK"}) == 4
    assert value("imgsearch_rpc_calls_total", {"method": "Embed", "status": "NOT_FOUND"}) == 1
    counted = {
        bound: value("imgsearch_rpc_seconds_bucket", {"method": "Search", "le": bound})
        for bound in ("0.001", "0.01", "0.025", "10.0", "+Inf")
    }
    assert counted == {"0.001": 2, "0.01": 2, "0.025": 3, "10.0": 3, "+Inf": 4}
    assert value("imgsearch_rpc_seconds_count", {"method": "Search"}) == 4
    assert value("imgsearch_rpc_seconds_sum", {"method": "Search"}) == pytest.approx(60.0215)
