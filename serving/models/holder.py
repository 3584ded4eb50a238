"""The versions of one model that a service answers with: the live one, and those that are asked for by name.

While an embedder is exchanged, vectors are wanted of two versions: of the one that the served generation was
made with, and of the one that the next will be. So an earlier version stays as long as it is asked for. Only
what went through the gate is loaded: a candidate is nobody's to ask for.
"""

import asyncio
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from serving.errors import ImgsearchError, NotFound, Unavailable, Unverified
from serving.models.bundle import Bundle, live_version, load_bundle
from serving.models.live import read_live
from serving.object_store import ObjectStore
from serving.telemetry import ModelMetrics, versions

log = logging.getLogger(__name__)

# In memory at once: the live one, the one before it, and one more, which somebody tries.
KEPT = 3

# A version that could not be taken into use is tried again after the first of these, then twice as long.
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0

_VERSION = re.compile(r"[0-9a-f]{16}")


class Versioned(Protocol):
    """A model that knows its version."""

    version: str


M = TypeVar("M", bound=Versioned)


class ModelHolder(Generic[M]):
    """Follows ``models/<name>/live.json``; ``make`` builds the model of a verified bundle, in a thread.

    Whatever is wrong with a new live version, the old one is served on, and ``failure`` says why.
    """

    def __init__(
        self, store: ObjectStore, name: str, make: Callable[[Bundle], M], metrics: ModelMetrics
    ) -> None:
        self._store = store
        self._name = name
        self._make = make
        self._metrics = metrics
        self._live = ""
        self._models: OrderedDict[str, M] = OrderedDict()  # the one asked for last comes last
        self._loading: dict[str, asyncio.Task[M]] = {}
        self._one_at_a_time = asyncio.Lock()  # loading takes twice the memory of what is loaded
        # A live version that could not be loaded, how often so far, and when it may be tried again.
        self._refused, self._refusals, self._not_before = "", 0, 0.0
        self.failure: str | None = None

    @property
    def live(self) -> str:
        """The version that is served to those who name none."""
        return self._live

    @property
    def loaded(self) -> tuple[str, ...]:
        """The versions in memory, the one asked for last at the end."""
        return tuple(self._models)

    async def start(self) -> None:
        """Load the live version. Raises ``NotFound`` where there is none, and ``Unverified``."""
        live = await asyncio.to_thread(live_version, self._store, self._name)
        await self._load(live)
        self._taken(live)

    async def get(self, version: str = "") -> M:
        """The model of that version, the live one by default; loaded first where it is not in memory.

        Raises ``NotFound`` for a version that was never live, and ``Unverified``.
        """
        version = version or self._live
        model = self._models.get(version)
        if model is None:
            model = await self._load(version)
        if version in self._models:
            self._models.move_to_end(version)
        return model

    async def follow(self, poll_interval_s: float) -> None:
        """Look at the pointer again and again, for ever."""
        while True:
            await asyncio.sleep(poll_interval_s)
            await self.look()

    async def look(self) -> None:
        """Look at the pointer once and, when it names another version, take that into use."""
        live = ""
        try:
            live = await asyncio.to_thread(live_version, self._store, self._name)
            if live == self._live:
                self._settled()
            elif live != self._refused or time.monotonic() >= self._not_before:
                await self._load(live)
                self._taken(live)
        except Exception as error:
            # Whatever a damaged file makes a reader raise, it is no reason to stop serving the old one.
            self._failed(live, error)

    async def _load(self, version: str) -> M:
        """Loads once, however many wait for it, and to the end, even if none does any more."""
        if not _VERSION.fullmatch(version) or not await asyncio.to_thread(self._was_live, version):
            raise NotFound(f"no {self._name} {version[:32]!r} was ever live")
        task = self._loading.get(version)
        if task is None:
            task = self._loading[version] = asyncio.create_task(self._to_memory(version))
            task.add_done_callback(lambda done: self._loaded(version, done))
        return await asyncio.shield(task)

    def _loaded(self, version: str, task: asyncio.Task[M]) -> None:
        del self._loading[version]
        if not task.cancelled():
            task.exception()  # seen, even when nobody waits for it any more

    async def _to_memory(self, version: str) -> M:
        async with self._one_at_a_time:
            model = await asyncio.to_thread(lambda: self._make(load_bundle(self._store, self._name, version)))
        self._models[version] = model
        self._forget_the_oldest()
        return model

    def _was_live(self, version: str) -> bool:
        live = read_live(self._store, self._name)
        return version in {live.version, *(one.version for one in live.promotions)}

    def _settled(self) -> None:
        self.failure, self._refused, self._refusals = None, "", 0

    def _taken(self, live: str) -> None:
        self._live = versions[self._name] = live
        self._settled()
        self._metrics.swaps.inc()
        fields = {"model": self._name, "version": live}
        log.info("%s %s is live", self._name, live, extra={"fields": fields})

    def _forget_the_oldest(self) -> None:
        spare = [version for version in self._models if version != self._live]
        for version in spare[: max(0, len(self._models) - KEPT)]:
            del self._models[version]
        self._metrics.loaded.set(len(self._models))

    def _failed(self, live: str, error: Exception) -> None:
        self._refusals = self._refusals + 1 if live == self._refused else 1
        self._refused = live
        wait_s = min(FIRST_WAIT_S * 2.0 ** min(self._refusals - 1, 10), LONGEST_WAIT_S)
        self._not_before = time.monotonic() + wait_s
        known = isinstance(error, ImgsearchError)
        failure = str(error) if known else f"{type(error).__name__} while loading it"
        if failure != self.failure:  # a look a second would fill the log with the same sentence
            self._metrics.failures.inc()
            trace = None if isinstance(error, NotFound | Unverified | Unavailable) else error
            log.error("%s %s is not taken: %s", self._name, live or "?", failure, exc_info=trace)
        self.failure = failure
