"""Answered together: everybody gets an own answer, or an own error, whoever else waits."""

import asyncio
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from serving.services.batching import Batcher

Answered = Sequence[int | Exception]


@contextmanager
def running(answer: Callable[[Sequence[int]], Answered], most: int = 4) -> Iterator[Batcher[int, int]]:
    batcher = Batcher(answer, most, "test")
    batcher.start()
    try:
        yield batcher
    finally:
        batcher.stop()


class Gate:
    """Doubles numbers once it is opened, and remembers what it was asked at a time."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, numbers: Sequence[int]) -> Answered:
        self.batches.append(list(numbers))
        assert self.opened.wait(10)
        return [2 * number for number in numbers]

    async def reached(self, batches: int) -> None:
        async with asyncio.timeout(10):
            while len(self.batches) < batches:  # noqa: ASYNC110 they come in another thread
                await asyncio.sleep(0.005)


async def test_what_waits_is_answered_together_and_in_bounds() -> None:
    gate = Gate()
    with running(gate) as batcher:
        first = batcher.ask(0)
        await gate.reached(1)
        later = [batcher.ask(number) for number in range(1, 10)]
        gate.opened.set()
        assert await first == 0
        assert await asyncio.gather(*later) == [2 * number for number in range(1, 10)]
    assert gate.batches == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9]]


async def test_an_error_that_is_told_is_of_one() -> None:
    def answer(numbers: Sequence[int]) -> Answered:
        return [ValueError(f"not {number}") if number % 2 else number for number in numbers]

    with running(answer) as batcher:
        found = await asyncio.gather(*(batcher.ask(number) for number in range(4)), return_exceptions=True)
    assert [str(one) for one in found] == ["0", "not 1", "2", "not 3"]


async def test_what_is_raised_is_of_those_that_raise_it() -> None:
    gate = Gate()

    def answer(numbers: Sequence[int]) -> Answered:
        if 2 in numbers:
            raise RuntimeError("two")
        return gate(numbers)

    with running(answer) as batcher:
        first = batcher.ask(0)
        await gate.reached(1)
        later = [batcher.ask(number) for number in (1, 2, 3)]
        gate.opened.set()
        assert await first == 0
        found = await asyncio.gather(*later, return_exceptions=True)
        assert [str(one) for one in found] == ["2", "two", "6"]
        assert await batcher.ask(5) == 10, "the thread goes on"


async def test_a_thread_that_cannot_begin_is_told_of_at_the_start() -> None:
    def begin() -> None:
        raise OSError("no cores")

    batcher: Batcher[int, int] = Batcher(list, 4, "test", begin)
    with pytest.raises(OSError, match="no cores"):
        batcher.start()


async def test_nobody_waits_where_nobody_answers() -> None:
    batcher: Batcher[int, int] = Batcher(list, 4, "lonely")
    with pytest.raises(RuntimeError, match="lonely is not running"):
        batcher.ask(1)
    batcher.start()
    assert await batcher.ask(1) == 1
    batcher.stop()
    with pytest.raises(RuntimeError, match="lonely is not running"):
        batcher.ask(1)


async def test_who_gave_up_is_not_answered() -> None:
    gate = Gate()
    with running(gate) as batcher:
        first = batcher.ask(0)
        await gate.reached(1)
        gone, stays = batcher.ask(1), batcher.ask(2)
        gone.cancel()
        gate.opened.set()
        assert await first == 0
        assert await stays == 4
    assert gate.batches == [[0], [2]]


async def test_a_hundred_at_once_are_all_answered() -> None:
    with running(lambda numbers: [number + 1 for number in numbers], most=64) as batcher:
        for _ in range(5):
            found = await asyncio.gather(*(batcher.ask(number) for number in range(100)))
            assert found == list(range(1, 101))


async def test_what_was_asked_before_the_end_is_answered() -> None:
    gate = Gate()
    with running(gate) as batcher:
        asked = [batcher.ask(number) for number in range(6)]
        gate.opened.set()
    assert await asyncio.gather(*asked) == [0, 2, 4, 6, 8, 10]


class Held:
    """What can be asked and looked after."""


async def test_nothing_is_held_of_what_was_asked() -> None:
    batcher: Batcher[Held, int] = Batcher(lambda held: [1] * len(held), 4, "test")
    batcher.start()
    asked = Held()
    gone = asyncio.Event()
    weakref.finalize(asked, asyncio.get_running_loop().call_soon_threadsafe, gone.set)
    assert await batcher.ask(asked) == 1
    del asked
    await asyncio.wait_for(gone.wait(), 5)
    batcher.stop()


async def test_the_thread_begins_with_what_it_is_told() -> None:
    begun: list[str] = []
    batcher = Batcher(
        lambda numbers: numbers, 4, "mine", lambda: begun.append(threading.current_thread().name)
    )
    batcher.start()
    assert await batcher.ask(1) == 1
    batcher.stop()
    assert begun == ["mine"]
    with pytest.raises(RuntimeError):
        batcher.start()  # a thread runs once


async def test_too_few_answers_are_an_error_of_each() -> None:
    with running(lambda _: []) as batcher:
        with pytest.raises(ValueError, match="0 answers to 1"):
            await batcher.ask(1)
