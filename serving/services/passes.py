"""Pictures of calls that come at about the same time, put through a network together.

What comes in during a pass makes up the next: nobody waits for company while nothing else is in work.
Packages that collect by size and time (``batched``, ``async-batcher``) neither bound what waits, nor leave
out whom nobody waits for any more, nor keep two versions of a model apart (docs/adr/0007).
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from serving.errors import DeadlinePassed, Overloaded
from serving.models import runtime
from serving.rpc.admission import RETRY_AFTER_S
from serving.services.batching import answers_of, tell
from serving.settings import Settings
from serving.telemetry import PassMetrics

Answer = TypeVar("Answer")
Answer_co = TypeVar("Answer_co", covariant=True)

# How much the last pass counts in what a picture is taken to need.
_NEWEST = 0.2


class Network(Protocol[Answer_co]):
    """One version of a model. Safe to call from several threads."""

    def of_pixels(self, x: Tensor, /) -> Iterable[Answer_co]:
        """Pixels uint8 (n, 3, s, s) to n answers, in one forward pass."""


@dataclass(frozen=True)
class Bounds:
    """Of one service: pictures of a pass, passes at once, and pictures of all calls in work."""

    batch: int
    at_once: int
    queue: int
    wait_s: float = 0.0

    @classmethod
    def of(cls, settings: Settings) -> "Bounds":
        """As they suit the device where the settings leave it open. To be asked once that is tuned."""
        place = runtime.device()
        return cls(
            settings.model_batch or runtime.batch_size(place),
            runtime.passes(place),
            settings.model_queue,
            settings.model_wait_ms / 1e3,
        )


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Answer]):
    network: Network[Answer]
    pixels: Tensor  # uint8 (1, 3, s, s)
    ends_s: float
    since_s: float
    future: "asyncio.Future[Answer]"


class Passes(Generic[Answer]):
    """For one event loop; ``executor`` has a thread for each pass at once. Times are of the loop's clock."""

    def __init__(self, bounds: Bounds, executor: Executor, metrics: PassMetrics) -> None:
        self._bounds = bounds
        self._executor = executor
        self._metrics = metrics
        self._waiting: deque[_Waiting[Answer]] = deque()
        self._running = 0
        self._placed = 0
        self._picture_s = 0.0  # between two that leave, while there are always more; 0 until the first has
        self._alarm: asyncio.TimerHandle | None = None
        metrics.waiting.set_function(lambda: len(self._waiting))
        metrics.placed.set_function(lambda: self._placed)

    @contextmanager
    def room(self, count: int, ends_s: float) -> Iterator[None]:
        """Room for ``count`` pictures of a call that must be answered by ``ends_s``, before any work on them.

        One that finds nothing else in work is always let in: only what is tried is measured anew. Raises
        ``Overloaded`` where too many are before it to be done in time, and ``DeadlinePassed`` where none need
        be.
        """
        left_s = ends_s - asyncio.get_running_loop().time()
        if left_s <= 0:
            raise DeadlinePassed("the time of the call had run out before it was begun")
        if self._placed:
            self._check(count, left_s)
        self._placed += count
        try:
            yield
        finally:
            self._placed -= count

    def _check(self, count: int, left_s: float) -> None:
        if self._placed + count > self._bounds.queue:
            self._metrics.refused.inc()
            raise Overloaded(
                f"{self._placed} pictures are in work already, at most {self._bounds.queue} at once; "
                "try again in a moment",
                RETRY_AFTER_S,
            )
        if count * self._picture_s > left_s:
            raise DeadlinePassed(f"{count} pictures cannot be done in the {left_s:.2g} s of the call")
        if (self._placed + count) * self._picture_s > left_s:
            self._metrics.refused.inc()
            raise Overloaded(
                f"{self._placed} pictures are in work already, too many to be done in the {left_s:.2g} s "
                "of the call; try again in a moment",
                RETRY_AFTER_S,
            )

    async def ask(self, network: Network[Answer], pixels: Sequence[Tensor], ends_s: float) -> list[Answer]:
        """The answer to each of ``pixels``, uint8 (1, 3, s, s) as ``network`` takes them, in their order.

        Raises what the network raises for one of them, ``DeadlinePassed`` where ``ends_s`` came first.
        """
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        asked = [_Waiting(network, one, ends_s, now_s, loop.create_future()) for one in pixels]
        self._waiting.extend(asked)
        self._go(loop)
        try:
            answers: list[Answer] = await asyncio.gather(*(one.future for one in asked))
            return answers
        finally:
            for one in asked:  # of a call that failed or was given up
                one.future.cancel()

    def _go(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin what passes can begin."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        while self._waiting and self._running < self._bounds.at_once:
            due_s = self._due_s()
            if due_s > loop.time():
                self._alarm = loop.call_at(due_s, self._go, loop)
                return
            batch = self._taken(loop.time())
            if batch:
                self._begin(loop, batch)

    def _due_s(self) -> float:
        """When the next pass is to begin; at once where all that is in work waits for it."""
        waiting = len(self._waiting)
        if waiting >= self._bounds.batch or waiting == self._placed:
            return 0.0
        return self._waiting[0].since_s + self._bounds.wait_s

    def _taken(self, now_s: float) -> list[_Waiting[Answer]]:
        """The next of one network that somebody still waits for; none where those were all given up."""
        free = self._bounds.at_once - self._running
        most = min(self._bounds.batch, -(-len(self._waiting) // free))  # shared by the passes that are free
        batch: list[_Waiting[Answer]] = []
        while self._waiting and len(batch) < most:
            one = self._waiting[0]
            if batch and one.network is not batch[0].network:
                break
            self._waiting.popleft()
            if one.future.done():
                continue
            if one.ends_s <= now_s:
                one.future.set_exception(DeadlinePassed("the time of the call ran out before its turn"))
                continue
            batch.append(one)
        return batch

    def _begin(self, loop: asyncio.AbstractEventLoop, batch: list[_Waiting[Answer]]) -> None:
        began_s = loop.time()
        self._metrics.pictures.observe(len(batch))
        for one in batch:
            self._metrics.waited.observe(began_s - one.since_s)
        self._running += 1
        network, rows = batch[0].network, [one.pixels for one in batch]
        answers = loop.run_in_executor(self._executor, partial(answers_of, partial(_answers, network), rows))
        answers.add_done_callback(partial(self._back, loop, batch, began_s))

    def _back(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: list[_Waiting[Answer]],
        began_s: float,
        answers: "asyncio.Future[Sequence[Answer | Exception]]",
    ) -> None:
        self._running -= 1
        took_s = (loop.time() - began_s) / len(batch) / self._bounds.at_once
        self._picture_s += (took_s - self._picture_s) * (_NEWEST if self._picture_s else 1.0)
        tell([one.future for one in batch], answers.result())
        self._go(loop)


def _answers(network: Network[Answer], rows: Sequence[Tensor]) -> list[Answer | Exception]:
    """Of pixels uint8 (1, 3, s, s) each; channels last stay so."""
    return list(network.of_pixels(torch.cat(list(rows))))
