"""Answers that were given already, and those that several wait for.

An answer is known by everything that it depends on: what was asked, the generation and its models. So a new
generation is never answered with what an old one found; for the moment until this process has noticed it
(``backends.SERVED_FOR_S``) the old one answers on, as it would from a replica that has not swapped yet.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable

from pydantic import ValidationError

from serving.api.backends import Backends
from serving.api.clock import Clock
from serving.api.query import Wanted
from serving.api.schemas import Answer, Origin
from serving.errors import DeadlinePassed

# What of an answer is of its request alone.
_OWN = {"timings_ms", "cached"}


class Answers:
    """``ttl_s`` is how long an answer is kept; with 0 every request is answered anew, by itself."""

    def __init__(self, backends: Backends, ttl_s: int) -> None:
        self._backends = backends
        self._ttl_s = ttl_s
        self._under_way: dict[str, asyncio.Task[Answer]] = {}

    async def answer(
        self,
        asked: tuple[str, str | bytes],
        wanted: Wanted,
        make: Callable[[], Awaitable[Answer]],
        clock: Clock,
    ) -> tuple[Answer, Origin]:
        """To what was ``asked`` (its kind, and what it is), from where there is one, else by ``make``.

        Those who ask the same meanwhile wait for the same. Raises as ``make``.
        """
        if not self._ttl_s:
            return await make(), "made"
        with clock.stage("cache"):
            served = await self._backends.served_lately(clock)
            models = (served.embedder_version, served.detector_version)
            key = _key(asked, wanted, served.generation, *models)
            kept = _of_kept(await self._backends.kept(key))
        if kept is not None:
            return kept.model_copy(update={"timings_ms": clock.timings_ms, "cached": True}), "kept"
        task = self._under_way.get(key)
        if task is not None:
            return await _before(asyncio.shield(task), clock), "shared"
        task = self._under_way[key] = asyncio.create_task(self._made(key, served.generation, make))
        task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task), "made"  # whoever else waits for it may be left when we are not

    async def _made(self, key: str, generation: str, make: Callable[[], Awaitable[Answer]]) -> Answer:
        answer = await make()
        if answer.generation == generation:  # else it belongs under another key
            self._backends.keep(key, answer.model_dump_json(exclude=_OWN).encode(), self._ttl_s)
        return answer

    def _ended(self, key: str, task: asyncio.Task[Answer]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # told to whoever waits; when nobody does it is nobody's


def _of_kept(data: bytes | None) -> Answer | None:
    """None, too, for what is damaged, or of a front that knows another answer than this one."""
    try:
        return None if data is None else Answer.model_validate_json(data)
    except ValidationError:
        return None


async def _before(task: asyncio.Future[Answer], clock: Clock) -> Answer:
    try:
        async with asyncio.timeout(clock.left_s()):
            return await task
    except TimeoutError:
        raise DeadlinePassed("no answer in time; the same was asked for by somebody before") from None


def _key(asked: tuple[str, str | bytes], wanted: Wanted, *of: str) -> str:
    kind, what = asked
    data = what.encode() if isinstance(what, str) else what
    box = "" if wanted.box is None else wanted.box.key
    # Of what is a list the order does not matter.
    filters = {
        field.name: value if isinstance(value, bool | int) else sorted(value)
        for field, value in wanted.filter.ListFields()
    }
    said = [kind, hashlib.sha256(data).hexdigest(), filters, wanted.k, box, wanted.collapse, *of]
    return f"answers:1:{hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()}"
