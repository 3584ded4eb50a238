"""Late: told; still late: not told; in time: told. By Dagster's own daemons and a clock that moves."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.scheduler.instigation import InstigatorType
from dagster._core.test_utils import freeze_time
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.freshness import FreshnessDaemon
from dagster._daemon.sensor import execute_sensor_iteration

from imgsearch_assets.catalogue.contract import PRODUCTS
from imgsearch_assets.definitions import REFRESH, build_definitions
from imgsearch_assets.environment import read_environment
from tests.conftest import Site

CHAIN = (
    "product_snapshot",
    "catalogue_diff",
    "product_images",
    "ann_index",
    "feature_store",
    "staging_release",
)
HOUR = 3600.0

# Dagster's own snapshot of a schedule reads what Dagster will remove.
pytestmark = pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition:DeprecationWarning")


class Receiver:
    """A webhook: what it took, and what it does instead while ``broken``."""

    def __init__(self, site: Site, path: str) -> None:
        self.taken: list[dict[str, Any]] = []
        self.broken: Callable[[], Any] | None = None
        self.url = site.add(path, self._answer)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self.broken is not None:
            found = self.broken()
            return await found if asyncio.iscoroutine(found) else found
        self.taken.append(await request.json())
        return web.Response()

    @property
    def titles(self) -> list[str]:
        return [body["title"] if "title" in body else body["text"] for body in self.taken]


@pytest.fixture
def slack(site: Site) -> Receiver:
    return Receiver(site, "/services/T000/B000/secret-of-slack")


@pytest.fixture
def webhook(site: Site) -> Receiver:
    return Receiver(site, "/hook")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as found:
        yield found


LOCATION = """
from imgsearch_assets.definitions import build_definitions
from imgsearch_assets.environment import read_environment

defs = build_definitions(read_environment())
"""


class Platform:
    """The code location as it is, its records, Dagster's daemons, and a clock at ``now``."""

    def __init__(self, instance: dg.DagsterInstance, folder: Path) -> None:
        self.instance = instance
        self.catalogue = folder / "catalogue.parquet"
        self.now = time.time()
        (folder / "location.py").write_text(LOCATION)
        origin = LoadableTargetOrigin(python_file=str(folder / "location.py"))
        self._target = InProcessWorkspaceLoadTarget([InProcessCodeLocationOrigin(origin)])
        self.write()

    def write(self) -> None:
        row = dict.fromkeys(PRODUCTS.names, "")
        row |= {"product_id": "a", "price": 1, "in_stock": True, "image_urls": ["http://shop/1.jpg"]}
        row |= {"updated_at": None}
        pq.write_table(pa.Table.from_pylist([row], schema=PRODUCTS), self.catalogue)

    def made(self, *names: str) -> None:
        with freeze_time(self.now):
            for name in names:
                self.instance.report_runless_asset_event(dg.AssetMaterialization(name))

    async def look(self) -> None:
        """Half a minute later: Dagster's evaluation of freshness, then its sensors."""
        self.now += 31
        await asyncio.to_thread(self._look)

    def _look(self) -> None:
        with freeze_time(self.now), WorkspaceProcessContext(self.instance, self._target) as context:
            list(FreshnessDaemon().run_iteration(context))
            list(execute_sensor_iteration(context, logging.getLogger("sensors"), None, None))
        for state in self.instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
            if state.instigator_name == "freshness_alerts":
                ticks = self.instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
                assert ticks[0].error is None, ticks[0].error.to_string()


@pytest.fixture
def platform(
    instance: dg.DagsterInstance,
    slack: Receiver,
    webhook: Receiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Platform:
    monkeypatch.delenv("IMGSEARCH_REDIS_URL", raising=False)
    monkeypatch.setenv("IMGSEARCH_HOME", str(tmp_path))
    monkeypatch.setenv("IMGSEARCH_CATALOGUE", str(tmp_path / "catalogue.parquet"))
    monkeypatch.setenv("IMGSEARCH_ALERT_SLACK_WEBHOOK", slack.url)
    monkeypatch.setenv("IMGSEARCH_ALERT_WEBHOOK", webhook.url)
    monkeypatch.setenv("IMGSEARCH_DAGSTER_URL", "http://dagster.example/")
    return Platform(instance, tmp_path)


async def test_late_is_told_once_and_recovered_once(
    platform: Platform, slack: Receiver, webhook: Receiver
) -> None:
    platform.made(*CHAIN)
    await platform.look()
    platform.now += 29 * HOUR  # past the first window
    await platform.look()
    assert (slack.taken, webhook.taken) == ([], [])

    platform.made("product_snapshot")  # the catalogue is read; what comes after it is not done
    platform.now += 2 * HOUR
    await platform.look()
    assert webhook.titles == ["ann_index is late", "staging_release is late"]
    assert slack.titles == [f"[local] {title}" for title in webhook.titles]
    for _ in range(3):
        platform.now += HOUR
        await platform.look()
    assert len(webhook.taken) == len(slack.taken) == 2

    platform.made("ann_index")
    await platform.look()
    assert webhook.titles[2:] == ["ann_index is in time again"]
    platform.made("staging_release")
    await platform.look()
    await platform.look()
    assert webhook.titles[3:] == ["staging_release is in time again"]
    assert slack.titles == [f"[local] {title}" for title in webhook.titles]


async def test_the_message_says_what_is_late_and_what_holds_it_up(
    platform: Platform, slack: Receiver, webhook: Receiver
) -> None:
    platform.made(*CHAIN)
    platform.now += 31 * HOUR
    platform.made("product_snapshot", "catalogue_diff", "product_images", "staging_release")
    job = build_definitions(read_environment()).resolve_job_def(REFRESH)
    asked = [dg.AssetKey("catalogue_diff")]
    result = await asyncio.to_thread(
        job.execute_in_process, instance=platform.instance, asset_selection=asked, raise_on_error=False
    )
    await platform.look()
    (late,) = [body for body in webhook.taken if body["kind"] == "late"]
    assert late == {
        "version": 1,
        "id": f"late/ann_index@{platform.now:.3f}/begun",
        "event": "begun",
        "kind": "late",
        "subject": "ann_index",
        "environment": "local",
        "title": "ann_index is late",
        "facts": {
            "age": "31 h",
            "promise": "made anew within 30 h",
            "held_up_by": "catalogue_diff: its last run failed: "
            "product_snapshot was never materialized; run the job refresh",
        },
        "since": datetime.fromtimestamp(platform.now, UTC).isoformat(timespec="seconds"),
        "at": datetime.fromtimestamp(platform.now, UTC).isoformat(timespec="seconds"),
        "run_id": result.run_id,
        "run_url": f"http://dagster.example/runs/{result.run_id}",
        "runbook": "docs/operations.md#late-ann_index",
    }


async def test_a_webhook_that_was_away_is_told_later_and_the_others_only_once(
    platform: Platform, slack: Receiver, webhook: Receiver
) -> None:
    platform.made(*CHAIN)
    platform.now += 31 * HOUR
    platform.made("product_snapshot", "staging_release")
    slack.broken = lambda: web.Response(status=404)
    for _ in range(2):
        await platform.look()
    assert (slack.titles, webhook.titles) == ([], ["ann_index is late"])
    slack.broken = None
    for _ in range(2):
        await platform.look()
    assert (slack.titles, webhook.titles) == (["[local] ann_index is late"], ["ann_index is late"])


async def test_a_catalogue_that_cannot_be_read_is_told_when_it_stays_so(
    platform: Platform, webhook: Receiver
) -> None:
    platform.catalogue.unlink()
    await platform.look()
    platform.write()
    await platform.look()
    platform.catalogue.write_bytes(b"half a file")
    await platform.look()
    assert webhook.taken == [], "a file may be missing for a moment"
    for _ in range(4):
        await platform.look()
    assert webhook.titles == ["the catalogue cannot be read"]
    assert webhook.taken[0]["facts"]["reason"].startswith(
        f"the catalogue {platform.catalogue} cannot be read as Parquet"
    )
    assert webhook.taken[0]["runbook"] == "docs/operations.md#catalogue-unreadable"
    platform.catalogue.unlink()
    for _ in range(5):
        await platform.look()
    assert webhook.titles[1:] == ["the catalogue cannot be read, now for another reason"]
    assert webhook.taken[1]["facts"]["reason"].startswith(f"there is no catalogue {platform.catalogue}")
    assert [webhook.taken[1][name] for name in ("event", "since")] == ["changed", webhook.taken[0]["since"]]
    platform.write()
    for _ in range(2):
        await platform.look()
    assert webhook.titles[2:] == ["the catalogue can be read again"]
