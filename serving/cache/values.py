"""Bytes by key in Redis, for what can do without.

A cache on the way of a request must never be the reason that it fails: what is slow, down or not there reads
as absent, and for a moment after a failure nobody waits for Redis at all.
"""

import asyncio
import zlib
from collections.abc import Sequence
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from serving.cache.away import Away
from serving.cache.pool import pool_of

_CONNECTIONS = 64


_CHECK_BYTES = 4


def checked(data: bytes) -> bytes:
    """``data`` behind its CRC-32, for what has to come back as it was."""
    return zlib.crc32(data).to_bytes(_CHECK_BYTES, "little") + data


def unchecked(kept: bytes) -> bytes | None:
    """The data of what ``checked`` made; None for anything else, and for none."""
    data = kept[_CHECK_BYTES:]
    return data if data and checked(data) == kept else None


class Values:
    """What lies at ``redis_url``. The methods never raise and take ``timeout_s`` at most."""

    def __init__(self, redis_url: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._away = Away("its part is done anew")
        self._client = redis.asyncio.Redis.from_pool(pool_of(redis_url, timeout_s, _CONNECTIONS))

    async def get(self, key: str) -> bytes | None:
        if self._away:
            return None
        try:
            async with asyncio.timeout(self._timeout_s):
                data: Any = await self._client.get(key)  # bytes: nothing is decoded
        except (RedisError, OSError, TimeoutError) as error:
            self._away.failed(error)
            return None
        return data  # type: ignore[no-any-return]

    async def fields(self, key: str, names: Sequence[str]) -> Sequence[bytes | None]:
        """Those of the hash at ``key``, in the order of ``names``, of which there is at least one."""
        if self._away:
            return [None] * len(names)
        try:
            async with asyncio.timeout(self._timeout_s):
                found: Any = await self._client.hmget(key, list(names))
        except (RedisError, OSError, TimeoutError) as error:
            self._away.failed(error)
            return [None] * len(names)
        return found  # type: ignore[no-any-return]

    async def set(self, key: str, data: bytes, ttl_s: int) -> None:
        """Keep ``data`` for ``ttl_s`` seconds."""
        if self._away:
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._client.set(key, data, ex=ttl_s)
        except (RedisError, OSError, TimeoutError) as error:
            self._away.failed(error)

    async def aclose(self) -> None:
        await self._client.aclose()
