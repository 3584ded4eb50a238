"""Fetching a picture from a URL that somebody else chose, for the API and for the pipeline alike."""

import asyncio
import errno
import socket
from collections.abc import Set
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from serving.errors import (
    BadAddress,
    BadImage,
    BadInput,
    DeadlinePassed,
    ImgsearchError,
    Unavailable,
    Unreachable,
)
from serving.images.address import Guard, GuardedResolver
from serving.images.decode import MAX_BYTES

MAX_REDIRECTS = 3

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, socket.EAI_NODATA})
_NO_WAY = frozenset({errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTUNREACH})
_USER_AGENT = "imgsearch/0.1 (product pictures)"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A host's answer. ``data`` is there only with status 200; ``retry_after`` is the header as it came."""

    url: str
    status: int
    data: bytes = b""
    etag: str | None = None
    last_modified: str | None = None
    retry_after: str | None = None


def _failed(host: str, error: Exception) -> ImgsearchError:
    """Whose fault it is, as far as can be told: a firewall of ours that drops packets looks like theirs."""
    number = getattr(error, "errno", None)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        if number in _NO_SUCH_NAME:
            return Unreachable(f"the host {error.host} could not be found")
        return Unavailable(f"the host {error.host} cannot be looked up now")
    if number in _NO_WAY:
        return Unavailable(f"there is no way to {host} from here")
    return Unreachable(f"{host} could not be reached, or hung up")


class PictureFetcher:
    """An HTTP client that reaches public addresses only, and takes no more bytes or time than it is told.

    ``allow_hosts`` (``host:port``) are exempt from the address check. ``connections`` and
    ``connections_per_host`` bound what is open at once; a call over them waits, on its own time.
    """

    def __init__(
        self,
        *,
        allow_hosts: Set[str] = frozenset(),
        max_bytes: int = MAX_BYTES,
        timeout_s: float = 5.0,
        connections: int = 64,
        connections_per_host: int = 16,
    ) -> None:
        self._guard = Guard(allow_hosts)
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._connections = connections
        self._connections_per_host = connections_per_host
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=GuardedResolver(self._guard),
                limit=self._connections,
                limit_per_host=self._connections_per_host,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),  # one clock over all redirects: ours
            headers={"User-Agent": _USER_AGENT, "Accept": "image/*", "Accept-Encoding": "identity"},
            auto_decompress=False,  # a body is what was sent: nothing unpacks here
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def fetch(self, url: str, etag: str | None = None, last_modified: str | None = None) -> Fetched:
        """The answer of the host, whatever its status; with validators it may be 304.

        Raises ``BadAddress``, ``BadImage`` (too many bytes), ``DeadlinePassed``, ``Unreachable`` when there
        is no such host, it refuses or hangs up, and ``Unavailable`` when our own network does not get there.
        """
        headers = {}
        if etag is not None:
            headers["If-None-Match"] = etag
        elif last_modified is not None:
            headers["If-Modified-Since"] = last_modified
        checked = self._guard.url(url)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(checked, headers)
        except TimeoutError:
            raise DeadlinePassed(
                f"{checked.host} did not send the picture within {self._timeout_s:g} s"
            ) from None
        except aiohttp.InvalidURL as error:
            raise BadAddress(f"not a URL: {error}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _failed(checked.host or "", error) from error

    async def picture(self, url: str) -> bytes:
        """The bytes at ``url``. Raises as ``fetch`` does, and ``BadInput`` when the host has none to give."""
        fetched = await self.fetch(url)
        if fetched.status != 200:
            raise BadInput(f"the picture's host answered {fetched.status}")
        return fetched.data

    async def _follow(self, url: URL, headers: dict[str, str]) -> Fetched:
        if self._session is None:
            raise RuntimeError("use PictureFetcher with 'async with'")
        for _ in range(MAX_REDIRECTS + 1):
            async with self._session.get(url, headers=headers, allow_redirects=False) as response:
                location = response.headers.get("Location")
                if response.status not in _REDIRECTS or location is None:
                    return await self._read(url, response)
            try:
                target = url.join(URL(location))
            except ValueError as error:
                raise BadAddress(f"redirected to what is not a URL: {error}") from None
            url = self._guard.url(str(target))
        raise BadAddress(f"redirected more than {MAX_REDIRECTS} times")

    async def _read(self, url: URL, response: aiohttp.ClientResponse) -> Fetched:
        data = await self._body(response) if response.status == 200 else b""
        return Fetched(
            url=str(url),
            status=response.status,
            data=data,
            etag=response.headers.get("ETag"),
            last_modified=response.headers.get("Last-Modified"),
            retry_after=response.headers.get("Retry-After"),
        )

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        if (response.content_length or 0) > self._max_bytes:
            response.close()
            raise BadImage(
                "too_many_bytes",
                f"the picture has {response.content_length:,} bytes; at most {self._max_bytes:,}",
            )
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > self._max_bytes:
                response.close()
                raise BadImage("too_many_bytes", f"the picture has more than {self._max_bytes:,} bytes")
        return bytes(body)
