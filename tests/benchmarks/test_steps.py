"""The benchmark itself runs: its seconds here mean nothing."""

import pytest


@pytest.mark.slow
def test_gaps_of_two_ways_to_run_steps(benchmark) -> None:
    ran = benchmark("steps", "--rounds", "1", "--only", "in_process", "forkserver_preloaded")
    said = ran.figures
    assert said["median_gap_s"] == said["in_process"]["median_gap_s"]  # the pipeline's own
    for name in ("in_process", "forkserver_preloaded"):
        assert 0 <= said[name]["median_gap_s"] <= said[name]["longest_gap_s"]
        assert said[name]["first_s"] > 0
