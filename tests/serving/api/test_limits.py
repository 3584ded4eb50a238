import asyncio
import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.types import Message

from serving.api import limits
from serving.api.limits import BodyLimit


def chunks(size_bytes: int) -> Iterator[bytes]:
    """A body whose length nobody announces."""
    for _ in range(size_bytes // 65536):
        yield b"x" * 65536


def test_bytes_are_counted_as_they_come(house: Any) -> None:
    reply = house.http.post(
        "/v1/search/image",
        content=chunks(20 * 2**20),
        headers={"content-type": "multipart/form-data; boundary=b"},
    )
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "bad_image"
    assert reply.json()["error"]["message"] == "the picture has more than 10,485,760 bytes"


def test_an_announced_length_is_refused_before_a_byte_is_sent(house: Any) -> None:
    connection = http.client.HTTPConnection(house.url.removeprefix("http://"), timeout=5)
    connection.putrequest("POST", "/v1/search/image")
    connection.putheader("Content-Length", str(2**40))
    connection.endheaders()
    reply = connection.getresponse()
    assert reply.status == 400
    assert reply.getheader("Connection") == "close"
    connection.close()


async def _scope_and_send() -> tuple[dict[str, Any], list[Message], Any]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "state": {"request_id": "r"}}
    return scope, sent, send


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def never() -> Message:
        await asyncio.sleep(60)
        raise AssertionError

    async def app(*_: object) -> None:
        raise AssertionError("the application must not be asked")

    scope, sent, send = await _scope_and_send()
    await BodyLimit(app, max_picture_bytes=100, timeout_s=0.05)(scope, never, send)
    assert sent[0]["status"] == 504
    assert b"the request did not arrive within 0.05 s" in sent[1]["body"]


async def test_a_caller_that_leaves_is_not_answered() -> None:
    async def gone() -> Message:
        return {"type": "http.disconnect"}

    async def app(*_: object) -> None:
        raise AssertionError("the application must not be asked")

    scope, sent, send = await _scope_and_send()
    await BodyLimit(app, max_picture_bytes=100, timeout_s=1)(scope, gone, send)
    assert sent == []


def test_one_search_too_many_is_told_to_come_back(small_house: Any, patches: Any) -> None:
    """Two may be in work; health, the page and the next search after them are not held up."""
    small_house.detect.delay_s = 1.0
    replies: list[int] = []

    def search(colour: str) -> None:
        reply = small_house.http.post("/v1/search/image", files={"image": patches(colour)})
        replies.append(reply.status_code)

    running = [threading.Thread(target=search, args=(colour,)) for colour in ("red", "blue")]
    for thread in running:
        thread.start()
    until = time.monotonic() + 10
    while len(small_house.detect.calls) < 2:
        assert time.monotonic() < until
        time.sleep(0.01)
    refused = small_house.http.get("/v1/status")
    assert refused.status_code == 429
    assert refused.json()["error"]["message"] == "too many searches at once; try again in a moment"
    assert refused.headers["retry-after"] == "1"
    assert small_house.http.get("/healthz").status_code == 200
    for thread in running:
        thread.join()
    assert replies == [200, 200]
    assert small_house.http.get("/v1/status").status_code == 200


@pytest.fixture
def small_house(run_house: Any) -> Iterator[Any]:
    with run_house(max_concurrency=2) as house:
        yield house


def test_bodies_that_come_slowly_take_no_place(small_house: Any, patches: Any) -> None:
    host, port = small_house.url.removeprefix("http://").split(":")
    head = b"POST /v1/search HTTP/1.1\r\nHost: shop\r\nContent-Length: 100\r\n\r\n{"
    with contextlib.ExitStack() as stack:
        for _ in range(6):
            slow = stack.enter_context(socket.create_connection((host, int(port)), timeout=20))
            slow.sendall(head)
        time.sleep(0.2)
        assert small_house.http.get("/v1/status").status_code == 200
        reply = small_house.http.post("/v1/search/image", files={"image": patches("red")})
        assert reply.status_code == 200


async def test_bodies_on_their_way_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_COMING_BYTES", 100)
    more = asyncio.Event()

    async def app(*_: object) -> None:
        return

    async def half() -> Message:
        if not more.is_set():
            more.set()
            return {"type": "http.request", "body": b"x" * 90, "more_body": True}
        await asyncio.sleep(60)
        raise AssertionError

    async def whole() -> Message:
        return {"type": "http.request", "body": b"x" * 20, "more_body": False}

    limit = BodyLimit(app, max_picture_bytes=100, timeout_s=0.2)
    scope, sent, send = await _scope_and_send()
    slow = asyncio.create_task(limit(scope, half, send))
    await more.wait()
    _, refused, send_refused = await _scope_and_send()
    await limit(scope, whole, send_refused)
    assert refused[0]["status"] == 429
    assert b"too many pictures arrive at once; try again in a moment" in refused[1]["body"]
    await slow  # until its time is over; what it held is free again
    _, sent, send = await _scope_and_send()
    await limit(scope, whole, send)
    assert sent == []


def test_slow_hosts_keep_out_none_but_their_like(run_house: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as host:
        address = "{}:{}".format(*host.getsockname())
        options = {"max_fetches": 2, "fetch_timeout_s": 3.0, "fetch_allow_hosts": {address}}
        with run_house(redis_url=None, **options) as house:
            replies: list[int] = []

            def ask(number: int) -> None:
                asked = {"image_url": f"http://{address}/{number}.jpg"}
                replies.append(house.http.post("/v1/search", json=asked).status_code)

            asking = [threading.Thread(target=ask, args=(number,)) for number in range(5)]
            for thread in asking:
                thread.start()
            time.sleep(0.5)
            assert house.http.post("/v1/search", json={"product_id": "red-bag"}).status_code == 200
            for thread in asking:
                thread.join()
            assert sorted(replies) == [429, 429, 429, 504, 504]
