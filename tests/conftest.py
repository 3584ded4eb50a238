"""A web site on loopback for tests that fetch: every path answers as the test says, and is counted."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from hypothesis import settings

# A machine that is busy with something else fails no property.
settings.register_profile("imgsearch", deadline=None)
settings.load_profile("imgsearch")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """Answers on ``host``; ``requests`` counts them by path, ``most_at_once`` over all."""

    def __init__(self) -> None:
        self.host = ""
        self.requests: Counter[str] = Counter()
        self.most_at_once = 0
        self._handlers: dict[str, Handler] = {}
        self._now = 0

    def add(self, path: str, answer: bytes | Handler, **headers: str) -> str:
        """Serve ``answer`` at ``path``; the URL."""
        if isinstance(answer, bytes):
            body = answer

            async def fixed(_: web.Request) -> web.StreamResponse:
                return web.Response(body=body, headers=headers)

            answer = fixed
        self._handlers[path] = answer
        return self.url(path)

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests[request.path] += 1
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            handler = self._handlers.get(request.path)
            return await handler(request) if handler else web.Response(status=404)
        finally:
            self._now -= 1


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    found = Site()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    host, port = runner.addresses[0][:2]
    found.host = f"{host}:{port}"
    yield found
    await runner.cleanup()
