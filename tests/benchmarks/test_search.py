"""The benchmark itself runs, on next to nothing and without its peers: its figures here mean nothing."""

from pathlib import Path

import pytest

SMALL = ("--n", "3000", "--dim", "32", "--queries", "20", "--rounds", "1", "--data", "synthetic")


@pytest.mark.slow
def test_ours_and_exact_search(benchmark) -> None:
    said = benchmark("search", *SMALL, "--peers", "none").figures
    assert said["not_installed"] == {}
    contestants = said["synthetic"]["contestants"]
    assert set(contestants) == {"our graph", "ours, served", "exact (FAISS flat)"}
    assert all(one["recall_at_10"] >= 0.98 for one in contestants.values())
    assert all(one["qps"] > 0 for one in contestants.values())
    assert contestants["our graph"]["bytes_a_vector"] > 2 * 32


@pytest.mark.slow
def test_embeddings_of_drawn_pictures(benchmark, tmp_path: Path) -> None:
    small = (*SMALL[:-1], "drawn", "--products", "2", "--keep", str(tmp_path))
    ran = benchmark("search", *small, "--peers", "none")
    assert "drawn" in ran.figures
    assert "6 embedded packshots of 2 drawn products" in ran.stdout
    assert list(tmp_path.glob("vectors-*.npz")), "embedded once"
