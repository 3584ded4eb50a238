import asyncio
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from imgsearch_assets.local.processes import answers, free_port
from imgsearch_assets.local.redis_server import redis_command
from serving.errors import RateLimited
from serving.identity.keys import Key, made
from serving.identity.rates import Rates
from serving.settings import Settings


@contextmanager
def redis_server(port: int) -> Iterator[subprocess.Popen[bytes]]:
    server = subprocess.Popen(redis_command(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not answers(port)():
        assert server.poll() is None
        time.sleep(0.01)
    try:
        yield server
    finally:
        server.kill()
        server.wait()


def key(rate: str | None = None) -> Key:
    return made("a", ["search"], 0.0, rate)[0]


async def let_through(rates: Rates, asked: Key, tries: int) -> int:
    passed = 0
    for _ in range(tries):
        try:
            await rates.count(asked)
            passed += 1
        except RateLimited:
            continue
    return passed


async def test_one_rate_for_all_processes(redis_url: str) -> None:
    settings = Settings(redis_url=redis_url, redis_timeout_s=2.0, rate="7/minute")
    first, second = Rates(settings), Rates(settings)
    asked = key()
    assert await let_through(first, asked, 4) == 4
    assert await let_through(second, asked, 10) == 3
    with pytest.raises(RateLimited) as error:
        await first.count(asked)
    assert error.value.message == f"API key {asked.id} may ask 7 times a minute"
    assert 0 < error.value.retry_after_s <= 60
    assert await let_through(first, key(), 10) == 7, "each key has its own"
    await first.aclose()
    await second.aclose()


async def test_a_burst_is_counted_as_one_after_the_other(redis_url: str) -> None:
    rates, asked = Rates(Settings(redis_url=redis_url, redis_timeout_s=2.0)), key("10/minute")
    passed = await asyncio.gather(*(let_through(rates, asked, 1) for _ in range(80)))
    assert sum(passed) == 10
    await rates.aclose()


async def test_the_rate_of_a_key_wins(redis_url: str) -> None:
    rates = Rates(Settings(redis_url=redis_url, redis_timeout_s=2.0, rate="2/minute"))
    assert await let_through(rates, key("5/minute"), 10) == 5
    assert await let_through(rates, key("0"), 10) == 10
    assert await let_through(rates, key(), 10) == 2
    await rates.aclose()


async def test_after_the_time_that_is_told_there_is_room_again(redis_url: str) -> None:
    for where in ({"redis_url": redis_url, "redis_timeout_s": 2.0}, {}):
        rates = Rates(Settings(**where))
        asked = key("3/second")
        assert await let_through(rates, asked, 3) == 3
        with pytest.raises(RateLimited) as error:
            await rates.count(asked)
        assert error.value.retry_after_s <= 1
        await asyncio.sleep(2.1)  # the window, and the one after it in which it still counts
        assert await let_through(rates, asked, 3) == 3
        await rates.aclose()


async def test_without_a_rate_nothing_is_counted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        rates = Rates(Settings(redis_url=f"redis://127.0.0.1:{hanging.getsockname()[1]}/0"))
        assert await let_through(rates, key(), 1000) == 1000
        hanging.setblocking(False)
        with pytest.raises(BlockingIOError):
            hanging.accept()
        await rates.aclose()


async def test_a_redis_that_is_killed_leaves_each_process_to_itself(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    rates = Rates(Settings(redis_url=f"redis://127.0.0.1:{port}/0", redis_timeout_s=1.0, rate="5/minute"))
    with redis_server(port) as server:
        asked = key()
        assert await let_through(rates, asked, 10) == 5
        server.kill()
        server.wait()
        assert await let_through(rates, asked, 10) == 5, "counted anew, but counted"
    assert caplog.messages == [
        "Redis does not answer (ConnectionError); each process counts the requests of a key by itself"
    ]
    with redis_server(port):
        rates._away._until_s = 0.0  # rather than wait for it
        assert await let_through(rates, asked, 10) == 5, "it is asked again"
    await rates.aclose()


async def test_a_redis_that_hangs_costs_its_time_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        port = hanging.getsockname()[1]
        settings = Settings(redis_url=f"redis://127.0.0.1:{port}/0", redis_timeout_s=0.05, rate="10/minute")
        rates = Rates(settings)
        started = time.monotonic()
        assert await let_through(rates, key(), 100) == 10
        assert time.monotonic() - started < 2, "a hundred time-outs would take five seconds"
        await rates.aclose()
