"""What waits at the same time is answered together, in a thread of its own.

An event loop that answers each call as it comes finds the processor's caches full of the other thing each
time: of vectors, when it speaks gRPC, and of gRPC, when it compares vectors. Apart, and many calls at a time,
a search took 0.3 ms in place of 0.5 (two cores, 32 calls in flight).
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

# After a batch of more than _MANY, calls come faster than they are answered one by one: more are then let
# come for this many times as long as that batch took, and no longer than this. Few callers are not held up.
_MANY, _PATIENCE, _MOST_S = 8, 2.0, 0.002


class Batcher(Generic[Asked, Answer]):
    """``answer`` gives an answer, or an error, for each that it is asked, in their order.

    ``begin`` is the first thing that the thread does.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Asked]], Sequence[Answer | Exception]],
        most: int,
        name: str,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        self._answer = answer
        self._most = most
        self._begin = begin
        self._begun: Future[None] = Future()
        self._open = False
        # None says that there will be no more.
        self._waiting: queue.SimpleQueue[tuple[Asked, asyncio.Future[Answer]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """For the event loop that runs. Raises what ``begin`` does."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        self._begun.result()
        self._open = True

    def stop(self) -> None:
        """Once nothing is asked any more; what was asked is answered yet."""
        self._open = False
        self._waiting.put(None)
        self._thread.join()

    def ask(self, asked: Asked) -> "asyncio.Future[Answer]":
        """To be awaited; raises the error that was the answer.

        Raises ``RuntimeError`` when nobody would answer: before the start, and after the stop.
        """
        if not self._open:
            raise RuntimeError(f"{self._thread.name} is not running")
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting.put((asked, future))
        return future

    def _run(self) -> None:
        try:
            self._begin()
        except BaseException as error:
            self._begun.set_exception(error)
            return
        self._begun.set_result(None)
        patience_s: float | None = 0.0
        while patience_s is not None:
            patience_s = self._round(patience_s)

    def _round(self, patience_s: float) -> float | None:
        """Answers what waits; how long to let the next gather, None at the end.

        By itself, so that nothing of what was asked is held while nothing waits: it may be the last that
        holds an old generation.
        """
        batch, more = self._gathered(patience_s)
        started_s = time.monotonic()
        wanted = [one for one in batch if not one[1].cancelled()]  # whoever asked may have given up
        answers = self._answers([asked for asked, _ in wanted]) if wanted else []
        futures = [future for _, future in wanted]
        self._loop.call_soon_threadsafe(self._tell, futures, answers)
        if not more:
            return None
        return min(_PATIENCE * (time.monotonic() - started_s), _MOST_S) if len(batch) > _MANY else 0.0

    def _gathered(self, patience_s: float) -> tuple[list[tuple[Asked, "asyncio.Future[Answer]"]], bool]:
        """What waits, at least one unless it is the end; and whether more may come."""
        batch = []
        one = self._waiting.get()
        if patience_s:
            time.sleep(patience_s)
        with contextlib.suppress(queue.Empty):
            while one is not None:
                batch.append(one)
                if len(batch) == self._most:
                    break
                one = self._waiting.get(block=False)
        return batch, one is not None

    def _answers(self, asked: Sequence[Asked]) -> Sequence[Answer | Exception]:
        """What is raised, and not told of one of them, is of those alone that it comes from."""
        try:
            answers = self._answer(asked)
            if len(answers) != len(asked):
                raise ValueError(f"{len(answers)} answers to {len(asked)}")
            return answers
        except Exception as error:
            return [error] if len(asked) == 1 else [self._answers([one])[0] for one in asked]

    def _tell(self, futures: "list[asyncio.Future[Answer]]", answers: Sequence[Answer | Exception]) -> None:
        for future, answer in zip(futures, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
