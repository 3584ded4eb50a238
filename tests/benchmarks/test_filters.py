"""The benchmark itself runs, on next to nothing: its speeds here mean nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = ("--n", "3000", "--dim", "32", "--queries", "5", "--rounds", "1", "--data", "synthetic")


@pytest.mark.slow
@pytest.mark.parametrize("rows_per_product", ["1", "2"])
def test_every_filter_is_filled(rows_per_product: str) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.filters",
            *SMALL,
            "--rows-per-product",
            rows_per_product,
            "--json",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["min_fill"] == 1
    assert said["min_recall"] >= 0.97
    points = said["synthetic"]["points"]
    assert len(points) == 25, "nine scattered ones, and eight of each clustered kind"
    assert {point["keeps"] for point in points} >= {1.0, 0.0001}
