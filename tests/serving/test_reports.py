import asyncio
import logging
import time
from typing import Any

import pytest
from pydantic import SecretStr

from serving import reports, telemetry
from serving.errors import ImgsearchError, NotFound
from serving.settings import Settings, read_settings
from tests.serving.rpc.conftest import open_line
from tests.serving.sinks import Sink

log = logging.getLogger("a.logger")


@pytest.fixture
def settings(sink: Sink) -> Settings:
    return Settings(environment="staging", sentry_dsn=SecretStr(sink.dsn()))


@pytest.fixture(autouse=True)
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    known = {"generation": "g7", "embedder": "e7", "detector": "d7"}
    monkeypatch.setattr(telemetry, "versions", known)
    return known


def fail(words: str) -> None:
    planted = "planted-in-a-local-variable"
    raise ValueError(words + planted[:0])


async def test_a_call_that_fails_unexpectedly(sink: Sink, settings: Settings) -> None:
    picture = b"\xff\xd8\xff\xe0planted-picture" * 20

    async def behave() -> None:
        fail(f"cannot read {picture!r} at https://shop/a.jpg?planted=1 with {sink.dsn()}")

    async def refuse() -> None:
        raise NotFound("no such thing")

    with reports.sent(settings, "embed"):
        async with open_line() as line:
            line.servicer.behave = refuse
            with pytest.raises(NotFound):
                await line.call()
            line.servicer.behave = behave
            with pytest.raises(ImgsearchError, match="internal error; request id one"):
                await line.call((picture,), metadata=(("x-request-id", "one"),))
    (event,) = sink.events
    assert event["tags"] == {
        "service": "embed",
        "request_id": "one",
        "generation": "g7",
        "embedder": "e7",
        "detector": "d7",
    }
    assert event["environment"] == "staging"
    assert event["release"] == f"imgsearch@{telemetry.VERSION}"
    assert event["level"] == "error"
    assert event["logger"] == "serving.rpc.errors"
    (error,) = event["exception"]["values"]
    assert error["type"] == "ValueError"
    assert error["value"] == "cannot read [bytes] at https://shop/a.jpg?[query] with [secret]"
    assert error["stacktrace"]["frames"][-1]["function"] == "fail"
    body = str(sink.posted)
    assert "vars" not in body
    assert not {"request", "user", "extra", "breadcrumbs", "modules", "contexts"} & event.keys()
    # The lines of the code around are sent, so this file's own words are in them; what they made is not.
    assert str(picture)[2:40] not in body


def test_without_a_dsn_nothing_listens() -> None:
    before = logging.getLogger().handlers[:]
    with reports.sent(Settings(), "embed"):
        assert logging.getLogger().handlers == before


def test_errors_that_are_told_are_not_reported(sink: Sink, settings: Settings) -> None:
    with reports.sent(settings, "embed"):
        log.error("known")
        log.warning("not so bad", exc_info=ValueError("1"))
        log.critical("the end", exc_info=ValueError("2"))
    assert [event["level"] for event in sink.events] == ["fatal"]
    assert not any(isinstance(one, reports.Reports) for one in logging.getLogger().handlers)


def test_a_tracker_that_hangs_holds_up_nobody(sink: Sink, settings: Settings) -> None:
    sink.hang.set()
    started_s = time.monotonic()
    with reports.sent(settings, "embed"):
        for _ in range(300):  # more than are kept
            log.error("failed", exc_info=ValueError("1"))
        assert sink.hung.wait(20)
    assert time.monotonic() - started_s < reports.FLUSH_S + 30


def test_a_dsn_that_is_none_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ImgsearchError, match="IMGSEARCH_SENTRY_DSN is none; one looks like https://KEY@HOST/PROJECT"
    ) as error:
        read_settings(sentry_dsn="planted-secret")
    assert "planted" not in error.value.message


async def test_a_task_that_dies_is_reported(sink: Sink, settings: Settings) -> None:
    async def die() -> None:
        fail("nobody waits")

    with reports.sent(settings, "search"):
        task: asyncio.Task[Any] | None = asyncio.create_task(die())
        await asyncio.wait({task})
        task = None  # now nobody can ask any more
        await asyncio.sleep(0)
    (event,) = sink.events
    assert event["exception"]["values"][0]["value"] == "nobody waits"
    assert event["tags"] == {"service": "search", **telemetry.versions}
