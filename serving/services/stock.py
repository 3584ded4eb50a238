"""What is in stock now, of the generations in this process's memory: followed in Redis, known without it."""

import asyncio
import logging
import time
from collections.abc import Mapping
from threading import Lock
from typing import NamedTuple
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from serving.cache.stock import IN_STOCK, UNKNOWN, Known
from serving.cache.stock_log import StockLog
from serving.errors import Unavailable
from serving.index.collapse import COLLAPSES
from serving.index.kept import Kept
from serving.index.loaded import Generation
from serving.telemetry import StockMetrics

log = logging.getLogger(__name__)

# Nobody vouches for a state that was read longer ago: see ``serving.api.stock``.
FRESH_S = 2.0


class OnShelf(NamedTuple):
    """What of a generation is in stock: ``in_stock`` bool (stored products,), as bytes, and counted.

    ``version`` is that of the stock, empty where it is the generation's own.
    """

    version: str
    in_stock: NDArray[np.bool_]
    as_bytes: "memoryview[bytes]"
    kept: Kept

    @classmethod
    def of(cls, generation: Generation, version: str, in_stock: NDArray[np.bool_]) -> "OnShelf":
        kept = Kept(generation, in_stock if generation.alive is None else in_stock & generation.alive)
        for collapse in COLLAPSES:
            kept.groups(collapse)  # now, and not when somebody waits
        return cls(version, in_stock, memoryview(in_stock.tobytes()).cast("c"), kept)


class Shelf:
    """The products of a generation. ``now`` is exchanged as a whole; whoever searches takes it once."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self.now = OnShelf.of(generation, "", generation.in_stock)
        self.read_at = 0.0  # time.monotonic() of the last look into Redis that went well

    @property
    def sold_out(self) -> int:
        return self._generation.products_there - self.now.kept.products

    def fill(self, known: Known) -> None:
        generation = self._generation
        values = np.concatenate([known.values(part.attributes.ids) for part in generation.parts])
        in_stock = np.where(values == UNKNOWN, generation.in_stock, values == IN_STOCK)
        self.now = OnShelf.of(generation, known.version, in_stock)

    def change(self, version: str, changes: Mapping[str, int]) -> None:
        """To the stock at ``version``, by what changed since ``now``."""
        generation, in_stock = self._generation, self.now.in_stock.copy()
        for name, value in changes.items():
            place = generation.place(name)
            if place is not None:
                in_stock[place] = generation.in_stock[place] if value == UNKNOWN else value == IN_STOCK
        self.now = OnShelf.of(generation, version, in_stock)


class Stock:
    """Follows ``stock_log``, where there is one. What was known stays so for as long as Redis is away."""

    def __init__(self, stock_log: StockLog | None, metrics: StockMetrics) -> None:
        self._log = stock_log
        self._metrics = metrics
        self._lock = Lock()
        self._known: Known | None = None
        self._read_at = 0.0
        self._shelves: WeakSet[Shelf] = WeakSet()
        self._away: str | None = None

    def shelf(self, generation: Generation) -> Shelf:
        """Of a generation that is about to be served; from now on it follows."""
        shelf = Shelf(generation)
        with self._lock:
            if self._known is not None:
                shelf.fill(self._known)
            shelf.read_at = self._read_at
            self._shelves.add(shelf)
            self._metrics.sold_out.set(shelf.sold_out)
        return shelf

    async def follow(self, poll_s: float) -> None:
        """Look again and again, for ever."""
        while True:
            await asyncio.sleep(poll_s)
            await self.look()

    async def look(self) -> None:
        """Take up what changed in Redis. Never raises for one that is away, empty or strange."""
        if self._log is None:
            return
        try:
            await asyncio.to_thread(self._look, self._log)
            self._away = None
        except Exception as error:
            # Whatever is found there, it is no reason to stop: the stock that was known is served on.
            reason = str(error) if isinstance(error, Unavailable) else type(error).__name__
            if reason != self._away:
                self._away = reason
                log.warning("the stock is not followed, what was known of it stays: %s", reason)

    def _look(self, stock_log: StockLog) -> None:
        known = self._known
        news = None if known is None else stock_log.news(known.version)
        whole = stock_log.whole() if news is None else None
        if news is None and whole is None:
            raise Unavailable("Redis knows nothing of it; the stock feed writes it")
        compared_at = stock_log.compared_at()
        with self._lock:
            if whole is not None:
                self._known = whole
                for shelf in self._shelves:
                    shelf.fill(whole)
            elif known is not None and news is not None and news.version != known.version:
                known.take(news)
                for shelf in self._shelves:
                    shelf.change(news.version, news.changes)
            self._read_at = time.monotonic()
            for shelf in self._shelves:
                shelf.read_at = self._read_at
                self._metrics.sold_out.set(shelf.sold_out)
        self._metrics.read.set_to_current_time()
        self._metrics.compared.set(compared_at)
