"""HTTP as nobody should speak it, to a front that runs: one refusal, in the one shape, and little memory."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator

import psutil
import pytest
import uvicorn

from serving.api import protocol
from serving.api.app import create_app
from serving.settings import Settings
from tests.serving.processes import starting

HOST = b"Host: shop.example\r\n"
GET = b"GET /healthz HTTP/1.1\r\n" + HOST
POST = b"POST /v1/search HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int, psutil.Process]]:
    """Host, port and process of a front alone."""
    with starting(tmp_path_factory.mktemp("front")) as start:
        process, address = start("api")
        host, _, port = address.rpartition(":")
        yield host, int(port), psutil.Process(process.pid)


def told(host: str, port: int, request: bytes) -> bytes:
    """All that is answered until the connection is closed, or an answer is complete."""
    with socket.create_connection((host, port), timeout=20) as client:
        return told_on(client, request)


def told_on(client: socket.socket, request: bytes) -> bytes:
    answer = b""
    try:
        client.sendall(request)
        while piece := client.recv(65536):
            answer += piece
            head, _, body = answer.partition(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
            if length.isdigit() and len(body) >= int(length):
                break
    except ConnectionError:
        pass  # it hung up while we were still talking
    return answer


def code(answer: bytes) -> tuple[int, str]:
    """Status and code of an answer of the one shape."""
    head, _, body = answer.partition(b"\r\n\r\n")
    error = json.loads(body)["error"]
    assert set(error) == {"code", "message", "request_id"}
    assert error["message"]
    return int(head.split()[1]), error["code"]


@pytest.mark.parametrize(
    "request_",
    [
        b"RUBBISH\r\n\r\n",
        b"GET HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/9.9\r\n" + HOST + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"CONNECT inside:443 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # TLS
        b"GET /a\0b HTTP/1.1\r\n" + HOST + b"\r\n",
        "GET /é HTTP/1.1\r\n\r\n".encode(),
        GET + b"X: a\0b\r\n\r\n",
        GET + b"X y: z\r\n\r\n",
        GET + b"X: a\r\n folded\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        GET + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        POST + b"Content-Length: -5\r\n\r\n{}",
        POST + b"Content-Length: +5\r\n\r\n{}",
        POST + "Content-Length: ٥\r\n\r\n{}".encode(),
        POST + b"Content-Length: 99999999999999999999999999\r\n\r\n{}",
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        CHUNKED + b"ZZ\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"-1\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"ffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    ],
    ids=lambda request: repr(request[:60]),
)
def test_what_is_no_http(front: tuple[str, int, psutil.Process], request_: bytes) -> None:
    answer = told(*front[:2], request_)
    assert b"\r\nconnection: close\r\n" in answer
    assert code(answer) == (400, "bad_request")


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", (404, "not_found")),
        (b"TRACE /healthz HTTP/1.1\r\n" + HOST + b"\r\n", (405, "method_not_allowed")),
        (b"GET /page/../../../errors.py HTTP/1.1\r\n" + HOST + b"\r\n", (404, "not_found")),
        (b"GET /page/%2e%2e/%2e%2e/errors.py HTTP/1.1\r\n" + HOST + b"\r\n", (404, "not_found")),
        (b"GET /page/%00.js HTTP/1.1\r\n" + HOST + b"\r\n", (404, "not_found")),
        (b"GET /page/" + b"a" * 5000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", (404, "not_found")),
        (
            b"GET /v1/search HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + HOST + b"\r\n",
            (405, "method_not_allowed"),
        ),
        (POST + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08", (400, "bad_input")),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_is_odd_http(
    front: tuple[str, int, psutil.Process], request_: bytes, wanted: tuple[int, str]
) -> None:
    assert code(told(*front[:2], request_)) == wanted


@pytest.mark.parametrize(
    ("start", "again"),
    [
        (b"GET /", b"a" * 1000),
        (GET, b"X: y\r\n" * 1000),
        (GET + b"X: ", b"y" * 1000),
        (b"", b"\r\n" * 1000),
        (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: y\r\n" * 1000),
        (CHUNKED + b"2\r\n{}\r\n0\r\nX: ", b"y" * 1000),
        (CHUNKED + b"2;", b"x" * 1000),
        (b"", (GET + b"\r\n") * 100),  # whose answers nobody reads
        (CHUNKED, b"1000\r\n" + b" " * 4096 + b"\r\n"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_has_no_end_is_hung_up_on(
    front: tuple[str, int, psutil.Process], start: bytes, again: bytes
) -> None:
    host, port, process = front
    before = process.memory_info().rss
    most = 64 * 2**20 // len(again)
    with socket.create_connection((host, port), timeout=20) as client:
        client.sendall(start)
        with pytest.raises(ConnectionError):
            for _ in range(most):
                client.sendall(again)
    assert process.memory_info().rss - before < 64 * 2**20
    assert told(host, port, GET + b"\r\n").startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_length_of_thousands_of_digits(front: tuple[str, int, psutil.Process]) -> None:
    long = POST + b"Content-Length: " + b"0" * 5000
    assert code(told(*front[:2], long + b"99999999999\r\n\r\n{}")) == (400, "bad_image")
    assert code(told(*front[:2], long + b"2\r\n\r\n{}")) == (422, "bad_input")


def test_what_is_no_http_is_told_after_a_good_answer_too(front: tuple[str, int, psutil.Process]) -> None:
    with socket.create_connection(front[:2], timeout=20) as client:
        assert told_on(client, GET + b"\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
        assert code(told_on(client, b"RUBBISH\r\n\r\n")) == (400, "bad_request")


@pytest.fixture
async def hasty(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[str, int]]:
    """Address of a front that waits for headers a moment only."""
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.3)
    config = uvicorn.Config(
        create_app(Settings()), http=protocol.BoundedHttp, port=0, log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[:2]
    server.should_exit = True
    await serving


@pytest.mark.parametrize("drip", [b"", b"X", GET, b"\r\n"])
async def test_headers_that_do_not_come(hasty: tuple[str, int], drip: bytes) -> None:
    reader, writer = await asyncio.open_connection(*hasty)

    async def dripping() -> None:
        for byte in drip * 100:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.05)

    task = asyncio.create_task(dripping())
    async with asyncio.timeout(20):
        answer = await reader.read()
    task.cancel()
    writer.close()
    if drip != b"X":  # which begins no method
        assert code(answer) == (408, "bad_request")


async def test_an_error_is_not_the_answer_to_another_request(hasty: tuple[str, int]) -> None:
    """A request in work, and rubbish behind it: the connection ends, without an answer that is none."""
    reader, writer = await asyncio.open_connection(*hasty)
    writer.write(GET + b"\r\nGARBAGE\r\n\r\n")
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    assert b"bad_request" not in answer
