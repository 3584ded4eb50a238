"""URLs that mean to lead inside, in every disguise, through the fetcher of front and pipeline."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.helpers import is_ip_address
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.errors import BadAddress, DeadlinePassed, ImgsearchError, Unavailable, Unreachable
from serving.images.address import Guard, is_global
from serving.images.fetch import PictureFetcher

if TYPE_CHECKING:
    from tests.conftest import Site


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that anything connects to; no connection is made."""
    found: list[str] = []

    async def sock_connect(_: object, sock: socket.socket, address: tuple[str, int]) -> None:
        found.append(address[0])
        sock.close()
        raise ConnectionRefusedError

    monkeypatch.setattr("asyncio.selector_events.BaseSelectorEventLoop.sock_connect", sock_connect)
    return found


def resolving(monkeypatch: pytest.MonkeyPatch, *rounds: list[str] | int) -> None:
    """Each look-up in turn gives these addresses, or fails with that number; the last one for ever."""
    left = list(rounds)

    async def getaddrinfo(_: object, host: str, port: int, **__: object) -> list[object]:
        host.encode("idna")  # as the real one, which refuses what is no name
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, int):
            raise socket.gaierror(found, "told by the test")
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (address, port),
            )
            for address in found
        ]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)


LOOPBACK = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.1.",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "１２７.0.0.1",
    "localhost",
    "LOCALHOST",
    "[::1]",
    "[::1%25lo]",
    "[::ffff:127.0.0.1]",
    "[::127.0.0.1]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[::]",
    "0",
    "0.0.0.0",
    "%31%32%37.0.0.1",
    "127.0.0.1%00.example",
]


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.parametrize(
    "url",
    [
        "http://{}/",
        "HTTPS://{}:443/a.jpg",
        "http://{}#@shop.example/",
        "http://shop.example@{}/",
        "http://shop.example:80@{}:80/",
        "http://{}\t/",
        "http:///{}/",
        "http:{}/",
        "//{}/a.jpg",
        "http://{}\\@shop.example/",
        "http://shop.example\\@{}/",
    ],
)
async def test_no_disguise_of_loopback_is_dialled(host: str, url: str, dialled: list[str]) -> None:
    async with PictureFetcher(timeout_s=5) as fetch:
        with pytest.raises(BadAddress):
            await fetch.fetch(url.format(host))
    assert dialled == []


@pytest.mark.parametrize(
    "scheme", ["file", "ftp", "gopher", "dict", "data", "javascript", "jar", "ws", "HTTP+x", ""]
)
async def test_other_schemes(scheme: str) -> None:
    async with PictureFetcher() as fetch:
        with pytest.raises(BadAddress, match=r"^the URL must begin with http:// or https://$"):
            await fetch.fetch(f"{scheme}://127.0.0.1/etc/passwd")


addresses = st.one_of(
    st.ip_addresses(v=4),
    st.ip_addresses(v=6),
    st.from_regex(r"fe80::[0-9a-f]{1,4}%[a-z0-9]+", fullmatch=True),
)


@given(addresses)
def test_what_aiohttp_dials_unresolved_the_guard_has_checked(address: object) -> None:
    """A literal address meets no resolver, so the URL itself is what is checked."""
    text = str(address)
    assert is_ip_address(text)
    host = f"[{text.replace('%', '%25')}]" if ":" in text else text
    try:
        assert is_global(Guard().url(f"http://{host}/").host or "")
    except BadAddress:
        assert not is_global(text)


@given(st.ip_addresses(v=4, network="0.0.0.0/0"))
def test_what_carries_an_address_is_as_public_as_it(address: IPv4Address) -> None:
    number = int(address)
    for carrier in (0xFFFF << 32, 0x0064FF9B << 96):  # mapped, NAT64
        assert is_global(str(ip_address(carrier | number))) == is_global(str(address))
    assert is_global(str(ip_address((0x2002 << 112) | (number << 80)))) == is_global(str(address))


@pytest.mark.parametrize(
    "address",
    [
        "3fff::1",
        "3fff:fff:ffff::1",
        "2001:20::1",
        "2001:30::1",
        "2001:3::1",
        "2001:1::1",
        "5f00::1",
        "100:0:0:1::1",
    ],
)
def test_ranges_that_python_may_not_know(address: str) -> None:
    """IANA IPv6 special-purpose address registry."""
    assert not is_global(address)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.text(max_size=80), st.from_regex(r"[a-z.\-_%0-9]{1,80}", fullmatch=True)),
    st.text(max_size=20),
)
def test_any_host_at_all_is_bad_or_not_there(host: str, path: str) -> None:
    """Also what a URL may hold and a name may not, as an empty label."""

    async def fetched() -> None:
        async with PictureFetcher() as fetch:
            with pytest.raises(BadAddress):
                await fetch.fetch(f"http://{host}/{path}")

    with pytest.MonkeyPatch.context() as patch:
        resolving(patch, socket.EAI_NONAME)
        asyncio.run(fetched())


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("a" * 64 + ".example", "a" * 64 + ".example is not the name of a host"),
        ("a..example", "a..example is not the name of a host"),
        ("nosuch.invalid", "the host nosuch.invalid could not be found"),
    ],
)
async def test_a_name_that_nobody_has(host: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, socket.EAI_NONAME)
    async with PictureFetcher() as fetch:
        with pytest.raises(BadAddress) as raised:
            await fetch.fetch(f"http://{host}/")
    assert raised.value.message == message


async def test_our_own_resolver_may_be_down(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, socket.EAI_AGAIN)
    async with PictureFetcher() as fetch:
        with pytest.raises(Unavailable, match=r"^the host shop\.example cannot be looked up now$"):
            await fetch.fetch("http://shop.example/")


async def test_one_bad_address_among_good_ones_dials_none(
    monkeypatch: pytest.MonkeyPatch, dialled: list[str]
) -> None:
    for inner in ("10.0.0.1", "::1", "::ffff:169.254.169.254", "fe80::1%eth0"):
        for found in (["8.8.8.8", inner], [inner, "8.8.8.8"], ["8.8.8.8", "2606:4700::1111", inner]):
            resolving(monkeypatch, found)
            async with PictureFetcher() as fetch:
                with pytest.raises(BadAddress, match="does not lead to a public address"):
                    await fetch.fetch("http://shop.example/")
    assert dialled == []


async def test_every_dial_is_of_an_answer_that_was_checked(
    monkeypatch: pytest.MonkeyPatch, dialled: list[str]
) -> None:
    """A name whose answer changes after each look-up, asked for again and again."""
    resolving(monkeypatch, ["8.8.8.8"], ["127.0.0.1"], ["8.8.4.4"], ["10.0.0.1"])
    for _ in range(4):
        async with PictureFetcher() as fetch:
            with pytest.raises(BadAddress):
                await fetch.fetch("http://flips.example/")
    assert set(dialled) <= {"8.8.8.8", "8.8.4.4"}


@pytest.mark.parametrize("hop", [0, 1, 2])
@pytest.mark.parametrize(
    "inside", ["http://127.0.0.1:1/x", "http://[::ffff:10.0.0.1]/x", "http://localhost/x"]
)
async def test_a_redirect_leads_inside_at_no_hop(site: "Site", hop: int, inside: str) -> None:
    def to(target: str) -> object:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(status=302, headers={"Location": target})

        return answer

    for step in range(hop):
        site.add(f"/{step}", to(f"/{step + 1}"))  # type: ignore[arg-type]
    site.add(f"/{hop}", to(inside))  # type: ignore[arg-type]
    async with PictureFetcher(allow_hosts={site.host}) as fetch:
        with pytest.raises(BadAddress, match="public address"):
            await fetch.fetch(site.url("/0"))
    assert site.requests[f"/{hop}"] == 1


async def test_no_cookie_and_no_origin_is_carried_on(site: "Site") -> None:
    seen: list[web.Request] = []

    async def first(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/2", "Set-Cookie": "a=b; Path=/"})

    async def second(request: web.Request) -> web.Response:
        seen.append(request)
        return web.Response(body=b"x", headers={"Set-Cookie": "c=d; Path=/"})

    site.add("/1", first)
    site.add("/2", second)
    async with PictureFetcher(allow_hosts={site.host}) as fetch:
        await fetch.fetch(site.url("/1"))
        await fetch.fetch(site.url("/1"))
    assert len(seen) == 2
    for request in seen:
        assert not {"Cookie", "Referer", "Authorization", "Origin"} & set(request.headers)


@asynccontextmanager
async def endless(start: bytes, again: bytes, pause_s: float = 0.0) -> AsyncIterator[str]:
    """A host that says ``start``, and then ``again`` until it is hung up on."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(start)
        try:
            while True:
                writer.write(again)
                await writer.drain()
                await asyncio.sleep(pause_s)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"
    finally:
        server.close()
        await asyncio.sleep(0.05)  # who still writes sees that nobody reads


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("start", "again", "pause_s"),
    [
        (OK, b"X: y\r\n", 0),
        (OK, b"X" * 1000, 0),
        (OK + b"X: ", b"y" * 1000, 0),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0),
        (b"", b"\r\n", 0),
        (CHUNKED + b"1;", b"x" * 1000, 0),
        (CHUNKED + b"0\r\n", b"X: y\r\n", 0),
        (CHUNKED, b"1\r\nx\r\n", 0),
        (OK + b"Content-Length: -1\r\n\r\n", b"x" * 1000, 0),
        (OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", b"x", 0.01),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", b"x" * 1000, 0),
        (OK + b"\r\n", b"x", 0.01),
        (OK + b"Content-Encoding: gzip\r\n\r\n", b"\0" * 10_000, 0),
    ],
    ids=str,
)
async def test_a_host_without_end_is_hung_up_on(start: bytes, again: bytes, pause_s: float) -> None:
    async with endless(start, again, pause_s) as host:
        async with PictureFetcher(allow_hosts={host}, timeout_s=1.0, max_bytes=100_000) as fetch:
            async with asyncio.timeout(20):
                with pytest.raises(ImgsearchError) as raised:
                    await fetch.fetch(f"http://{host}/")
    assert isinstance(raised.value, BadAddress | DeadlinePassed) or raised.value.code == "bad_image"


async def test_a_host_that_refuses_is_the_fault_of_the_url() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    async with PictureFetcher(allow_hosts={host}) as fetch:
        with pytest.raises(Unreachable, match=r"^127\.0\.0\.1 could not be reached, or hung up$"):
            await fetch.fetch(f"http://{host}/")


async def test_a_network_of_ours_that_is_down_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sock_connect(_: object, sock: socket.socket, __: object) -> None:
        sock.close()
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr("asyncio.selector_events.BaseSelectorEventLoop.sock_connect", sock_connect)
    async with PictureFetcher() as fetch:
        with pytest.raises(Unavailable, match=r"^there is no way to 8\.8\.8\.8 from here$"):
            await fetch.fetch("http://8.8.8.8/")
