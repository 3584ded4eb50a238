"""The generation that is served: one reference, exchanged while searches go on.

A reader takes ``current()`` once and keeps to it; the old generation ends with its last reader. Whatever goes
wrong with a new one, the old one is served on, and the reason can be asked for.
"""

import asyncio
import contextlib
import os
import threading
import time
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import faiss

from serving.errors import ImgsearchError, NotFound, Unavailable
from serving.index import memory
from serving.index.artifact import load
from serving.index.following import Following
from serving.index.generation import Manifest
from serving.index.loaded import Generation
from serving.index.store import Failure, PointerAt, Release, read_manifest, read_pointer
from serving.object_store import ObjectStore
from serving.telemetry import IndexMetrics

# How long a swap waits for the old generation's last reader before its memory is given back.
_LAST_READER_S = 10.0
# A generation that must not be served is looked at again, if the pointer stays: its files may be mended.
_REFUSED_S = 60.0
# Linux gives a thread of this niceness a tenth of what a search gets while both want a core.
_NICE = 10


T = TypeVar("T")


class Holder(Following[T]):
    """Follows the pointer of ``environment``.

    ``prepare`` makes of each new generation, in a thread, what is served.
    """

    def __init__(
        self,
        store: ObjectStore,
        environment: str,
        metrics: IndexMetrics,
        on_swap: Callable[[], Awaitable[None]],
        prepare: Callable[[Generation], T],
    ) -> None:
        super().__init__(metrics, on_swap)
        self._store = store
        self._environment = environment
        self._prepare = prepare
        self._current: Generation | None = None
        # Of what is served: the hash of its manifest, and which file its base is mapped from.
        self._loaded: tuple[str, int | None] = "", None
        self._loader = ThreadPoolExecutor(1, "load", _behind_searches)
        # The pointer that leads to what must not be served, and until when that is not tried again.
        self._refused: str | None = None
        self._refused_until = 0.0
        self._refusal: Failure | None = None

    async def look(self) -> None:
        """Look at the pointer once and, when it names another generation, take that into use."""
        try:
            seen, base_file = await asyncio.to_thread(self._see)
        except (ImgsearchError, OSError) as error:
            self._failed("", error)
            return
        live = seen.pointer.live if seen.pointer else None
        if live is None:
            what = "was released yet" if self._current is None else "is released any more"
            self._failed("", NotFound(f"nothing {what} in {self._environment}"))
        elif (live.manifest_sha256, base_file) == self._loaded:
            self._went_well()
        elif seen.version != self._refused or time.monotonic() >= self._refused_until:
            await self._take(live, seen)
        else:
            self._set_failure(self._refusal)  # whatever was wrong with the pointer meanwhile

    def _see(self) -> tuple[PointerAt, int | None]:
        """The pointer; and the file that lies where the base of what is served was, another once mended."""
        seen = read_pointer(self._store, self._environment)
        return seen, None if self._current is None else self._base_file(self._current.manifest)

    def _base_file(self, manifest: Manifest) -> int | None:
        try:
            return self._store.local_path(manifest.segment("base").key).stat().st_ino
        except (NotFound, FileNotFoundError):
            return self._loaded[1]  # what is mapped stays whole

    async def _take(self, live: Release, seen: PointerAt) -> None:
        try:
            loop = asyncio.get_running_loop()
            generation, served, loaded = await loop.run_in_executor(self._loader, self._load, live)
        except (Unavailable, NotFound, OSError) as error:  # the next look may find memory, or the store
            self._failed(live.generation, error)
            return
        except Exception as error:
            # Whatever a damaged file makes a reader raise, it is no reason to stop serving the old one.
            self._refused, self._refused_until = seen.version, time.monotonic() + _REFUSED_S
            self._failed(live.generation, error)
            self._refusal = self.failure
            return
        self._went_well()
        before, gone = self._current, asyncio.Event()
        last_reader = asyncio.get_running_loop().call_soon_threadsafe
        ended = None if before is None else weakref.finalize(before, last_reader, gone.set)
        if ended is not None:
            ended.atexit = False  # there is no loop then
        self._current, self._loaded = generation, loaded
        manifest = generation.manifest
        what = {
            "generation": manifest.id,
            "embedder": manifest.embedder,
            "detector": manifest.detector,
        }
        await self._exchange(served, what, manifest.products, manifest.rows, manifest.created_at)
        if ended is not None:
            del before
            await _give_back(gone)
            ended.detach()

    def _load(self, live: Release) -> tuple[Generation, T, tuple[str, int | None]]:
        manifest = read_manifest(self._store, live.generation, live.manifest_sha256)
        base_file, beside = self._base_file(manifest), self._current
        if beside is not None and self._base_file(beside.manifest) != self._loaded[1]:
            beside = None  # its base was written anew: what is mapped is the damaged one
        generation = load(self._store, manifest, beside)
        return generation, self._prepare(generation), (live.manifest_sha256, base_file)

    def _went_well(self) -> None:
        super()._went_well()
        self._refused = None


def _behind_searches() -> None:
    """Of the thread that loads: searches go first, on every core."""
    with contextlib.suppress(OSError):  # elsewhere than on Linux a thread has no priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
    faiss.omp_set_num_threads(1)  # FAISS's own would wait for more work by spinning


async def _give_back(gone: asyncio.Event) -> None:
    """Return the memory of an old generation, after its last reader when that one is not too slow."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_READER_S):
            await gone.wait()
    await asyncio.to_thread(memory.give_back)
