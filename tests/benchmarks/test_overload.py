"""The benchmark itself runs, on next to nothing: its figures here mean nothing."""

import shutil
from pathlib import Path

import httpx
import pytest

from benchmarks._crowd import Seen, Uploads
from benchmarks._http_load import Upload

_NO_H2LOAD = pytest.mark.skipif(
    shutil.which("h2load") is None, reason="h2load (nghttp2-client) is not installed"
)
FIGURES = {
    "peak_per_s",
    "saturation_callers",
    "saturation_p99_ms",
    "offered_per_s",
    "goodput_per_s",
    "goodput_ratio",
    "p99_ms",
    "p99_ratio",
    "refused",
    "failed",
    "refused_without_hint",
    "memory_ratio",
    "recovery_s",
}


@pytest.mark.slow
@_NO_H2LOAD
def test_too_many_searches(benchmark) -> None:
    small = ("--n", "2000", "--dim", "16", "--seconds", "1", "--ladder-seconds", "0.3")
    ran = benchmark("overload", "--only", "search", *small)
    said = ran.figures["search"]
    assert set(said) == FIGURES
    assert said["offered_per_s"] == pytest.approx(3 * said["peak_per_s"], abs=1)
    assert said["saturation_callers"] in {1, 2, 4, 8, 16, 32, 64, 128}
    assert said["goodput_per_s"] > 0
    assert said["refused_without_hint"] == 0
    assert "goodput_ratio" in ran.stdout


@pytest.mark.slow
@_NO_H2LOAD
def test_too_many_uploads(benchmark) -> None:
    small = ("--products", "6", "--seconds", "1", "--ladder-seconds", "0.5")
    said = benchmark("overload", "--only", "upload", *small).figures["upload"]
    assert set(said) == FIGURES
    assert said["goodput_per_s"] > 0
    assert (said["failed"], said["refused_without_hint"]) == (0, 0)


def test_what_was_seen_is_told() -> None:
    seen = Seen(seconds=2.0, good=10, took_ms=[1.0, 3.0], refused=4, failed=1)
    assert (seen.per_s, seen.ms(50)) == (5.0, 2.0)
    assert str(seen) == (
        "5.0/s in time, p50 2.0 ms, p99 3.0 ms; 4 refused, 0 of the looked at without a hint, 1 failed"
    )


@pytest.mark.parametrize(
    ("reply", "refused", "unhinted", "failed"),
    [
        (httpx.Response(429, headers={"Retry-After": "1"}), 1, 0, 0),
        (httpx.Response(503), 1, 1, 0),
        (httpx.Response(500), 0, 0, 1),
    ],
)
async def test_a_refusal_without_a_hint_is_counted(
    tmp_path: Path, reply: httpx.Response, refused: int, unhinted: int, failed: int
) -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: reply)) as client:
        crowd = Uploads("http://front/", [Upload(b"x", "image/jpeg")], client, tmp_path, 1.0, 1.0)
        seen = Seen()
        await crowd.ask(0, seen)
        assert (seen.refused, seen.unhinted, seen.failed) == (refused, unhinted, failed)
        assert await crowd.lone() == float("inf")
