"""Pictures of several calls in one forward pass: in bounds, in time, of one model, each with its own end."""

import asyncio
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from serving.errors import DeadlinePassed, Overloaded
from serving.services.passes import Bounds, Passes
from serving.settings import Settings
from serving.telemetry import PassMetrics, RpcMetrics

LATER_S = 60.0


class Doubling:
    """A network that remembers its passes; each waits until ``go`` is set."""

    def __init__(self) -> None:
        self.passes: list[list[int]] = []
        self.go = threading.Event()
        self.go.set()

    def of_pixels(self, x: Tensor, /) -> Iterable[int]:
        numbers = [int(number) for number in x.flatten()]
        self.passes.append(numbers)
        assert self.go.wait(10)
        if -1 in numbers:
            raise RuntimeError("no picture")
        return [2 * number for number in numbers]

    async def begun(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.passes) < count:  # noqa: ASYNC110 they come from another thread
                await asyncio.sleep(0.002)


def pixels(*numbers: int) -> list[Tensor]:
    return [torch.tensor([number]) for number in numbers]


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as found:
        yield found


@pytest.fixture
def metrics() -> RpcMetrics:
    return RpcMetrics()


@pytest.fixture
def passes(executor: Executor, metrics: RpcMetrics) -> Any:
    """``passes(batch=4, wait_s=0.01)``."""

    def made(batch: int = 4, at_once: int = 1, queue: int = 100, wait_s: float = 0.0) -> Passes[int]:
        return Passes(Bounds(batch, at_once, queue, wait_s), executor, PassMetrics(metrics))

    return made


async def call(
    passes: Passes[int], network: Doubling, *numbers: int, ends_s: float | None = None
) -> list[int]:
    """As a service does, of a call with time."""
    ends_s = asyncio.get_running_loop().time() + LATER_S if ends_s is None else ends_s
    with passes.room(len(numbers), ends_s):
        return await passes.ask(network, pixels(*numbers), ends_s)


def counted(metrics: RpcMetrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(name)


def calls(passes: Passes[int], network: Doubling, numbers: Sequence[int]) -> list[asyncio.Task[list[int]]]:
    return [asyncio.create_task(call(passes, network, number)) for number in numbers]


async def test_what_comes_during_a_pass_makes_up_the_next(passes: Any, metrics: RpcMetrics) -> None:
    network, some = Doubling(), passes()
    network.go.clear()
    asked = calls(some, network, range(1))
    await network.begun(1)
    asked += calls(some, network, range(1, 7))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert counted(metrics, "imgsearch_pass_waiting") == 6
    network.go.set()
    assert await asyncio.gather(*asked) == [[2 * number] for number in range(7)]
    assert network.passes == [[0], [1, 2, 3, 4], [5, 6]]
    assert counted(metrics, "imgsearch_pass_pictures_sum") == 7
    assert counted(metrics, "imgsearch_pass_wait_seconds_count") == 7
    assert counted(metrics, "imgsearch_pass_waiting") == counted(metrics, "imgsearch_pass_placed") == 0


async def test_a_call_of_many_is_shared_by_the_passes_that_are_free(passes: Any) -> None:
    network = Doubling()
    assert await call(passes(at_once=2), network, *range(4)) == [0, 2, 4, 6]
    assert sorted(network.passes) == [[0, 1], [2, 3]]


async def test_who_asks_alone_does_not_wait(passes: Any) -> None:
    network = Doubling()
    assert await asyncio.wait_for(call(passes(wait_s=60), network, 1), 10) == [2]


async def test_while_others_are_in_work_a_pass_waits_for_them(passes: Any) -> None:
    network, some = Doubling(), passes(wait_s=60)
    later = asyncio.get_running_loop().time() + LATER_S
    with some.room(1, later):  # its picture is being opened
        first = asyncio.create_task(call(some, network, 1))
        await asyncio.sleep(0.02)
        assert network.passes == []
        assert await asyncio.wait_for(some.ask(network, pixels(2), later), 10) == [4]
    assert await first == [2]
    assert network.passes == [[1, 2]]


async def test_no_pass_waits_for_others_for_ever(passes: Any) -> None:
    some = passes(wait_s=0.01)
    with some.room(1, asyncio.get_running_loop().time() + LATER_S):
        assert await asyncio.wait_for(call(some, Doubling(), 3), 10) == [6]


async def test_a_pass_is_of_one_model(passes: Any) -> None:
    one, other, some = Doubling(), Doubling(), passes()
    one.go.clear()
    asked = calls(some, one, [0])
    await one.begun(1)
    for network, number in ((one, 1), (other, 2), (other, 3), (one, 4)):
        asked += calls(some, network, [number])
    await asyncio.sleep(0)
    one.go.set()
    assert await asyncio.gather(*asked) == [[0], [2], [4], [6], [8]]
    assert (one.passes, other.passes) == ([[0], [1], [4]], [[2, 3]])


async def test_what_fails_is_of_its_own_call_alone(passes: Any) -> None:
    network, some = Doubling(), passes()
    network.go.clear()
    asked = calls(some, network, [0])
    await network.begun(1)
    asked += calls(some, network, [1, -1, 2])
    await asyncio.sleep(0)
    network.go.set()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [str(one) for one in found] == ["[0]", "[2]", "no picture", "[4]"]
    assert network.passes == [[0], [1, -1, 2], [1], [-1], [2]]
    assert await call(some, network, 5) == [10], "it goes on"


async def test_where_all_fail_each_is_told(passes: Any) -> None:
    network = Doubling()
    found = await asyncio.gather(*calls(passes(), network, [-1, -1]), return_exceptions=True)
    assert [str(one) for one in found] == ["no picture"] * 2


async def test_nothing_is_done_for_who_gave_up(passes: Any, metrics: RpcMetrics) -> None:
    network, some = Doubling(), passes()
    network.go.clear()
    asked = calls(some, network, [0])
    await network.begun(1)
    asked += calls(some, network, [1, 2, 3])
    await asyncio.sleep(0)
    asked[1].cancel()
    asked[3].cancel()
    network.go.set()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [found[0], found[2]] == [[0], [4]]
    assert network.passes == [[0], [2]]
    assert counted(metrics, "imgsearch_pass_placed") == 0


async def test_nothing_is_done_for_whose_time_ran_out(passes: Any) -> None:
    network, some = Doubling(), passes()
    loop = asyncio.get_running_loop()
    with pytest.raises(DeadlinePassed) as caught:
        await call(some, network, 1, ends_s=loop.time())
    assert str(caught.value) == "the time of the call had run out before it was begun"
    network.go.clear()
    first = calls(some, network, [0])
    await network.begun(1)
    late = asyncio.create_task(call(some, network, 1, ends_s=loop.time() + 1))
    await asyncio.sleep(1.1)
    network.go.set()
    with pytest.raises(DeadlinePassed) as caught:
        await late
    assert str(caught.value) == "the time of the call ran out before its turn"
    await asyncio.gather(*first)
    assert network.passes == [[0]]


async def test_too_many_are_refused_at_once(passes: Any, metrics: RpcMetrics) -> None:
    network, some = Doubling(), passes(queue=3)
    network.go.clear()
    first = asyncio.create_task(call(some, network, *range(8)))
    await network.begun(1)
    with pytest.raises(Overloaded) as caught:
        await call(some, network, 9)
    assert str(caught.value) == "8 pictures are in work already, at most 3 at once; try again in a moment"
    assert caught.value.retry_after_s == 1.0
    assert counted(metrics, "imgsearch_rpc_refused_total") == 1
    network.go.set()
    assert await first == [2 * number for number in range(8)], "who comes first is let in, with how many ever"
    assert await call(some, network, 9) == [18]


async def test_what_cannot_be_done_in_time_is_refused_before_any_work(
    passes: Any, metrics: RpcMetrics
) -> None:
    network, some = Doubling(), passes(batch=1)
    loop = asyncio.get_running_loop()
    network.go.clear()
    began_s = loop.time()
    slow = calls(some, network, [0])
    await network.begun(1)
    await asyncio.sleep(0.3)
    network.go.set()
    await asyncio.gather(*slow)
    picture_s = loop.time() - began_s  # what one is now taken to need
    with some.room(1, loop.time() + LATER_S):
        with pytest.raises(Overloaded) as busy:
            await call(some, network, 1, ends_s=loop.time() + 1.5 * picture_s)
        assert re.fullmatch(
            r"1 pictures are in work already, too many to be done in the [\d.]+ s of the call; "
            "try again in a moment",
            str(busy.value),
        )
        with pytest.raises(DeadlinePassed) as never:
            await call(some, network, 1, 2, 3, ends_s=loop.time() + 1.5 * picture_s)
        assert re.fullmatch(r"3 pictures cannot be done in the [\d.]+ s of the call", str(never.value))
        assert counted(metrics, "imgsearch_rpc_refused_total") == 1
    assert network.passes == [[0]]
    assert await call(some, network, 1, ends_s=loop.time() + 0.9 * picture_s) == [2], "alone it is tried"


def test_bounds_are_those_of_the_settings_and_else_of_the_device() -> None:
    asked = Bounds.of(Settings(model_batch=7, model_queue=9, model_wait_ms=5))
    assert (asked.batch, asked.queue, asked.wait_s) == (7, 9, 0.005)
    assert Bounds.of(Settings()).batch >= 1
    assert Bounds.of(Settings()).at_once >= 1
