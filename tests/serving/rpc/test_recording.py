import logging

import pytest

from serving.errors import NotFound
from serving.rpc import recording
from tests.serving.sinks import Sink, attributes

PARENT = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


async def test_a_call_leaves_a_count_and_a_time_and_a_failed_one_a_line(
    opened, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened() as line:

        async def fail() -> None:
            raise NotFound("no such thing")

        with caplog.at_level(logging.INFO, "serving.rpc.recording"):
            await line.call()
            line.servicer.behave = fail
            with pytest.raises(NotFound):
                await line.call()
    # A caller may know of the end before the record of it is made; when the server has stopped it is.
    assert [record.getMessage() for record in caplog.records] == ["Embed NOT_FOUND"]
    fields = caplog.records[0].fields
    assert (fields["method"], fields["status"]) == ("Embed", "NOT_FOUND")
    assert fields["took_ms"] >= 0
    assert line.counted("imgsearch_rpc_calls_total", method="Embed", status="OK") == 1
    assert line.counted("imgsearch_rpc_calls_total", method="Embed", status="NOT_FOUND") == 1
    assert line.counted("imgsearch_rpc_seconds_count", method="Embed") == 2
    assert line.counted("imgsearch_rpc_in_work") == 0


async def test_a_slow_call_leaves_a_line(
    opened, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "SLOW_S", 0.0)
    async with opened() as line:
        with caplog.at_level(logging.INFO, "serving.rpc.recording"):
            await line.call()
    assert [record.getMessage() for record in caplog.records] == ["Embed OK"]


async def test_what_is_in_work_is_counted_meanwhile(opened) -> None:
    async with opened() as line:
        meanwhile = []

        async def look() -> None:
            meanwhile.append(line.counted("imgsearch_rpc_in_work"))

        line.servicer.behave = look
        await line.call()
        assert meanwhile == [1]
        assert line.counted("imgsearch_rpc_in_work") == 0


async def test_a_service_traces_the_calls_of_those_who_trace(opened, sink: Sink) -> None:
    async with opened(otlp_endpoint=sink.url, trace_share=1.0) as line:

        async def fail() -> None:
            raise KeyError("a person's words")

        for sent in (None, f"{PARENT[:-1]}0", "nonsense"):
            await line.call(metadata=() if sent is None else (("traceparent", sent),))
        await line.call(metadata=(("traceparent", PARENT), ("x-request-id", "one")))
        line.servicer.behave = fail
        with pytest.raises(Exception, match="internal error"):
            await line.call(metadata=(("traceparent", PARENT), ("x-request-id", "two")))
    found = {attributes(span)["imgsearch.request_id"]: span for _, span in sink.spans}
    assert set(found) == {"one", "two"}
    assert {span.trace_id.hex() for span in found.values()} == {PARENT[3:35]}
    assert attributes(found["two"]).items() >= {"rpc.grpc.status_code": 13, "error.type": "INTERNAL"}.items()
    assert "words" not in str(sink.posted)
