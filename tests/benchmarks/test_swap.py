"""The benchmark itself runs, on next to nothing: its figures here mean nothing."""

import asyncio

import pytest

from benchmarks._open_loop import closed_loop, open_loop, percentile_ms


@pytest.mark.slow
def test_swaps_under_load(benchmark) -> None:
    options = ("--n", "3000", "--dim", "16", "--seconds", "3", "--steady-seconds", "0.5")
    said = benchmark("swap", *options).figures
    assert (said["failed"], said["mixed_generations"]) == (0, 0)
    assert said["swaps"] >= 2
    assert said["p99_ms_steady"] > 0
    assert 0.5 < said["memory_ratio"] < 2


async def test_calls_come_on_time_whatever_the_answers_take() -> None:
    came = []

    async def ask(number: int) -> bytes:
        came.append(number)
        await asyncio.sleep(0.2)
        return b"answer"

    answers = await open_loop(ask, requests=3, rate=100, seconds=0.2)
    assert came == [number % 3 for number in range(20)]
    assert [answer.reply for answer in answers] == [b"answer"] * 20
    assert percentile_ms(answers, 0) >= 200


async def test_as_many_callers_as_were_wanted() -> None:
    at_once = most = 0

    async def ask(number: int) -> bytes:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        at_once -= 1
        return b""

    rate = await closed_loop(ask, requests=5, callers=4, seconds=0.2)
    assert most == 4
    assert 0 < rate <= 400
