import asyncio
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsearch_assets.images.politeness import Closed, Pace, Politeness, Slot, retry_after_s

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("9" * 400, 365 * 86400.0),
        ("Mon, 01 Jun 2026 12:00:30 GMT", 30.0),
        ("Mon, 01 Jun 2026 12:00:30 -0000", 30.0),
        ("Mon, 01 Jun 2026 14:00:30 +0200", 30.0),
        ("Mon, 01 Jun 2026 11:00:00 GMT", 0.0),
        ("Fri, 01 Jun 9999 11:00:00 GMT", 365 * 86400.0),
        ("Mon, 99 Jun 2026 11:00:00 GMT", None),
    ],
)
def test_what_retry_after_says(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, NOW) == seconds


@given(st.text())
def test_nonsense_in_retry_after_is_none_or_seconds(header: str) -> None:
    found = retry_after_s(header, NOW)
    assert found is None or found >= 0


@given(st.integers(0, 86400))
def test_a_date_and_seconds_say_the_same(seconds: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert retry_after_s(date, NOW) == retry_after_s(str(seconds), NOW) == seconds


def test_the_backoff_doubles_with_jitter_up_to_the_longest_pause() -> None:
    politeness = Politeness(backoff_s=1.0, max_pause_s=5.0)
    for attempts, middle in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (30, 5.0)):
        waits = [politeness.backoff(attempts) for _ in range(50)]
        assert all(0.5 * middle <= wait <= 1.5 * middle for wait in waits)
        assert len(set(waits)) > 40


def test_the_pace_follows_the_latency() -> None:
    pace = Pace(Politeness(concurrency=4))
    assert pace.delay_s == 0.0
    for _ in range(20):
        pace.answered(0.4)
    assert pace.delay_s == pytest.approx(0.1)
    pace.answered(2.0)  # slower at once
    assert pace.delay_s == pytest.approx(0.5)
    pace.answered(0.4)  # faster only half-way
    assert pace.delay_s == pytest.approx(0.3)


latencies = st.floats(0.0, 30.0)


@given(st.lists(latencies), st.floats(0.0, 60.0))
def test_an_error_never_lowers_the_delay(history: list[float], pause_s: float) -> None:
    politeness = Politeness(min_delay_s=0.01, max_delay_s=5.0)
    pace = Pace(politeness)
    for latency_s in history:
        pace.answered(latency_s)
        assert politeness.min_delay_s <= pace.delay_s <= politeness.max_delay_s
    before = pace.delay_s
    pace.refused(100.0, pause_s)
    assert before <= pace.delay_s <= politeness.max_delay_s
    assert pace.wait_s(100.0) >= max(pause_s, pace.delay_s) - 1e-9


@given(st.integers(1, 16), st.floats(0.001, 1.0), st.lists(st.floats(0.0, 0.5), min_size=1, max_size=60))
def test_over_time_no_more_start_than_the_delay_allows(
    concurrency: int, delay_s: float, gaps: list[float]
) -> None:
    pace = Pace(Politeness(concurrency=concurrency, min_delay_s=delay_s))
    now = began = 1000.0
    for gap in gaps:
        now += gap + pace.wait_s(now)
        now += pace.wait_s(now)
        pace.start(now)
    # As many as may run at once may start together; the rest come one delay after the other.
    assert len(gaps) <= concurrency + 2 + (now - began) / delay_s


async def test_a_slot_bounds_what_runs_at_once() -> None:
    slot = Slot(Politeness(concurrency=3))
    running = most = 0

    async def request() -> None:
        nonlocal running, most
        async with slot.request():
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.001)
            running -= 1

    await asyncio.gather(*(request() for _ in range(20)))
    assert most == 3


async def test_those_already_waiting_heed_a_pause_too() -> None:
    slot = Slot(Politeness(concurrency=2, min_delay_s=0.05))
    started: list[float] = []

    async def request() -> None:
        async with slot.request():
            started.append(time.monotonic())

    await asyncio.gather(request(), request(), request())
    waiting = asyncio.create_task(request())
    await asyncio.sleep(0.01)
    told = time.monotonic()
    slot.refused(0.3)
    await waiting
    assert started[-1] - told >= 0.29


async def test_a_long_pause_closes_the_host() -> None:
    slot = Slot(Politeness(max_pause_s=30.0))
    slot.refused(31.0)
    with pytest.raises(Closed) as raised:
        async with slot.request():
            pass
    assert timedelta(seconds=29) < raised.value.until - datetime.now(UTC) <= timedelta(seconds=31)
    assert str(raised.value) == f"left alone until {raised.value.until:%Y-%m-%d %H:%M:%S}"


async def test_silence_again_and_again_closes_the_host() -> None:
    slot = Slot(Politeness(unreachable_limit=3))
    slot.silent()
    slot.silent()
    slot.answered(0.01)
    slot.silent()
    slot.silent()
    assert slot.closed_until is None
    slot.silent()
    assert slot.closed_until is not None
