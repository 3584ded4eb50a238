import numpy as np
import pytest

from benchmarks._catalogue import synthetic
from imgsearch_assets.index import base


def test_the_least_beam_that_finds_enough(shop) -> None:
    figures = shop.build().figures
    assert [beam.rows for beam in figures.beams] == [16, 32, 48]
    assert figures.recall_at_10 > 0.999
    cosines = [beam.cosine for beam in figures.beams]
    assert cosines == sorted(cosines, reverse=True)
    assert cosines[-1] == -1


def test_the_largest_beam_where_none_finds_enough(shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_QUERIES", ((0.3, 1.1, 2),))
    assert shop.build().figures.beams[0].rows == 512


def test_rows_stay_in_their_order() -> None:
    xb = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    told: list[int] = []
    index = base.build_base(xb, "HNSW8,SQfp16", told.append)
    assert np.abs(index.reconstruct_n(0, 300) - xb).max() < 2e-3
    assert sum(told) == 300
    assert index.hnsw.max_level >= 1


def test_kinds_added_in_batches_are_all_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_ADD_ROWS", 500)
    xb = synthetic(20_000, 1, 32).xb
    figures = base.figures_of(base.build_base(xb, "HNSW32,SQfp16", lambda _: None), xb)
    assert figures.recall_at_10 >= 0.995


def test_a_single_row_is_a_graph() -> None:
    index = base.build_base(np.eye(1, 8, dtype=np.float32), "HNSW32,SQfp16", lambda _: None)
    assert index.ntotal == 1
