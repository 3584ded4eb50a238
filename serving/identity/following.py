"""The API keys as a process knows them: read again and again, and asked at every call."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator

from serving.errors import ImgsearchError, NotFound, Unavailable
from serving.identity.keys import Key, Keys, Scope
from serving.identity.store import keys_key, parsed
from serving.location import open_store
from serving.object_store import ObjectStore
from serving.settings import Settings

log = logging.getLogger(__name__)

# A key that is revoked works so long at most, and the time of one read.
LOOK_EVERY_S = 2.0


class KnownKeys:
    """The keys of one environment.

    While they cannot be read, the last that could count: a store that is away must not shut out everybody.
    So do they when the object vanishes, as it does from a folder that is not mounted.
    """

    def __init__(self, store: ObjectStore, environment: str) -> None:
        self._store = store
        self._environment = environment
        self._known: Keys | None = None
        self._data: bytes | None = None  # that ``_known`` was read from
        self._told: str | None = None  # why they could not be read the last time

    def holder(self, sent: str | None, scope: Scope) -> Key:
        """The key that ``sent`` is, and may do ``scope``.

        Raises ``Unauthenticated`` or ``Forbidden``; ``Unavailable`` where they could never be read.
        """
        if self._known is None:
            raise Unavailable("the API keys cannot be read at the moment")
        return self._known.holder(sent, scope, time.time())

    async def look(self) -> None:
        """Read them again; never raises."""
        try:
            data = await asyncio.to_thread(self._store.get, keys_key(self._environment))
            if data != self._data:
                self._known, self._data = parsed(self._environment, data), data
                log.info("%d API keys are known", len(self._known.keys))
        except NotFound as error:
            if self._data is None:  # nobody made one yet
                self._known = Keys()
            else:
                self._failed(str(error))
        except ImgsearchError as error:
            self._failed(str(error))
        except OSError as error:
            self._failed(str(error.strerror or error))
        else:
            self._told = None

    def _failed(self, why: str) -> None:
        if why != self._told:
            log.error("the API keys cannot be read: %s; those known before count", why)
        self._told = why

    @contextlib.asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """They are read before the block, and every ``LOOK_EVERY_S`` within it."""
        await self.look()
        following = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            following.cancel()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()


def keys_of(settings: Settings) -> KnownKeys:
    """Those of the environment. Raises ``BadSettings`` when there cannot be an object store."""
    return KnownKeys(open_store(settings), settings.environment)
