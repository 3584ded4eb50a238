import logging

import grpc
import pytest

from serving.errors import (
    BadAddress,
    BadImage,
    BadInput,
    BadSettings,
    Conflict,
    DeadlinePassed,
    Forbidden,
    ImgsearchError,
    ModelMismatch,
    NotFound,
    Overloaded,
    RateLimited,
    Unauthenticated,
    Unavailable,
    Unsupported,
    Unverified,
)

ERRORS = [
    BadInput("k is 0"),
    BadImage("truncated", "the picture breaks off"),
    BadAddress("that is inside"),
    NotFound("no such product"),
    ModelMismatch("other vectors"),
    Unsupported("no text"),
    Overloaded("too much", retry_after_s=2.5),
    RateLimited("too often", retry_after_s=1.5),
    DeadlinePassed("too late"),
    Unavailable("not yet", retry_after_s=0.25),
    Unverified("a flipped bit"),
    Conflict("somebody else was first"),
    BadSettings("IMGSEARCH_X"),
    ImgsearchError("something"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_an_error_of_ours_arrives_as_itself(opened, error: ImgsearchError) -> None:
    async with opened() as line:

        async def fail() -> None:
            raise error

        line.servicer.behave = fail
        with pytest.raises(ImgsearchError) as caught:
            await line.call()
    assert type(caught.value) is type(error)
    assert caught.value.message == error.message
    for name in ("reason", "retry_after_s"):
        assert getattr(caught.value, name, None) == getattr(error, name, None)


@pytest.mark.parametrize("error", [Unauthenticated("API key 1 was revoked"), Forbidden("no scope")])
async def test_a_key_of_ours_that_is_refused_is_no_mistake_of_our_caller(
    opened, error: ImgsearchError, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened() as line:

        async def fail() -> None:
            raise error

        line.servicer.behave = fail
        with pytest.raises(Unavailable, match="a service behind this one refuses this one's API key"):
            await line.call()
    assert caplog.messages == [f"a service behind this one refuses IMGSEARCH_SERVICE_KEY: {error.message}"]


async def test_any_other_error_shows_nothing_of_our_insides(opened, caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as line:

        async def fail() -> None:
            raise RuntimeError("password in here")

        line.servicer.behave = fail
        with caplog.at_level(logging.ERROR), pytest.raises(ImgsearchError) as caught:
            await line.call(metadata=(("x-request-id", "abc-1"),))
    assert str(caught.value) == "internal error; request id abc-1"
    (record,) = caplog.records
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "password in here"


async def test_nobody_listens(opened) -> None:
    async with opened() as line:
        await line.server.drain()
        with pytest.raises(Unavailable) as caught:
            await line.call(timeout=5)
    assert str(caught.value) == "a service behind this one cannot be reached"


async def test_a_request_that_is_too_large_names_the_bound(opened) -> None:
    async with opened(max_message_bytes=1_000) as line:
        assert await line.call((b"x" * 900,)) == "done"
        with pytest.raises(BadInput) as caught:
            await line.call((b"x" * 1_001,))
    assert str(caught.value) == "the request has 1004 bytes; at most 1000 are taken"


async def test_a_long_text_of_the_caller_is_cut(opened) -> None:
    async with opened() as line:

        async def fail() -> None:
            raise NotFound("ü" * 100_000)

        line.servicer.behave = fail
        with pytest.raises(NotFound) as error:
            await line.call()
        assert str(error.value) == "ü" * 500 + "..."


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"GET / HTTP/1.1"])
async def test_bytes_that_are_no_message_are_told_as_that(opened, data: bytes) -> None:
    async with opened() as line:
        call = line.channel.unary_unary("/imgsearch.v1.Embed/Embed")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(data)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert refused.value.details() == "the request is no message of the kind that this method takes"
        assert line.servicer.calls == 0
        assert await line.call() == "done"
