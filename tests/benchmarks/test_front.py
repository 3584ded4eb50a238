"""The benchmarks of the HTTP front run, on next to nothing: their figures here mean nothing."""

import shutil

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load (nghttp2-client) is not installed"),
]
_SMALL = ("--products", "8", "--seconds", "0.4", "--rounds", "1")


def test_what_a_picture_costs_more_than_a_product(benchmark) -> None:
    said = benchmark("fastpath", *_SMALL).figures
    for kind in ("upload", "product", "kept"):
        assert said[kind]["per_s"] > 0
        assert said[kind]["p50_ms"] <= said[kind]["p99_ms"]
        assert said[kind]["failed"] == 0
    assert said["speedup"] == pytest.approx(said["product"]["per_s"] / said["upload"]["per_s"], rel=0.02)


def test_what_the_front_costs(benchmark) -> None:
    ran = benchmark("http", *_SMALL)
    said = ran.figures
    assert said["ratio"] == pytest.approx(said["front"]["per_s"] / said["grpc"]["per_s"], rel=0.02)
    assert 0 < said["ratio_by_processor"] < 1
    assert said["grpc"]["front_ms"] < said["front"]["front_ms"]  # it is not in the way of the straight ones
    assert sum(said["front_parts_ms"].values()) == pytest.approx(said["front"]["front_ms"], abs=0.01)
    assert "through the front" in ran.stdout
