"""The benchmark itself runs, on next to nothing and without its peers: its figures here mean nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = ("--n", "3000", "--dim", "32", "--queries", "20", "--rounds", "1", "--data", "synthetic")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.search", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.slow
def test_ours_and_exact_search() -> None:
    done = run(*SMALL, "--peers", "none", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["not_installed"] == {}
    contestants = said["synthetic"]["contestants"]
    assert set(contestants) == {"our graph", "ours, served", "exact (FAISS flat)"}
    assert all(one["recall_at_10"] >= 0.98 for one in contestants.values())
    assert all(one["qps"] > 0 for one in contestants.values())
    assert contestants["our graph"]["bytes_a_vector"] > 2 * 32


@pytest.mark.slow
def test_embeddings_of_drawn_pictures(tmp_path: Path) -> None:
    small = (*SMALL[:-1], "drawn", "--products", "2", "--keep", str(tmp_path))
    done = run(*small, "--peers", "none", "--json")
    assert done.returncode == 0, done.stderr
    assert "6 embedded packshots of 2 drawn products" in done.stdout
    assert "drawn" in json.loads(done.stdout.splitlines()[-1])
    assert list(tmp_path.glob("vectors-*.npz")), "embedded once"
