import asyncio
import http.client
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.types import Message

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
