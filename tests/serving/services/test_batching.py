"""Answered together: everybody gets an own answer, or an own error, whoever else waits."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from serving.services.batching import Batcher


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(2, "elsewhere") as found:
        yield found


class Doubling:
    """Remembers what it was asked at a time."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, numbers: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(list(numbers))
        return [2 * number for number in numbers]


async def test_what_waits_is_answered_together_and_in_bounds(executor: Executor) -> None:
    doubling = Doubling()
    batcher: Batcher[int, int] = Batcher(doubling, 4, executor)
    asked = [batcher.ask(number) for number in range(10)]
    assert await asyncio.gather(*asked) == [2 * number for number in range(10)]
    assert doubling.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def test_what_comes_a_few_turns_later_is_waited_for(executor: Executor) -> None:
    doubling = Doubling()
    batcher: Batcher[int, int] = Batcher(doubling, 64, executor)
    asked = []
    for number in range(5):
        asked.append(batcher.ask(number))
        for _ in range(10):
            await asyncio.sleep(0)
    assert await asyncio.gather(*asked) == [0, 2, 4, 6, 8]
    assert doubling.batches == [[0, 1, 2, 3, 4]]


async def test_who_asks_alone_does_not_wait_for_company(executor: Executor) -> None:
    doubling = Doubling()
    batcher: Batcher[int, int] = Batcher(doubling, 64, executor)
    for number in range(3):
        assert await batcher.ask(number) == 2 * number
    assert doubling.batches == [[0], [1], [2]]


async def test_what_is_asked_by_who_was_answered_is_answered(executor: Executor) -> None:
    batcher: Batcher[int, int] = Batcher(Doubling(), 2, executor)

    async def thrice(number: int) -> int:
        for _ in range(3):
            number = await batcher.ask(number)
        return number

    found = await asyncio.wait_for(asyncio.gather(*map(thrice, range(20))), 10)
    assert found == [8 * number for number in range(20)]


async def test_an_error_that_is_told_is_of_one(executor: Executor) -> None:
    batcher: Batcher[int, int] = Batcher(
        lambda numbers: [ValueError(f"not {number}") if number % 2 else number for number in numbers],
        4,
        executor,
    )
    found = await asyncio.gather(*(batcher.ask(number) for number in range(4)), return_exceptions=True)
    assert [str(one) for one in found] == ["0", "not 1", "2", "not 3"]


async def test_what_is_raised_is_of_those_that_raise_it(executor: Executor) -> None:
    doubling = Doubling()

    def answer(numbers: Sequence[int]) -> Sequence[int | Exception]:
        if 2 in numbers:
            raise RuntimeError("two")
        return doubling(numbers)

    batcher: Batcher[int, int] = Batcher(answer, 4, executor)
    found = await asyncio.gather(*(batcher.ask(number) for number in (1, 2, 3)), return_exceptions=True)
    assert [str(one) for one in found] == ["2", "two", "6"]
    assert await batcher.ask(5) == 10, "it goes on"


async def test_too_few_answers_are_an_error_of_each(executor: Executor) -> None:
    batcher: Batcher[int, int] = Batcher(lambda _: [], 4, executor)
    with pytest.raises(ValueError, match="0 answers to 1"):
        await batcher.ask(1)


async def test_who_gave_up_is_not_answered(executor: Executor) -> None:
    doubling = Doubling()
    batcher: Batcher[int, int] = Batcher(doubling, 4, executor)
    gone, stays = batcher.ask(1), batcher.ask(2)
    gone.cancel()
    assert await stays == 4
    assert doubling.batches == [[2]]
    gone = batcher.ask(1)
    gone.cancel()
    await asyncio.sleep(0.01)
    assert doubling.batches == [[2]]


class Held:
    """What can be asked and looked after."""


async def test_nothing_is_held_of_what_was_asked(executor: Executor) -> None:
    batcher: Batcher[Held, int] = Batcher(lambda held: [1] * len(held), 4, executor)
    asked = Held()
    alive = weakref.ref(asked)
    assert await batcher.ask(asked) == 1
    del asked
    gc.disable()
    try:
        assert alive() is None
    finally:
        gc.enable()


async def test_many_go_elsewhere_and_the_loop_goes_on(executor: Executor) -> None:
    opened, threads = threading.Event(), []

    def answer(numbers: Sequence[int]) -> Sequence[int | Exception]:
        threads.append((len(numbers), threading.current_thread().name.split("_")[0]))
        if len(numbers) == 4:
            assert opened.wait(10)
        return numbers

    batcher: Batcher[int, int] = Batcher(answer, 4, executor)
    asked = [batcher.ask(number) for number in range(4)]
    while not threads:  # noqa: ASYNC110 it comes from another thread
        await asyncio.sleep(0.005)
    asked += [batcher.ask(number) for number in range(4, 11)]
    await asyncio.sleep(0.02)
    assert threads == [(4, "elsewhere")], "one batch at a time"
    asked[1].cancel()
    opened.set()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [one for one in found if isinstance(one, int)] == [0, *range(2, 11)]
    assert threads == [(4, "elsewhere"), (4, "elsewhere"), (3, "MainThread")]
