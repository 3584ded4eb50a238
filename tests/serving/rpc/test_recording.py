import logging

import pytest

from serving.errors import NotFound


async def test_a_call_leaves_a_line_a_count_and_a_time(opened, caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as line:

        async def fail() -> None:
            raise NotFound("no such thing")

        with caplog.at_level(logging.INFO, "serving.rpc.recording"):
            await line.call()
            line.servicer.behave = fail
            with pytest.raises(NotFound):
                await line.call()
        assert [record.getMessage() for record in caplog.records] == ["Embed OK", "Embed NOT_FOUND"]
        fields = caplog.records[1].fields
        assert (fields["method"], fields["status"]) == ("Embed", "NOT_FOUND")
        assert fields["took_ms"] >= 0
        assert line.counted("imgsearch_rpc_calls_total", method="Embed", status="OK") == 1
        assert line.counted("imgsearch_rpc_calls_total", method="Embed", status="NOT_FOUND") == 1
        assert line.counted("imgsearch_rpc_seconds_count", method="Embed") == 2
        assert line.counted("imgsearch_rpc_in_work") == 0
