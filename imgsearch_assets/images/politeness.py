"""How hard a host may be asked: a slot for each, whose pace follows what the host can bear.

The pace is that of scrapy's AutoThrottle (docs.scrapy.org, topics/autothrottle): the delay between
requests follows the latency, and an error never lowers it. What a host says in Retry-After (RFC 9110,
10.2.3) goes before all else.
"""

import asyncio
import email.utils
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_SHORTEST_SLEEP_S = 0.001  # the event loop does not wake more finely
_YEAR_S = timedelta(days=365).total_seconds()


@dataclass(frozen=True, slots=True)
class Politeness:
    """``concurrency`` requests to a host at once, ``min_delay_s`` or more between them.

    A URL is tried ``attempts`` times. A host that asks for more than ``max_pause_s`` of quiet, or does not
    answer ``unreachable_limit`` times in a row, is left alone for the rest of the run.
    """

    concurrency: int = 16
    min_delay_s: float = 0.0
    max_delay_s: float = 10.0
    refused_delay_s: float = 0.1
    attempts: int = 3
    backoff_s: float = 0.5
    max_pause_s: float = 30.0
    unreachable_limit: int = 30
    unreachable_pause_s: float = 300.0

    def backoff(self, attempts: int) -> float:
        """Seconds before the next try of a URL: twice as long after each, and never the same for two."""
        return min(self.backoff_s * 2.0 ** (attempts - 1), self.max_pause_s) * random.uniform(0.5, 1.5)


class Pace:
    """When the next request to a host may start; plain arithmetic on a clock that is handed in."""

    def __init__(self, politeness: Politeness) -> None:
        self._politeness = politeness
        self._next = 0.0
        self.delay_s = politeness.min_delay_s

    def wait_s(self, now: float) -> float:
        """Seconds until a request may start."""
        return max(0.0, self._next - now)

    def start(self, now: float) -> None:
        """A request starts. Starts missed in the past are caught up on, as many as may run at once."""
        caught_up = now - self._politeness.concurrency * self.delay_s
        self._next = max(self._next, caught_up) + self.delay_s

    def answered(self, latency_s: float) -> None:
        """The host answered well: move half-way to the pace at which it answers."""
        target = latency_s / self._politeness.concurrency
        self._set(max(target, (self.delay_s + target) / 2))

    def refused(self, now: float, pause_s: float = 0.0) -> None:
        """The host was too busy, or silent: twice the delay, and nothing before ``pause_s`` have passed."""
        self._set(max(2 * self.delay_s, self._politeness.refused_delay_s))
        self._next = max(self._next, now + max(pause_s, self.delay_s))

    def _set(self, delay_s: float) -> None:
        self.delay_s = min(max(delay_s, self._politeness.min_delay_s), self._politeness.max_delay_s)


class Closed(Exception):
    """The host is left alone until ``until``."""

    def __init__(self, until: datetime) -> None:
        super().__init__(f"left alone until {until:%Y-%m-%d %H:%M:%S}")
        self.until = until


class Slot:
    """One host's share: how many at once, how fast, and whether at all."""

    def __init__(self, politeness: Politeness) -> None:
        self._politeness = politeness
        self._free = asyncio.Semaphore(politeness.concurrency)
        self._pace = Pace(politeness)
        self._silences = 0
        self.closed_until: datetime | None = None

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """Hold one of the host's places for a request, when its turn comes. Raises ``Closed``."""
        async with self._free:
            while True:  # the host may ask for quiet while we wait
                if self.closed_until is not None:
                    raise Closed(self.closed_until)
                wait_s = self._pace.wait_s(time.monotonic())
                if wait_s < _SHORTEST_SLEEP_S:
                    break
                await asyncio.sleep(wait_s)
            self._pace.start(time.monotonic())
            yield

    def answered(self, latency_s: float) -> None:
        self._silences = 0
        self._pace.answered(latency_s)

    def refused(self, retry_after_s: float | None) -> None:
        """The host answered that it is too busy; ``retry_after_s`` if it said for how long."""
        self._silences = 0
        if retry_after_s is not None and retry_after_s > self._politeness.max_pause_s:
            self._close(retry_after_s)
        # Not all at the very moment it named.
        self._pace.refused(time.monotonic(), (retry_after_s or 0.0) * random.uniform(1.0, 1.1))

    def silent(self) -> None:
        """The host could not be reached, hung up, or ran out of time."""
        self._silences += 1
        if self._silences >= self._politeness.unreachable_limit:
            self._close(self._politeness.unreachable_pause_s)
        self._pace.refused(time.monotonic())

    def _close(self, seconds: float) -> None:
        self.closed_until = datetime.now(UTC) + timedelta(seconds=seconds)


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """Seconds asked for by a Retry-After header, which holds seconds or a date; None for none or nonsense."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), _YEAR_S)
    try:
        date = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:  # "-0000", which RFC 5322 calls UTC
        date = date.replace(tzinfo=UTC)
    return min(max(0.0, (date - now).total_seconds()), _YEAR_S)
