"""How often a key may ask: counted in Redis for all processes together, or here while Redis is away."""

import asyncio
import time
from collections.abc import Callable

from limits import RateLimitItem, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import BlockingConnectionPool
from redis.exceptions import RedisError

from serving.cache.away import Away
from serving.cache.pool import pool_of
from serving.errors import RateLimited
from serving.identity.keys import Key
from serving.settings import Settings

_PER: dict[str, Callable[[int], RateLimitItem]] = {
    "second": RateLimitItemPerSecond,
    "minute": RateLimitItemPerMinute,
}
_CONNECTIONS = 16


class Rates:
    """What each key may ask. A sliding window: the one before counts by the part that still matters.

    Without Redis, and while it is away, each process counts by itself, so that a key may ask as often as its
    rate of each. That is never an error, and costs ``redis_timeout_s`` at most, once a second.
    """

    def __init__(self, settings: Settings) -> None:
        self._default = settings.rate
        self._timeout_s = settings.redis_timeout_s
        self._away = Away("each process counts the requests of a key by itself")
        self._here = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._pool: BlockingConnectionPool | None = None
        self._shared: SlidingWindowCounterRateLimiter | None = None
        self._limits: dict[str, RateLimitItem | None] = {"0": None}
        if settings.redis_url is not None:
            self._pool = pool_of(settings.redis_url.get_secret_value(), self._timeout_s, _CONNECTIONS)
            storage = RedisStorage(
                "async+redis://",
                implementation="redispy",
                key_prefix=f"imgsearch:{settings.environment}:rate",
                connection_pool=self._pool,  # type: ignore[arg-type]  # as its documentation says
            )
            self._shared = SlidingWindowCounterRateLimiter(storage)

    async def count(self, key: Key) -> None:
        """One request more of ``key``. Raises ``RateLimited`` where that is too much."""
        rate = self._default if key.rate is None else key.rate
        limit = self._limit(rate)
        if limit is None:
            return
        retry_after_s = await self._hit(limit, key.id)
        if retry_after_s is not None:
            raise RateLimited(f"API key {key.id} may ask {rate.replace('/', ' times a ')}", retry_after_s)

    async def aclose(self) -> None:
        if self._pool is not None:
            await self._pool.aclose()

    def _limit(self, rate: str) -> RateLimitItem | None:
        if rate not in self._limits:
            amount, per = rate.split("/")
            self._limits[rate] = _PER[per](int(amount))
        return self._limits[rate]

    async def _hit(self, limit: RateLimitItem, key_id: str) -> float | None:
        """Seconds until there is room again, None where there was."""
        if self._shared is not None and not self._away:
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await _hit(self._shared, limit, key_id)
            except (RedisError, OSError, TimeoutError) as error:
                self._away.failed(error)
        return await _hit(self._here, limit, key_id)


async def _hit(counted: SlidingWindowCounterRateLimiter, limit: RateLimitItem, key_id: str) -> float | None:
    if await counted.hit(limit, key_id):
        return None
    stats = await counted.get_window_stats(limit, key_id)
    return min(max(stats.reset_time - time.time(), 0.0), limit.get_expiry())
