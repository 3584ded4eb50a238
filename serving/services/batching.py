"""What is asked at about the same time is answered together, on the event loop while that is enough.

Answered as they come, a call of gRPC and a look at vectors drive each other out of the processor's caches.
A thread for the vectors helps less: handing a call over, and its answer back, takes as long as a small
search, and both want the interpreter's lock (docs/adr/0006).
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

# From the last call that came on, the event loop gets so many turns to bring another: while there are any,
# gRPC brings one every few turns.
_TURNS = 20


class Batcher(Generic[Asked, Answer]):
    """``answer`` gives an answer, or an error, for each that it is asked, in their order; ``most`` at once.

    For one event loop, which stands still while it answers few. As many as ``most`` are more than it can
    answer: they go to ``executor``, one batch at a time, so that the loop sees what else comes, and can
    refuse it.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Asked]], Sequence[Answer | Exception]],
        most: int,
        executor: Executor,
    ) -> None:
        self._answer = answer
        self._most = most
        self._executor = executor
        self._waiting: list[tuple[Asked, asyncio.Future[Answer]]] = []
        self._away = False  # a batch is with the executor

    def ask(self, asked: Asked) -> "asyncio.Future[Answer]":
        """To be awaited; raises the error that was the answer."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((asked, future))
        if len(self._waiting) == 1 and not self._away:
            loop.call_soon(self._turn, loop, 1, 0)
        return future

    def _turn(self, loop: asyncio.AbstractEventLoop, seen: int, quiet: int) -> None:
        """Of the event loop, while something waits; ``quiet`` of them brought nothing to the ``seen``."""
        count = len(self._waiting)
        quiet = quiet + 1 if count == seen else 0
        if count < self._most and quiet < _TURNS:
            loop.call_soon(self._turn, loop, count, quiet)
            return
        batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        wanted = [one for one in batch if not one[1].cancelled()]  # whoever asked may have given up
        asked, futures = [one for one, _ in wanted], [future for _, future in wanted]
        if count < self._most:
            tell(futures, answers_of(self._answer, asked))
            return
        self._away = True
        answers = loop.run_in_executor(self._executor, partial(answers_of, self._answer, asked))
        answers.add_done_callback(partial(self._back, loop, futures))

    def _back(
        self,
        loop: asyncio.AbstractEventLoop,
        futures: "list[asyncio.Future[Answer]]",
        answers: "asyncio.Future[Sequence[Answer | Exception]]",
    ) -> None:
        self._away = False
        if self._waiting:
            loop.call_soon(self._turn, loop, len(self._waiting), 0)
        tell(futures, answers.result())


def answers_of(
    answer: Callable[[Sequence[Asked]], Sequence[Answer | Exception]], asked: Sequence[Asked]
) -> Sequence[Answer | Exception]:
    """What is raised, and not told of one of them, is of those alone that it comes from."""
    try:
        answers = answer(asked) if asked else []
        if len(answers) != len(asked):
            raise ValueError(f"{len(answers)} answers to {len(asked)}")
        return answers
    except Exception as error:
        return [error] if len(asked) == 1 else [answers_of(answer, [one])[0] for one in asked]


def tell(futures: "Sequence[asyncio.Future[Answer]]", answers: Sequence[Answer | Exception]) -> None:
    """To each who has not given up meanwhile, an answer or an error."""
    for future, answer in zip(futures, answers, strict=True):
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
