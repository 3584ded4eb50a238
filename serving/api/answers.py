"""Answers that were given already, and those that several wait for.

An answer is known by everything that it depends on: what was asked, the generation and its models, the state
of the stock. So a new generation is never answered with what an old one found, nor anything with what was
sold out before; for the moment until this process has noticed it (``backends.SERVED_FOR_S``) the old one
answers on, as it would from a replica that has not swapped yet.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import get_args

import orjson
from cachetools import TTLCache

from serving.api.answer import Answered
from serving.api.backends import Backends
from serving.api.clock import Clock
from serving.api.query import Wanted
from serving.api.schemas import FeaturesFrom, Origin
from serving.cache.values import checked, unchecked
from serving.errors import DeadlinePassed

# Of the answers that are kept, those asked for most lately lie in this process too.
NEAR_BYTES = 32 * 2**20

_FEATURES: tuple[FeaturesFrom, ...] = get_args(FeaturesFrom)


class Answers:
    """``ttl_s`` is how long an answer is kept; with 0 every request is answered anew, by itself."""

    def __init__(self, backends: Backends, ttl_s: int) -> None:
        self._backends = backends
        self._ttl_s = ttl_s
        self._near: TTLCache[str, Answered] = TTLCache(NEAR_BYTES, ttl_s, getsizeof=_size)
        self._under_way: dict[str, asyncio.Task[Answered]] = {}

    async def answer(
        self,
        wanted: Wanted,
        make: Callable[[], Awaitable[Answered]],
        clock: Clock,
    ) -> tuple[Answered, Origin]:
        """To what is ``wanted``, from where there is one, else by ``make``.

        Those who ask the same meanwhile wait for the same. Raises as ``make``.
        """
        if not self._ttl_s:
            return await make(), "made"
        with clock.stage("cache"):
            served = await self._backends.served_lately(clock)
            models = (served.embedder_version, served.detector_version)
            of = (served.generation, served.stock_version)
            key = _key(wanted, *of, *models)
            kept = self._near.get(key)
            if kept is None:
                kept = _of_kept(await self._backends.kept(key), *of, served.stock_followed)
        if kept is not None:
            return replace(kept, followed=served.stock_followed), "kept"
        while (task := self._under_way.get(key)) is not None:
            try:
                return await _before(asyncio.shield(task), clock), "shared"
            except DeadlinePassed:
                if not task.done():
                    raise
                clock.left_s()  # it was the time of who asked before; there may be some of ours
        task = self._under_way[key] = asyncio.create_task(self._made(key, of, make))
        task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task), "made"  # whoever else waits for it may be left when we are not

    async def _made(self, key: str, of: tuple[str, str], make: Callable[[], Awaitable[Answered]]) -> Answered:
        answer = await make()
        if (answer.generation, answer.stock) == of:  # else it belongs under another key
            if _size(answer) <= NEAR_BYTES:
                self._near[key] = answer
            self._backends.keep(key, _to_keep(answer), self._ttl_s)
        return answer

    def _ended(self, key: str, task: asyncio.Task[Answered]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # told to whoever waits; when nobody does it is nobody's


def _size(answer: Answered) -> int:
    return len(answer.body)


def _to_keep(answer: Answered) -> bytes:
    return checked(bytes([_FEATURES.index(answer.features)]) + answer.body)


def _of_kept(kept: bytes | None, generation: str, stock: str, followed: bool) -> Answered | None:
    """None, too, for what is damaged."""
    data = None if kept is None else unchecked(kept)
    return None if data is None else Answered(generation, stock, followed, _FEATURES[data[0]], data[1:])


async def _before(task: asyncio.Future[Answered], clock: Clock) -> Answered:
    try:
        async with asyncio.timeout(clock.left_s()):
            return await task
    except TimeoutError:
        raise DeadlinePassed("no answer in time; the same was asked for by somebody before") from None


def _key(wanted: Wanted, *of: str) -> str:
    """A front that writes another answer than this one has another number in it."""
    said = [wanted.key.hex(), *of]
    return f"answers:4:{hashlib.sha256(orjson.dumps(said)).hexdigest()}"
