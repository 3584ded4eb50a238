"""The generation that an alias leads to; as ``index.holder`` follows a pointer."""

import asyncio
from collections.abc import Awaitable, Callable

from serving.errors import NotFound
from serving.index.following import Following
from serving.milvus.client import Client
from serving.milvus.collection import alias_name, generation_of
from serving.milvus.opening import opened
from serving.milvus.searchable import InMilvus
from serving.telemetry import IndexMetrics


class Holder(Following[InMilvus]):
    """A ``searchable.Source``.

    What is served is a collection by its own name: an alias that moves while a search runs changes nothing
    about its answer. Whatever goes wrong with a new one, the old one is served on.
    """

    def __init__(
        self, client: Client, environment: str, metrics: IndexMetrics, on_swap: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__(metrics, on_swap)
        self._client = client
        self._alias = alias_name(environment)

    async def look(self) -> None:
        """Look at the alias once and, when it leads to another collection, take that into use.

        One that cannot be served is tried again at every look: it may have been written anew.
        """
        collection = None
        try:
            collection = await asyncio.to_thread(self._client.target_of, self._alias)
            if collection is None:
                none = self._served is None
                raise NotFound(f"the alias {self._alias} is {'not there yet' if none else 'gone'}")
            if self._served is None or self._served.collection != collection:
                served = await asyncio.to_thread(opened, self._client, collection)
                about = served.about
                what = {
                    "generation": about.generation,
                    "embedder": about.embedder,
                    "detector": about.detector,
                }
                await self._exchange(served, what, about.products, about.rows, about.created_at)
            self._went_well()
        except Exception as error:
            # Whatever a foreign collection makes its reader raise, it is no reason to stop.
            name = (generation_of(collection) or collection) if collection else ""
            self._failed(name, error)
