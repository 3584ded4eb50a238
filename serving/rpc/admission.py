"""How much is in work at once, and for how long."""

import asyncio
from typing import Any

from prometheus_client import Counter

from serving.errors import DeadlinePassed, Overloaded
from serving.rpc.unary import Behaviour, Context, UnaryInterceptor

# What a refused caller is told to wait; the front passes it on as Retry-After.
RETRY_AFTER_S = 1.0


class Admission(UnaryInterceptor):
    """Refuses calls beyond ``limit`` in work, at once, so that those in work end in time."""

    def __init__(self, limit: int, refused: Counter) -> None:
        self._limit = limit
        self._refused = refused
        self._in_work = 0

    async def call(self, method: str, behaviour: Behaviour, request: Any, context: Context) -> Any:
        if self._in_work >= self._limit:
            self._refused.inc()
            raise Overloaded(f"{self._limit} calls are in work already; try again in a moment", RETRY_AFTER_S)
        self._in_work += 1
        try:
            return await behaviour(request, context)
        finally:
            self._in_work -= 1


class Deadline(UnaryInterceptor):
    """Gives a call that brings no deadline the server's; gRPC itself ends those that bring one."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    async def call(self, method: str, behaviour: Behaviour, request: Any, context: Context) -> Any:
        if context.time_remaining() is not None:
            return await behaviour(request, context)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await behaviour(request, context)
        except TimeoutError:
            raise DeadlinePassed(f"the call took more than {self._timeout_s:g} s") from None
