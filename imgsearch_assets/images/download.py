"""Running a download plan: many hosts at once, each at its own pace, nothing lost when it is killed.

A picture is checked and written first and its row after it, so a row never names a picture that is not
there. Rows are written every few seconds; work that is killed asks again for the URLs of those seconds only.
"""

import asyncio
import hashlib
import os
import time
from collections import Counter, deque
from collections.abc import Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from imgsearch_assets.images.plan import DownloadPlan, Target
from imgsearch_assets.images.politeness import Closed, Politeness, Slot, retry_after_s
from imgsearch_assets.images.store import PERMANENT, Fetch, fetch_rows, fetch_table, picture_key
from imgsearch_assets.progress import Advance, silent
from serving.errors import BadAddress, BadImage, DeadlinePassed, Unavailable, Unreachable
from serving.images.decode import MAX_BYTES, MAX_PIXELS, Header, verify
from serving.images.fetch import Fetched, PictureFetcher
from serving.object_store import ObjectStore

PERMANENT_RETRY = timedelta(days=30)
FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(days=1)

_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_GONE = frozenset({404, 410})


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one picture and of the whole run. ``allow_hosts``: see ``PictureFetcher``."""

    max_bytes: int = MAX_BYTES
    max_pixels: int = MAX_PIXELS
    timeout_s: float = 20.0
    connections: int = 64
    flush_every_s: float = 1.0
    allow_hosts: Set[str] = frozenset()


_POLITE = Politeness()
_LIMITS = Limits()


@dataclass(slots=True)
class DownloadSummary:
    """What a run did. ``failed`` and ``kept`` count URLs by reason; ``kept`` still have their old picture."""

    downloaded: int = 0
    not_modified: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    size_bytes: int = 0
    seconds: float = 0.0


async def download(
    plan: DownloadPlan,
    store: ObjectStore,
    *,
    politeness: Politeness = _POLITE,
    limits: Limits = _LIMITS,
    advance: Advance = silent,
) -> DownloadSummary:
    """Ask for everything in ``plan``; pictures and rows go to ``store``, and ``advance`` hears of each URL.

    A URL that fails is a row; only a system that fails (no disk) is an exception.
    """
    started = time.monotonic()
    async with PictureFetcher(
        allow_hosts=limits.allow_hosts,
        max_bytes=limits.max_bytes,
        timeout_s=limits.timeout_s,
        connections=limits.connections,
        connections_per_host=politeness.concurrency,
    ) as fetcher:
        with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="pictures") as threads:
            run = _Run(store, fetcher, threads, politeness, limits, advance)
            await run.all(plan)
    fetch_table(store).compact()
    run.summary.seconds = time.monotonic() - started
    return run.summary


class _Failed(Exception):
    """This URL gives no picture now; ``again`` if it may within the minute."""

    def __init__(
        self,
        reason: str,
        http_status: int | None = None,
        *,
        again: bool = False,
        not_before: datetime | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.http_status = http_status
        self.again = again
        self.not_before = not_before


class _Run:
    """The state of one ``download``."""

    def __init__(
        self,
        store: ObjectStore,
        fetcher: PictureFetcher,
        threads: ThreadPoolExecutor,
        politeness: Politeness,
        limits: Limits,
        advance: Advance,
    ) -> None:
        self.summary = DownloadSummary()
        self._store = store
        self._fetcher = fetcher
        self._threads = threads
        self._politeness = politeness
        self._limits = limits
        self._advance = advance
        self._connections = asyncio.Semaphore(limits.connections)
        self._rows: list[Fetch] = []

    async def all(self, plan: DownloadPlan) -> None:
        hosts: dict[str, deque[Target]] = {}
        for target in plan.targets():
            hosts.setdefault(_host(target.url), deque()).append(target)
        finished = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._flush_until(finished))
                async with asyncio.TaskGroup() as workers:
                    for queue in hosts.values():
                        slot = Slot(self._politeness)
                        # Twice as many as may ask at once: the others check and write what came.
                        for _ in range(min(2 * self._politeness.concurrency, len(queue))):
                            workers.create_task(self._work(queue, slot))
                finished.set()
        finally:
            self._write(self._taken())

    async def _work(self, queue: deque[Target], slot: Slot) -> None:
        while queue:
            row = await self._row(queue.popleft(), slot)
            self._rows.append(row)
            self._count(row)
            self._advance(1)

    async def _flush_until(self, finished: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while not finished.is_set():
            try:
                await asyncio.wait_for(finished.wait(), self._limits.flush_every_s)
            except TimeoutError:
                await loop.run_in_executor(None, self._write, self._taken())

    def _taken(self) -> list[Fetch]:
        """The rows not yet written; on the event loop, where they are added."""
        rows, self._rows = self._rows, []
        return rows

    def _write(self, rows: list[Fetch]) -> None:
        if rows:
            self._store.sync()
            fetch_table(self._store).append(fetch_rows(rows))

    def _count(self, row: Fetch) -> None:
        if row.status == "failed":
            self.summary.failed[str(row.reason)] += 1
        elif row.reason is not None:
            self.summary.kept[row.reason] += 1
        elif row.http_status == 304:
            self.summary.not_modified += 1
        else:
            self.summary.downloaded += 1
            self.summary.size_bytes += row.size_bytes or 0

    async def _row(self, target: Target, slot: Slot) -> Fetch:
        """Ask for one URL until there is something to say about it."""
        began, attempts = datetime.now(UTC), 0
        while True:
            attempts += 1
            try:
                fetched = await self._ask(target, slot)
                break
            except Closed as error:
                postponed = _Failed("postponed", not_before=error.until)
                return _failed(target, postponed, began, attempts - 1)
            except _Failed as error:
                if not error.again or attempts >= self._politeness.attempts:
                    return _failed(target, error, began, attempts)
            await asyncio.sleep(self._politeness.backoff(attempts))
        if fetched.status == 304 and target.previous is not None:
            return _unchanged(target.previous, fetched, began)
        loop = asyncio.get_running_loop()
        try:
            sha256, header = await loop.run_in_executor(self._threads, self._accept, fetched.data)
        except BadImage as error:
            return _failed(target, _Failed(error.reason, fetched.status), began, attempts)
        return _fetched(target.url, fetched, sha256, header, began, attempts)

    async def _ask(self, target: Target, slot: Slot) -> Fetched:
        """One request, when the host's slot has a place for it. Raises ``_Failed`` and ``Closed``."""
        etag, last_modified = self._validators(target.previous)
        async with slot.request(), self._connections:
            self.summary.requests += 1
            sent = time.monotonic()
            try:
                fetched = await self._fetcher.fetch(target.url, etag, last_modified)
            except (Unreachable, Unavailable):
                slot.silent()
                raise _passing("connection", slot) from None
            except BadAddress:
                raise _Failed("bad_address") from None
            except BadImage as error:  # too many bytes
                raise _Failed(error.reason, 200) from None
            except DeadlinePassed:
                slot.silent()
                raise _passing("timeout", slot) from None
            if fetched.status not in _BUSY:
                slot.answered(time.monotonic() - sent)
        if fetched.status == 200 or (fetched.status == 304 and (etag or last_modified)):
            return fetched
        if fetched.status in _BUSY:
            slot.refused(retry_after_s(fetched.retry_after, datetime.now(UTC)))
            raise _passing("http_error", slot, fetched.status)
        raise _Failed("not_found" if fetched.status in _GONE else "http_error", fetched.status)

    def _validators(self, previous: Fetch | None) -> tuple[str | None, str | None]:
        """ETag and Last-Modified of the picture we hold; none if it is no longer there."""
        if (
            previous is None
            or previous.sha256 is None
            or not self._store.exists(picture_key(previous.sha256))
        ):
            return None, None
        return previous.etag, previous.last_modified

    def _accept(self, data: bytes) -> tuple[str, Header]:
        """Check a picture and store it under its hash; off the event loop. Raises ``BadImage``."""
        header = verify(data, max_bytes=self._limits.max_bytes, max_pixels=self._limits.max_pixels)
        sha256 = hashlib.sha256(data).hexdigest()
        key = picture_key(sha256)
        # An object of an earlier run may be of one that lost power before it was on the disk.
        if not (self._store.exists(key) and self._store.get(key) == data):
            self._store.put(key, data, sync=False)
        return sha256, header


def _passing(reason: str, slot: Slot, http_status: int | None = None) -> _Failed:
    """A failure to try again after, unless it was the one that closed the host."""
    until = slot.closed_until
    return _Failed(reason, http_status, again=until is None, not_before=until)


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""  # the fetcher says what is wrong with it


def _fetched(
    url: str, fetched: Fetched, sha256: str, header: Header, began: datetime, attempts: int
) -> Fetch:
    return Fetch(
        url=url,
        status="ok",
        reason=None,
        http_status=fetched.status,
        sha256=sha256,
        size_bytes=len(fetched.data),
        width=header.width,
        height=header.height,
        etag=fetched.etag,
        last_modified=fetched.last_modified,
        fetched_at=began,
        attempts=attempts,
        retry_after=None,
    )


def _unchanged(previous: Fetch, fetched: Fetched, began: datetime) -> Fetch:
    return replace(
        previous,
        status="ok",
        reason=None,
        http_status=304,
        etag=fetched.etag or previous.etag,
        last_modified=fetched.last_modified or previous.last_modified,
        fetched_at=began,
        attempts=1,
        retry_after=None,
    )


def _failed(target: Target, failed: _Failed, began: datetime, attempts: int) -> Fetch:
    previous = target.previous
    if previous is not None and (previous.status == "failed" or previous.reason is not None):
        attempts += previous.attempts
    retry_after = began + _retry_in(failed.reason, attempts)
    if failed.not_before is not None:
        retry_after = max(retry_after, failed.not_before)
    if previous is not None and previous.status == "ok" and failed.reason not in PERMANENT:
        # A host that is ill today takes no product out of the search.
        return replace(previous, reason=failed.reason, attempts=attempts, retry_after=retry_after)
    return Fetch(
        url=target.url,
        status="failed",
        reason=failed.reason,
        http_status=failed.http_status,
        sha256=None,
        size_bytes=None,
        width=None,
        height=None,
        etag=None,
        last_modified=None,
        fetched_at=began,
        attempts=attempts,
        retry_after=retry_after,
    )


def _retry_in(reason: str, attempts: int) -> timedelta:
    """How long a later run leaves a failure alone: twice as long for every try it has cost."""
    if reason in PERMANENT:
        return PERMANENT_RETRY
    if reason == "bad_address":  # hardly costs a request, and a setting mends it
        return timedelta(0)
    doublings = min(max(attempts - 1, 0), 20)  # past that the longest applies anyway
    return min(FIRST_RETRY * (1 << doublings), LONGEST_RETRY)
