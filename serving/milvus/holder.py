"""The generation that an alias leads to; as ``index.holder`` follows a pointer."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from serving.errors import ImgsearchError, Unavailable, Unverified
from serving.index.store import Failure
from serving.milvus.client import Client
from serving.milvus.collection import alias_name, generation_of
from serving.milvus.opening import opened
from serving.milvus.searchable import InMilvus
from serving.telemetry import IndexMetrics

log = logging.getLogger(__name__)


class Holder:
    """A ``searchable.Source``. ``on_swap`` is awaited after each exchange.

    What is served is a collection by its own name: an alias that moves while a search runs changes nothing
    about its answer. Whatever goes wrong with a new one, the old one is served on.
    """

    def __init__(
        self, client: Client, environment: str, metrics: IndexMetrics, on_swap: Callable[[], Awaitable[None]]
    ) -> None:
        self._client = client
        self._alias = alias_name(environment)
        self._metrics = metrics
        self._on_swap = on_swap
        self._served: InMilvus | None = None
        self.failure: Failure | None = None

    def current(self) -> InMilvus:
        """What to search. Raises ``Unavailable`` before the first generation."""
        if self._served is None:
            raise Unavailable("no generation is loaded yet")
        return self._served

    @property
    def loaded(self) -> InMilvus | None:
        return self._served

    async def follow(self, poll_interval_s: float) -> None:
        """Look at the alias again and again, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(poll_interval_s)

    async def look(self) -> None:
        """Look at the alias once and, when it leads to another collection, take that into use.

        One that cannot be served is tried again at every look: it may have been written anew.
        """
        collection = None
        try:
            collection = await asyncio.to_thread(self._client.target_of, self._alias)
            if collection is not None and (self._served is None or self._served.collection != collection):
                served = await asyncio.to_thread(opened, self._client, collection)
                await self._take(served)
            self.failure = None
            self._metrics.stale.set(0)
        except Exception as error:
            # Whatever a foreign collection makes its reader raise, it is no reason to stop.
            self._failed(collection, error)

    async def _take(self, served: InMilvus) -> None:
        self._served = served
        about = served.about
        self._metrics.swaps.inc()
        self._metrics.created.set(about.created_at)
        self._metrics.products.set(about.products)
        self._metrics.rows.set(about.rows)
        fields = {"generation": about.generation, "products": about.products, "rows": about.rows}
        log.info("generation %s is served from Milvus", about.generation, extra={"fields": fields})
        await self._on_swap()

    def _failed(self, collection: str | None, error: Exception) -> None:
        known = isinstance(error, ImgsearchError)
        reason = str(error) if known else f"{type(error).__name__} while opening it"
        generation = (generation_of(collection) or collection) if collection else ""
        failure = Failure(generation, reason)
        if failure != self.failure:  # a look a second would fill the log with the same sentence
            self._metrics.failures.inc()
            trace = None if isinstance(error, Unverified | Unavailable) else error
            log.error("collection %s is not served: %s", collection or "?", reason, exc_info=trace)
        self.failure = failure
        self._metrics.stale.set(1)
