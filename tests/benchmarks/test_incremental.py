"""The benchmark itself runs, on next to nothing: its times here mean nothing, its bytes do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


OPTIONS = ("--sizes", "10000", "20000", "--new", "10", "--rounds", "1")


@pytest.mark.slow
def test_new_products_are_written_found_and_cost_what_they_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.incremental", "--json", *OPTIONS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["cost_ratio_20k_to_10k"] > 0
    assert said["bytes_ratio"] == pytest.approx(1, abs=0.05)
    large = said["20000"]
    assert large["written_bytes"] < large["full_bytes"] / 50
    assert large["read_bytes"] < large["full_bytes"] / 5, "the base is not read again"
