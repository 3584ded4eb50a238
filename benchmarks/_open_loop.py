"""Calls at a fixed rate, whatever the answers take: a service that stalls is asked on, as by shoppers."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
import numpy as np

# A call for one of so many requests, numbered from 0; its answer.
Ask = Callable[[int], Awaitable[bytes]]
CALL_LIMIT_S = 5.0


@dataclass(frozen=True)
class Answer:
    """``took_s`` counts from when the call was due, so that one that had to wait its turn shows it."""

    request: int
    took_s: float
    reply: bytes  # empty where there was none
    error: str = ""


async def closed_loop(ask: Ask, requests: int, callers: int, seconds: float) -> float:
    """Answers a second to ``callers`` who each ask again as soon as they are answered."""
    until, answered = time.perf_counter() + seconds, 0

    async def caller(number: int) -> None:
        nonlocal answered
        while time.perf_counter() < until:
            await ask(number % requests)
            number += callers
            answered += 1

    began = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(callers)))
    return answered / (time.perf_counter() - began)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Going through all answers so far takes tens of milliseconds, which would count as the service's."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def open_loop(ask: Ask, requests: int, rate: float, seconds: float) -> list[Answer]:
    """``rate`` calls a second for ``seconds``; what became of each."""
    calls: list[asyncio.Task[Answer]] = []

    async def call(number: int) -> Answer:
        due, request = began + number / rate, number % requests
        try:
            reply, error = await ask(request), ""
        except grpc.aio.AioRpcError as failure:
            reply, error = b"", failure.code().name
        return Answer(request, time.perf_counter() - due, reply, error)

    with _without_collector():
        began = time.perf_counter()
        for number in range(round(rate * seconds)):
            early = began + number / rate - time.perf_counter()
            if early > 0:
                await asyncio.sleep(early)
            calls.append(asyncio.create_task(call(number)))
        return await asyncio.gather(*calls)


def percentile_ms(answers: list[Answer], percent: float) -> float:
    return float(np.percentile([answer.took_s for answer in answers], percent)) * 1e3
