"""Connections to Redis for the event loop, for a timeout that a shopper does not notice."""

import asyncio
from typing import Any

from redis.asyncio import BlockingConnectionPool, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

_HANDSHAKES = 4


def pool_of(redis_url: str, timeout_s: float, connections: int) -> BlockingConnectionPool:
    """At most so many at once. Who comes on top waits, for to have none would look as if Redis were away."""
    found: BlockingConnectionPool = BlockingConnectionPool.from_url(
        redis_url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        max_connections=connections,
        timeout=timeout_s,
    )
    if found.connection_class is SSLConnection:
        found.connection_class = _sharing(found)
    return found


def _sharing(pool: BlockingConnectionPool) -> type[SSLConnection]:
    """Connections with one context of TLS, of which a few are opened at once.

    redis-py makes a context for each, which reads every authority of the machine: 25 ms in which the loop
    stands still, half of what a connection may take. And a handshake takes the loop 2 ms: of many at once
    none is over in time, and nobody ever has a connection.
    """
    context = pool.make_connection().ssl_context.get()  # type: ignore[no-untyped-call]
    a_few = asyncio.Semaphore(_HANDSHAKES)

    class Sharing(SSLConnection):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.ssl_context.context = context

        async def connect(self) -> None:
            if self.is_connected:
                return
            async with a_few:
                await super().connect()  # type: ignore[no-untyped-call]

    return Sharing
