import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from serving.errors import BadAddress, BadImage, BadInput, DeadlinePassed, Unreachable
from serving.images.fetch import Fetched, PictureFetcher

if TYPE_CHECKING:
    from tests.conftest import Site


def fetcher(site: "Site", **options: float) -> PictureFetcher:
    return PictureFetcher(allow_hosts={site.host}, **options)  # type: ignore[arg-type]


def redirecting(target: str, status: int = 302) -> object:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": target})

    return answer


@asynccontextmanager
async def raw_server(*pieces: bytes, hold: bool = False) -> AsyncIterator[str]:
    """A server that writes ``pieces`` to whoever asks, then hangs up, or with ``hold`` says no more."""
    done: list[asyncio.Task[None] | None] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done.append(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if hold:
            await reader.read()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"
    await asyncio.gather(*(task for task in done if task))


async def test_a_picture_and_its_validators(site: "Site") -> None:
    url = site.add("/a.jpg", b"bytes", ETag='"v1"', **{"Last-Modified": "Mon, 01 Jun 2026 00:00:00 GMT"})
    async with fetcher(site) as fetch:
        assert await fetch.fetch(url) == Fetched(
            url, 200, b"bytes", '"v1"', "Mon, 01 Jun 2026 00:00:00 GMT", None
        )
        assert await fetch.picture(url) == b"bytes"


async def test_what_is_unchanged_is_not_sent(site: "Site") -> None:
    async def answer(request: web.Request) -> web.Response:
        same = request.headers.get("If-None-Match") == '"v1"'
        since = request.headers.get("If-Modified-Since") == "Mon, 01 Jun 2026 00:00:00 GMT"
        return web.Response(status=304 if same or since else 200, body=None if same or since else b"x")

    url = site.add("/a.jpg", answer)
    async with fetcher(site) as fetch:
        assert (await fetch.fetch(url)).status == 200
        assert (await fetch.fetch(url, etag='"v1"')).status == 304
        assert (await fetch.fetch(url, last_modified="Mon, 01 Jun 2026 00:00:00 GMT")).status == 304
        assert (await fetch.fetch(url, etag='"v2"')).data == b"x"


async def test_a_refusal_is_handed_on_with_its_advice(site: "Site") -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=429, body=b"slow down", headers={"Retry-After": "7"})

    async with fetcher(site) as fetch:
        fetched = await fetch.fetch(site.add("/a.jpg", answer))
        assert (fetched.status, fetched.data, fetched.retry_after) == (429, b"", "7")
        with pytest.raises(BadInput, match=r"^the picture's host answered 429$"):
            await fetch.picture(site.url("/a.jpg"))


async def test_redirects_are_followed_three_times(site: "Site") -> None:
    site.add("/3", b"here")
    site.add("/2", redirecting("/3", 307))  # type: ignore[arg-type]
    site.add("/1", redirecting("2", 301))  # type: ignore[arg-type]
    site.add("/0", redirecting(site.url("/1"), 308))  # type: ignore[arg-type]
    site.add("/-1", redirecting("/0"))  # type: ignore[arg-type]
    async with fetcher(site) as fetch:
        fetched = await fetch.fetch(site.url("/0"))
        assert (fetched.data, fetched.url) == (b"here", site.url("/3"))
        with pytest.raises(BadAddress, match=r"^redirected more than 3 times$"):
            await fetch.fetch(site.url("/-1"))
    assert site.requests["/3"] == 1


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("http://127.0.0.1:1/x", "127.0.0.1 is not a public address"),
        ("http://10.1.2.3/x", "10.1.2.3 is not a public address"),
        ("http://169.254.169.254/latest/meta-data/", "169.254.169.254 is not a public address"),
        ("//[::1]/x", "::1 is not a public address"),
        ("http://localhost/x", "localhost does not lead to a public address"),
        ("file:///etc/passwd", "the URL must begin with http:// or https://"),
        ("http://2130706433/x", "not a URL: 2130706433 - is not a canonical IPv4 address"),
        ("http://[::1", "redirected to what is not a URL: Invalid IPv6 URL"),
    ],
)
async def test_a_redirect_never_leads_inside(site: "Site", target: str, message: str) -> None:
    site.add("/out", redirecting(target))  # type: ignore[arg-type]
    async with fetcher(site) as fetch:
        with pytest.raises(BadAddress) as raised:
            await fetch.fetch(site.url("/out"))
    assert raised.value.message == message


@pytest.mark.parametrize("host", ["xn--0.com", "xn--999999999.com"])
async def test_a_name_that_nothing_makes_is_no_address(site: "Site", host: str) -> None:
    async with fetcher(site) as client:
        with pytest.raises(BadAddress, match="not a URL"):
            await client.fetch(f"http://{host}/a.jpg")


async def test_a_redirect_loop_ends(site: "Site") -> None:
    site.add("/loop", redirecting("/loop"))  # type: ignore[arg-type]
    async with fetcher(site) as fetch:
        with pytest.raises(BadAddress, match=r"^redirected more than 3 times$"):
            await fetch.fetch(site.url("/loop"))
    assert site.requests["/loop"] == 4


async def test_loopback_is_refused_without_permission(site: "Site") -> None:
    async with PictureFetcher() as fetch:
        with pytest.raises(BadAddress, match=r"^127\.0\.0\.1 is not a public address$"):
            await fetch.fetch(site.url("/a.jpg"))
    assert not site.requests


async def test_a_resolver_that_changes_its_mind_is_asked_once(
    site: "Site", monkeypatch: pytest.MonkeyPatch
) -> None:
    """First a public address, then loopback: what was checked is what is dialled."""
    port = int(site.host.rsplit(":", 1)[1])
    asked: list[str] = []

    async def getaddrinfo(_: object, host: str, *args: object, **more: object) -> list[object]:
        asked.append(host)
        address = "203.0.113.7" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    dialled: list[str] = []

    async def sock_connect(_: object, sock: socket.socket, address: tuple[str, int]) -> None:
        dialled.append(address[0])
        sock.close()
        raise ConnectionRefusedError

    monkeypatch.setattr("serving.images.address.is_global", lambda address: address == "203.0.113.7")
    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr("asyncio.selector_events.BaseSelectorEventLoop.sock_connect", sock_connect)
    async with PictureFetcher() as fetch:
        with pytest.raises(Unreachable):
            await fetch.fetch(f"http://flips.example:{port}/a.jpg")
    assert asked == ["flips.example"]
    assert dialled == ["203.0.113.7"]
    assert not site.requests


async def test_too_many_bytes_announced_are_not_read(site: "Site") -> None:
    async with fetcher(site, max_bytes=1000) as fetch:
        with pytest.raises(BadImage) as raised:
            await fetch.fetch(site.add("/a.jpg", b"x" * 1001))
        assert raised.value.reason == "too_many_bytes"
        assert raised.value.message == "the picture has 1,001 bytes; at most 1,000"
        assert (await fetch.fetch(site.add("/b.jpg", b"x" * 1000))).data == b"x" * 1000


async def test_an_endless_body_is_cut_off(site: "Site") -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 4096)

    async with fetcher(site, max_bytes=100_000) as fetch:
        with pytest.raises(BadImage, match=r"^the picture has more than 100,000 bytes$"):
            await fetch.fetch(site.add("/endless.jpg", endless))


async def test_a_slow_host_runs_out_of_time_over_all_redirects(site: "Site") -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.15)
        return web.Response(status=302, headers={"Location": f"/{int(request.path[1:]) + 1}"})

    for step in range(3):
        site.add(f"/{step}", slow)
    site.add("/3", b"late")
    async with fetcher(site, timeout_s=0.3) as fetch:
        with pytest.raises(DeadlinePassed, match=r"^127\.0\.0\.1 did not send the picture within 0\.3 s$"):
            await fetch.fetch(site.url("/0"))


async def test_a_body_that_drips_runs_out_of_time() -> None:
    async with raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx", hold=True) as host:
        async with PictureFetcher(allow_hosts={host}, timeout_s=0.2) as fetch:
            with pytest.raises(DeadlinePassed):
                await fetch.fetch(f"http://{host}/")


async def test_a_host_that_promises_more_than_it_sends() -> None:
    async with raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf") as host:
        async with PictureFetcher(allow_hosts={host}) as fetch:
            with pytest.raises(Unreachable, match=r"^127\.0\.0\.1 could not be reached, or hung up$"):
                await fetch.fetch(f"http://{host}/")


async def test_a_host_that_does_not_speak_http() -> None:
    async with raw_server(b"220 mail.example ESMTP\r\n") as host:
        async with PictureFetcher(allow_hosts={host}) as fetch:
            with pytest.raises(Unreachable):
                await fetch.fetch(f"http://{host}/")


async def test_a_packed_body_is_not_unpacked(site: "Site") -> None:
    url = site.add("/a.jpg", b"\x1f\x8b packed", **{"Content-Encoding": "gzip"})
    async with fetcher(site) as fetch:
        assert await fetch.picture(url) == b"\x1f\x8b packed"


async def test_connections_to_a_host_are_bounded(site: "Site") -> None:
    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(0.02)
        return web.Response(body=b"x")

    url = site.add("/a.jpg", slow)
    async with fetcher(site, connections_per_host=3) as fetch:
        await asyncio.gather(*(fetch.fetch(url) for _ in range(12)))
    assert site.most_at_once == 3
    assert site.requests["/a.jpg"] == 12


async def test_it_is_used_as_a_context() -> None:
    with pytest.raises(RuntimeError, match="use PictureFetcher with 'async with'"):
        await PictureFetcher().fetch("http://shop.example/")
