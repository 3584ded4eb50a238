"""Messages on their way to real HTTP servers, good and bad."""

import asyncio
import logging

import pytest
from aiohttp import web
from pydantic import SecretStr

from imgsearch_assets.alerting.alerts import Alert, Kind, Trouble
from imgsearch_assets.alerting.notifier import LOG, SLACK, WEBHOOK, Notifier
from serving.redaction import Redaction
from tests.conftest import Site

PATH = "T0000000-B0000000-very-secret"


def alerts(count: int) -> list[Alert]:
    troubles = [Trouble(Kind.LATE, f"asset_{number}", f"asset_{number} is late") for number in range(count)]
    return [Alert("begun", trouble, 1.0, 2.0, "local") for trouble in troubles]


async def delivered(notifier: Notifier, due: dict[str, list[Alert]]) -> dict[str, int]:
    return await asyncio.to_thread(notifier.deliver, due)


async def ok(_: web.Request) -> web.StreamResponse:
    return web.Response()


def secret(site: Site, path: str = "/hook") -> SecretStr:
    return SecretStr(f"{site.url(path)}/{PATH}")


def test_without_webhooks_the_log_is_told(caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier()
    assert notifier.targets == (LOG,)
    assert notifier.deliver({LOG: alerts(2)}) == {LOG: 2}
    assert [record.message for record in caplog.records] == [
        "[local] asset_0 is late; see docs/operations.md#late-asset_0",
        "[local] asset_1 is late; see docs/operations.md#late-asset_1",
    ]


async def test_each_target_gets_its_own_in_order(site: Site) -> None:
    bodies: dict[str, list[str]] = {"/slack": [], "/hook": []}

    async def take(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        bodies[request.path].append(body["text"] if request.path == "/slack" else body["title"])
        return web.Response(status=204)

    notifier = Notifier(SecretStr(site.add("/slack", take)), SecretStr(site.add("/hook", take)))
    assert notifier.targets == (LOG, SLACK, WEBHOOK)
    taken = await delivered(notifier, {LOG: [], SLACK: alerts(1), WEBHOOK: alerts(3)})
    assert taken == {LOG: 0, SLACK: 1, WEBHOOK: 3}
    assert bodies == {
        "/slack": ["[local] asset_0 is late"],
        "/hook": ["asset_0 is late", "asset_1 is late", "asset_2 is late"],
    }


@pytest.mark.parametrize(("status", "requests"), [(500, 3), (429, 3), (404, 1), (302, 1)])
async def test_what_was_not_taken_is_said_and_the_rest_waits(
    site: Site, caplog: pytest.LogCaptureFixture, status: int, requests: int
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        return web.Response(status=200 if body["subject"] == "asset_0" else status)

    url = site.add(f"/hook/{PATH}", answer)
    taken = await delivered(Notifier(webhook=SecretStr(url)), {WEBHOOK: alerts(3)})
    assert taken == {WEBHOOK: 1}
    assert site.requests[f"/hook/{PATH}"] == 1 + requests
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"webhook takes no alerts: it answered {status}; they are sent later"
    ]


async def test_a_moment_of_weakness_is_tried_again_at_once(site: Site) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=503 if site.requests["/hook"] < 3 else 200)

    notifier = Notifier(webhook=SecretStr(site.add("/hook", answer)))
    assert await delivered(notifier, {WEBHOOK: alerts(1)}) == {WEBHOOK: 1}


async def test_one_that_hangs_holds_up_nobody_and_ends_in_time(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(600)
        return web.Response()

    slack, webhook = SecretStr(site.add(f"/{PATH}", hang)), SecretStr(site.add("/hook", ok))
    notifier = Notifier(slack, webhook, attempt_s=60, whole_s=0.5)
    taken = await delivered(notifier, {SLACK: alerts(5), WEBHOOK: alerts(5)})
    assert taken == {SLACK: 0, WEBHOOK: 5}
    quick = Notifier(slack, attempt_s=0.05, whole_s=60)
    assert await delivered(quick, {SLACK: alerts(5)}) == {SLACK: 0}
    assert [record.message for record in caplog.records if record.name.startswith("imgsearch_assets")] == [
        "slack takes no alerts: no answer in time; they are sent later"
    ] * 2


@pytest.mark.parametrize(
    "where", ["http://127.0.0.1:1", "http://no-such-host.invalid", "https://127.0.0.1:1"]
)
def test_an_address_is_in_no_log(where: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    notifier = Notifier(SecretStr(f"{where}/{PATH}"), SecretStr(f"{where}/?key={PATH}"))
    assert notifier.deliver({SLACK: alerts(1), WEBHOOK: alerts(1)}) == {SLACK: 0, WEBHOOK: 0}
    assert PATH not in caplog.text
    assert "takes no alerts: Client" in caplog.text
    assert PATH not in repr(vars(notifier))


async def test_what_must_not_leave_does_not(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    sent = []

    async def take(request: web.Request) -> web.StreamResponse:
        sent.append(await request.text())
        return web.Response()

    reason = "Redis redis://:hunter22@redis:6379 said no to http://shop/a.jpg?token=abcdef"
    trouble = Trouble(Kind.FAILED, "ann_index", "a run failed", {"reason": reason})
    due = [Alert("begun", trouble, 1.0, 2.0, "local")]
    url = SecretStr(site.add("/x", take))
    notifier = Notifier(url, url, Redaction(["hunter22"]))
    await delivered(notifier, {LOG: due, SLACK: due, WEBHOOK: due})
    assert len(sent) == 2
    for text in [*sent, caplog.text]:
        assert "hunter22" not in text
        assert "abcdef" not in text
        assert "redis:6379" in text
