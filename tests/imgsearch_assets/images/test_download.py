import asyncio
import hashlib
import io
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from aiohttp import web
from PIL import Image

from imgsearch_assets.images.download import DownloadSummary, Limits, download
from imgsearch_assets.images.plan import DownloadPlan, plan_downloads
from imgsearch_assets.images.politeness import Politeness
from imgsearch_assets.images.store import fetch_table, picture_key
from imgsearch_assets.local.processes import free_port
from serving.object_store import LocalObjectStore

if TYPE_CHECKING:
    from tests.conftest import Site

HASTY = Politeness(concurrency=4, backoff_s=0.01, refused_delay_s=0.001, max_pause_s=2.0)


def jpeg(seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "JPEG")
    return sink.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path / "objects")


def planned(store: LocalObjectStore, urls: list[str], updated_at: datetime | None = None) -> DownloadPlan:
    table = pa.table(
        {"url": urls, "updated_at": pa.array([updated_at] * len(urls), pa.timestamp("us", "UTC"))}
    )
    return plan_downloads(table, fetch_table(store).read(), datetime.now(UTC))


async def run(
    store: LocalObjectStore,
    site: "Site",
    plan: DownloadPlan,
    politeness: Politeness = HASTY,
    **limits: Any,
) -> DownloadSummary:
    bounds = Limits(**{"allow_hosts": {site.host}, "timeout_s": 2.0, **limits})
    return await download(plan, store, politeness=politeness, limits=bounds)


def row(store: LocalObjectStore, url: str) -> dict[str, Any]:
    return next(row for row in fetch_table(store).read().to_pylist() if row["url"] == url)


def answering(*statuses: int, body: bytes = b"", **headers: str) -> Any:
    """Each status in turn, then ``body`` with 200."""
    left: Iterator[int] = iter(statuses)

    async def answer(_: web.Request) -> web.Response:
        status = next(left, 200)
        return web.Response(status=status, body=body, headers=headers if status != 200 else {})

    return answer


async def test_pictures_are_stored_under_their_hash(site: "Site", store: LocalObjectStore) -> None:
    urls = [site.add(f"/{n}.jpg", jpeg(n), ETag=f'"{n}"') for n in range(20)]
    advanced: list[int] = []
    summary = await download(
        planned(store, urls),
        store,
        politeness=HASTY,
        limits=Limits(allow_hosts={site.host}),
        advance=advanced.append,
    )
    assert (summary.downloaded, summary.requests) == (20, 20)
    assert summary.size_bytes == sum(len(jpeg(n)) for n in range(20))
    assert not summary.failed
    assert sum(advanced) == 20
    for n, url in enumerate(urls):
        sha256 = hashlib.sha256(jpeg(n)).hexdigest()
        found = row(store, url)
        assert store.get(picture_key(sha256)) == jpeg(n)
        assert (found["status"], found["reason"], found["sha256"]) == ("ok", None, sha256)
        assert (found["width"], found["height"], found["size_bytes"]) == (64, 48, len(jpeg(n)))
        assert (found["etag"], found["attempts"], found["retry_after"]) == (f'"{n}"', 1, None)


async def test_a_second_run_asks_for_nothing(site: "Site", store: LocalObjectStore) -> None:
    urls = [site.add(f"/{n}.jpg", jpeg(n)) for n in range(5)]
    await run(store, site, planned(store, urls))
    again = planned(store, urls)
    assert again.counts == {"new": 0, "revalidate": 0, "retry": 0, "waiting": 0, "fresh": 5}
    assert (await run(store, site, again)).requests == 0
    assert site.requests.total() == 5


async def test_no_more_at_once_than_the_host_may_have(site: "Site", store: LocalObjectStore) -> None:
    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(0.01)
        return web.Response(body=jpeg())

    urls = [site.add(f"/{n}.jpg", slow) for n in range(40)]
    await run(store, site, planned(store, urls))
    assert site.most_at_once == HASTY.concurrency


async def test_a_passing_error_is_tried_again(site: "Site", store: LocalObjectStore) -> None:
    url = site.add("/a.jpg", answering(500, 503, body=jpeg()))
    summary = await run(store, site, planned(store, [url]))
    assert (summary.downloaded, summary.requests) == (1, 3)
    assert row(store, url)["attempts"] == 3


async def test_an_error_that_stays_is_a_row_to_come_back_to(site: "Site", store: LocalObjectStore) -> None:
    url = site.add("/a.jpg", answering(*[500] * 9))
    assert (await run(store, site, planned(store, [url]))).failed == {"http_error": 1}
    found = row(store, url)
    assert (found["status"], found["reason"], found["http_status"], found["attempts"]) == (
        "failed",
        "http_error",
        500,
        3,
    )
    assert found["retry_after"] == found["fetched_at"] + timedelta(minutes=4)
    assert planned(store, [url]).counts["waiting"] == 1
    later = plan_downloads(
        pa.table({"url": [url], "updated_at": pa.array([None], pa.timestamp("us", "UTC"))}),
        fetch_table(store).read(),
        datetime.now(UTC) + timedelta(minutes=5),
    )
    await run(store, site, later)
    assert row(store, url)["attempts"] == 6


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_is_waited_for(site: "Site", store: LocalObjectStore, form: str) -> None:
    """And by every request to that host, not by the one that was told alone."""
    times: list[float] = []
    told = 0.0

    async def answer(_: web.Request) -> web.Response:
        nonlocal told
        times.append(time.time())
        if len(times) > 1:
            return web.Response(body=jpeg())
        # Dates have whole seconds.
        until = datetime.fromtimestamp(int(time.time()) + 2, UTC)
        told = until.timestamp() if form == "date" else time.time() + 1
        header = format_datetime(until, usegmt=True) if form == "date" else "1"
        return web.Response(status=429, headers={"Retry-After": header})

    urls = [site.add(f"/{n}.jpg", answer) for n in range(6)]
    one_at_a_time = Politeness(concurrency=1, backoff_s=0.01, refused_delay_s=0.001, max_pause_s=5.0)
    summary = await run(store, site, planned(store, urls), one_at_a_time)
    assert (summary.downloaded, summary.requests) == (6, 7)
    assert all(at >= told - 0.05 for at in times[1:])


async def test_a_long_retry_after_ends_the_host_for_this_run(site: "Site", store: LocalObjectStore) -> None:
    urls = [site.add(f"/{n}.jpg", answering(429, 429, **{"Retry-After": "3600"})) for n in range(30)]
    began = datetime.now(UTC)
    summary = await run(store, site, planned(store, urls))
    assert summary.failed["postponed"] + summary.failed["http_error"] == 30
    assert summary.requests <= HASTY.concurrency
    for found in fetch_table(store).read().to_pylist():
        assert found["retry_after"] >= began + timedelta(seconds=3599)
    assert planned(store, urls, datetime.now(UTC)).counts["waiting"] == 30


async def test_a_host_that_is_not_there_is_left_alone_soon(site: "Site", store: LocalObjectStore) -> None:
    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    urls = [site.add(f"/{n}.jpg", hang_up) for n in range(200)]
    limited = Politeness(
        concurrency=4, backoff_s=0.001, refused_delay_s=0.0001, max_delay_s=0.001, unreachable_limit=10
    )
    summary = await run(store, site, planned(store, urls), limited)
    assert set(summary.failed) == {"connection", "postponed"}
    assert sum(summary.failed.values()) == 200
    assert summary.requests < 20


def png_bomb() -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    rows = b"IDAT" + zlib.compress(b"\0" * 1_000_000)
    chunks = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, rows))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


async def test_every_failure_has_its_reason(site: "Site", store: LocalObjectStore) -> None:
    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    async def breaks_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "5000"})
        await response.prepare(request)
        await response.write(jpeg()[:500])
        assert request.transport is not None
        request.transport.abort()
        return response

    def redirect(target: str) -> Any:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(status=302, headers={"Location": target})

        return answer

    nobody = f"127.0.0.1:{free_port()}"
    reasons = {
        site.url("/missing.jpg"): "not_found",
        site.add("/gone.jpg", answering(410)): "not_found",
        site.add("/forbidden.jpg", answering(403)): "http_error",
        site.add("/unasked.jpg", answering(304)): "http_error",
        site.add("/slow.jpg", slow): "timeout",
        site.add("/breaks.jpg", breaks_off): "connection",
        site.add("/endless.jpg", endless): "too_many_bytes",
        site.add("/large.jpg", b"x" * 200_001): "too_many_bytes",
        site.add("/empty.jpg", b""): "empty",
        site.add("/text.jpg", b"no picture at all"): "not_an_image",
        site.add("/truncated.jpg", jpeg()[:-700]): "truncated",
        site.add("/bomb.png", png_bomb()): "too_many_pixels",
        site.add("/animated.gif", b"GIF89a"): "format",
        site.add("/inside.jpg", redirect("http://169.254.169.254/latest/")): "bad_address",
        site.add("/private.jpg", redirect("http://10.0.0.1/")): "bad_address",
        site.add("/loop.jpg", redirect("/loop.jpg")): "bad_address",
        "http://127.0.0.1:9/x.jpg": "bad_address",
        "ftp://shop.example/x.jpg": "bad_address",
        "not a url": "bad_address",
        "http://[::1": "bad_address",
        "http://a..example/x.jpg": "bad_address",
        f"http://{nobody}/x.jpg": "connection",
    }
    good = site.add("/good.jpg", jpeg())
    hosts = {site.host, nobody}
    summary = await run(
        store,
        site,
        planned(store, [*reasons, good]),
        timeout_s=0.3,
        max_bytes=200_000,
        allow_hosts=hosts,
    )
    rows = {row["url"]: row for row in fetch_table(store).read().to_pylist()}
    assert {url: row["reason"] for url, row in rows.items()} == {**reasons, good: None}
    assert sum(summary.failed.values()) == len(reasons)
    assert summary.downloaded == 1
    assert rows[site.url("/forbidden.jpg")]["http_status"] == 403
    assert site.requests["/missing.jpg"] == 1
    assert [path.name for path in (store.root / "images").iterdir()] == [rows[good]["sha256"]]
    # An address becomes good by a setting, so that it is due at once; the others wait.
    later = planned(store, [*reasons, good])
    assert later.counts["retry"] == list(reasons.values()).count("bad_address")


async def test_a_touched_product_is_asked_about_and_not_sent_again(
    site: "Site", store: LocalObjectStore
) -> None:
    bodies = {'"v1"': jpeg(1), '"v2"': jpeg(2)}
    current = '"v1"'

    async def answer(request: web.Request) -> web.Response:
        if request.headers.get("If-None-Match") == current:
            return web.Response(status=304, headers={"ETag": current})
        return web.Response(body=bodies[current], headers={"ETag": current})

    url = site.add("/a.jpg", answer)
    await run(store, site, planned(store, [url]))
    first = row(store, url)
    touched = planned(store, [url], datetime.now(UTC))
    assert touched.counts["revalidate"] == 1
    summary = await run(store, site, touched)
    assert (summary.not_modified, summary.downloaded, summary.size_bytes) == (1, 0, 0)
    second = row(store, url)
    assert (second["sha256"], second["http_status"]) == (first["sha256"], 304)
    assert second["fetched_at"] > first["fetched_at"]

    current = '"v2"'
    assert (await run(store, site, planned(store, [url], datetime.now(UTC)))).downloaded == 1
    assert row(store, url)["sha256"] == hashlib.sha256(bodies['"v2"']).hexdigest()

    store.delete(picture_key(row(store, url)["sha256"]))
    assert (await run(store, site, planned(store, [url], datetime.now(UTC)))).downloaded == 1


async def test_a_host_that_is_ill_takes_no_picture_away(site: "Site", store: LocalObjectStore) -> None:
    url = site.add("/a.jpg", jpeg())
    await run(store, site, planned(store, [url]))
    first = row(store, url)
    site.add("/a.jpg", answering(*[500] * 9))
    touched_at = datetime.now(UTC)
    summary = await run(store, site, planned(store, [url], touched_at))
    assert summary.kept == {"http_error": 1}
    assert not summary.failed
    kept = row(store, url)
    assert (kept["status"], kept["reason"], kept["sha256"]) == ("ok", "http_error", first["sha256"])
    assert kept["fetched_at"] == first["fetched_at"]
    assert planned(store, [url], touched_at).counts["waiting"] == 1

    site.add("/a.jpg", answering(404))
    urls = pa.table({"url": [url], "updated_at": pa.array([touched_at], pa.timestamp("us", "UTC"))})
    later = plan_downloads(urls, fetch_table(store).read(), touched_at + timedelta(hours=1))
    assert (await run(store, site, later)).failed == {"not_found": 1}
    assert row(store, url)["sha256"] is None


async def test_the_same_picture_under_two_urls_is_one_object(site: "Site", store: LocalObjectStore) -> None:
    urls = [site.add(path, jpeg()) for path in ("/a.jpg", "/b.jpg")]
    await run(store, site, planned(store, urls))
    assert len(list(store.list("images"))) == 1


async def test_a_torn_object_of_an_earlier_run_is_mended(site: "Site", store: LocalObjectStore) -> None:
    key = picture_key(hashlib.sha256(jpeg()).hexdigest())
    store.put(key, b"")
    await run(store, site, planned(store, [site.add("/a.jpg", jpeg())]))
    assert store.get(key) == jpeg()


async def test_a_store_that_fails_is_an_exception_and_keeps_what_was_done(
    site: "Site", store: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [site.add(f"/{n}.jpg", jpeg(n)) for n in range(10)]
    written = 0
    put = LocalObjectStore.put

    def full(self: LocalObjectStore, key: str, data: bytes, *, sync: bool = True) -> None:
        nonlocal written
        if key.startswith("images/"):
            written += 1
            if written > 5:
                raise OSError(28, "No space left on device")
        put(self, key, data, sync=sync)

    monkeypatch.setattr(LocalObjectStore, "put", full)
    with pytest.raises(ExceptionGroup) as raised:
        await run(store, site, planned(store, urls))
    assert raised.group_contains(OSError, match="No space left on device", depth=2)
    rows = fetch_table(store).read().to_pylist()
    assert all(store.exists(picture_key(row["sha256"])) for row in rows)
    assert rows


DOWNLOADER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
import pyarrow as pa
from imgsearch_assets.images.download import Limits, download
from imgsearch_assets.images.plan import plan_downloads
from imgsearch_assets.images.politeness import Politeness
from imgsearch_assets.images.store import fetch_table
from serving.object_store import LocalObjectStore

store = LocalObjectStore(Path(sys.argv[1]))
urls = [f"http://{sys.argv[2]}/{n}.jpg" for n in range(int(sys.argv[3]))]
table = pa.table({"url": urls, "updated_at": pa.array([None] * len(urls), pa.timestamp("us", "UTC"))})
plan = plan_downloads(table, fetch_table(store).read(), datetime.now(UTC))
limits = Limits(allow_hosts={sys.argv[2]}, flush_every_s=0.1)
print(asyncio.run(download(plan, store, politeness=Politeness(concurrency=2), limits=limits)).requests)
"""


async def test_killed_in_the_middle_it_goes_on_with_the_rest(site: "Site", store: LocalObjectStore) -> None:
    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(0.01)
        if site.requests.total() >= 120:
            midway.set()
        return web.Response(body=jpeg(int(request.path[1:-4])))

    midway = asyncio.Event()
    total = 300
    urls = [site.add(f"/{n}.jpg", slow) for n in range(total)]
    command = [sys.executable, "-c", DOWNLOADER, str(store.root), site.host, str(total)]
    process = await asyncio.create_subprocess_exec(*command)
    await midway.wait()
    os.kill(process.pid, signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL

    done = fetch_table(store).read().to_pylist()
    assert 0 < len(done) < total
    assert all(hashlib.sha256(store.get(picture_key(r["sha256"]))).hexdigest() == r["sha256"] for r in done)
    asked_before = site.requests.copy()
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    said, _ = await process.communicate()
    assert int(said) == total - len(done)
    assert {row["url"] for row in fetch_table(store).read().to_pylist()} == set(urls)
    again = site.requests - asked_before
    assert not {site.url(path) for path in again} & {row["url"] for row in done}
    # What was asked twice is what came in the last moments before the kill.
    assert site.requests.total() - total < 60
