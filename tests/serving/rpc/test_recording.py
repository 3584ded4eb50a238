import logging

import pytest

from serving.errors import NotFound
from serving.rpc import recording


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
