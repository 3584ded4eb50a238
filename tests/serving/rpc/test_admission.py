import asyncio
import time

import pytest

from serving.errors import DeadlinePassed, Overloaded


async def test_what_is_too_much_is_refused_at_once(opened) -> None:
    async with opened(max_concurrency=3) as line:
        go = asyncio.Event()

        async def wait() -> None:
            await go.wait()

        line.servicer.behave = wait
        accepted = [asyncio.create_task(line.call()) for _ in range(3)]
        await line.servicer.reached(3)
        started = time.monotonic()
        refused = await asyncio.gather(*(line.call() for _ in range(20)), return_exceptions=True)
        assert time.monotonic() - started < 2
        for error in refused:
            assert isinstance(error, Overloaded)
            assert str(error) == "3 calls are in work already; try again in a moment"
            assert error.retry_after_s == 1.0
        assert line.servicer.calls == 3, "nothing of the refused was begun"
        assert line.counted("imgsearch_rpc_refused_total") == 20
        go.set()
        assert await asyncio.gather(*accepted) == ["done"] * 3
        assert await line.call() == "done", "there is room again"


async def test_a_failed_call_leaves_its_place(opened) -> None:
    async with opened(max_concurrency=1) as line:

        async def fail() -> None:
            raise Overloaded("of my own")

        line.servicer.behave = fail
        for _ in range(3):
            with pytest.raises(Overloaded, match="of my own"):
                await line.call()


async def test_a_call_without_a_deadline_gets_the_servers(opened) -> None:
    async with opened(request_timeout_s=0.1) as line:

        async def never() -> None:
            await asyncio.Event().wait()

        line.servicer.behave = never
        with pytest.raises(DeadlinePassed) as caught:
            await line.call()
        assert str(caught.value) == "the call took more than 0.1 s"
        assert line.servicer.cancelled == 1


async def test_a_callers_own_deadline_ends_the_work(opened) -> None:
    async with opened(request_timeout_s=60) as line:
        ended = asyncio.Event()

        async def never() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        line.servicer.behave = never
        with pytest.raises(DeadlinePassed, match="the time for this request ran out"):
            await line.call(timeout=0.1)
        await asyncio.wait_for(ended.wait(), 5)


async def test_of_thousands_at_once_each_is_answered_or_told_to_come_again(opened) -> None:
    async with opened(max_concurrency=3) as line:
        found = await asyncio.gather(*(line.call(timeout=60) for _ in range(3_000)), return_exceptions=True)
        other = [one for one in found if one != "done" and not isinstance(one, Overloaded)]
        assert other == []
        assert await line.call() == "done"
