"""What a request may take: bytes, time to send them, and a place among those in work."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.errors import told
from serving.errors import BadImage, BadInput, DeadlinePassed, ImgsearchError, Overloaded

# Field names, boundaries, filters: what a request carries beside its picture.
AROUND_BYTES = 64 * 2**10
# Commas and brackets of a body that is no form: base64 has none, and millions of values are half a gigabyte.
MOST_VALUES = 20_000
# Of bodies on their way to one application, all together: they take no place among those in work.
MOST_COMING_BYTES = 256 * 2**20
_DIGITS = 15  # of a length that is a number; Python reads no more than some thousands


class BodyLimit:
    """Reads a request's body whole, within a size and a time, before anything else looks at it.

    The size is counted as the bytes come in, so a body of unknown length stops at the cap. A picture in
    JSON is base64, a third larger than itself; one cap for both keeps ``max_picture_bytes`` reachable
    either way, and the picture itself is measured again by ``images.decode.inspect``. With 0 of it there
    is room for all else that a request says. Bodies that come slowly keep nobody out but other bodies, once
    they have ``MOST_COMING_BYTES`` together.
    """

    def __init__(self, app: ASGIApp, max_picture_bytes: int, timeout_s: float) -> None:
        self._app = app
        self._max_picture_bytes = max_picture_bytes
        self._max_bytes = max_picture_bytes * 4 // 3 + AROUND_BYTES
        self._timeout_s = timeout_s
        self._coming_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return await self._app(scope, receive, send)
        try:
            body = await self._read(scope, receive)
        except ImgsearchError as error:
            response = told(error)
            response.headers["Connection"] = "close"  # the rest of the body is not read
            return await response(scope, receive, send)
        if body is None:
            return None
        return await self._app(scope, _replay(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body, or None when the caller went away."""
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0").lstrip("0")
        if len(length) > _DIGITS or int(length or "0") > self._max_bytes:
            raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    self._coming_bytes += len(message.get("body", b""))
                    if len(body) > self._max_bytes:
                        raise self._too_large()
                    if self._coming_bytes > MOST_COMING_BYTES:
                        raise Overloaded("too many pictures arrive at once; try again in a moment")
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            raise DeadlinePassed(f"the request did not arrive within {self._timeout_s:g} s") from None
        finally:
            self._coming_bytes -= len(body)
        kind = headers.get("content-type", "").lower()
        may_be_json = len(body) > MOST_VALUES and not kind.startswith("multipart/")
        if may_be_json and sum(map(body.count, (b",", b"[", b"{"))) > MOST_VALUES:
            raise BadInput(f"the body has more than {MOST_VALUES:,} values")
        return bytes(body)

    def _too_large(self) -> BadInput:
        if self._max_picture_bytes == 0:
            return BadInput(f"the body has more than {self._max_bytes:,} bytes")
        return BadImage("too_many_bytes", f"the picture has more than {self._max_picture_bytes:,} bytes")


def _replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that hands out ``body`` once, and then whatever the connection says."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return left.pop() if left else await receive()

    return replay


class Admission:
    """At most ``max_concurrency`` requests under ``/v1/`` in work; one more is told to come back at once.

    Health, metrics and the page are not counted: they must answer when all else is busy.
    """

    def __init__(self, app: ASGIApp, max_concurrency: int) -> None:
        self._app = app
        self._max_concurrency = max_concurrency
        self._in_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            return await self._app(scope, receive, send)
        if self._in_work >= self._max_concurrency:
            response = told(Overloaded("too many searches at once; try again in a moment"))
            response.headers["Connection"] = "close"
            return await response(scope, receive, send)
        self._in_work += 1
        try:
            return await self._app(scope, receive, send)
        finally:
            self._in_work -= 1
