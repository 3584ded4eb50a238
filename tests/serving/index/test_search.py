from functools import lru_cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.index import search as search_module
from serving.index.artifact import Generation, load
from serving.index.filters import Filter
from serving.index.search import EXACT_ROWS, Plan, plan_search, search


@pytest.fixture(scope="module")
def big(big_shop) -> Generation:
    return load(big_shop.store, big_shop.build())


@pytest.fixture
def small(shop) -> Generation:
    return load(shop.store, shop.build())


@lru_cache(2)
def stored(generation: Generation) -> np.ndarray:
    """Every row as the graph keeps it, float32 (rows, dim)."""
    return np.stack([generation.index.reconstruct(row) for row in range(generation.manifest.rows)])


def product_scores(generation: Generation, xq: np.ndarray) -> np.ndarray:
    """The score of every product, by comparing everything."""
    return np.maximum.reduceat((stored(generation) @ xq.T).max(axis=1), generation.first_row[:-1])


def oracle(generation: Generation, xq: np.ndarray, k: int, allowed: np.ndarray | None) -> list[float]:
    """The scores of the exact answer."""
    scores = product_scores(generation, xq)
    best: list[float] = np.sort(scores if allowed is None else scores[allowed])[::-1][:k].tolist()
    return best


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def queries(generation: Generation, count: int, rows: int, seed: int) -> list[np.ndarray]:
    """Disturbed rows of the generation, float32 (rows, dim) each."""
    rng = np.random.default_rng(seed)
    shape = (rows, generation.manifest.dim)
    noise = 0.3 / np.sqrt(generation.manifest.dim)
    return [
        unit(
            stored(generation)[rng.integers(generation.manifest.rows, size=rows)]
            + rng.normal(size=shape) * noise
        )
        for _ in range(count)
    ]


@given(st.integers(1, 20), st.integers(1, 3), st.integers(0, 2**16), st.floats(0, 1))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_exact_is_exact(shop, small: Generation, k: int, rows: int, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    (xq,) = queries(small, 1, rows, seed)
    allowed = rng.random(small.manifest.products) < share
    found = search(small, xq, k, allowed)
    assert found.plan == "exact"
    wanted = oracle(small, xq, k, allowed)
    np.testing.assert_allclose([hit.score for hit in found.hits], wanted, atol=2e-3)
    products = [hit.product for hit in found.hits]
    assert len(set(products)) == len(products)
    assert all(allowed[products])
    assert all(small.row_product[hit.row] == hit.product for hit in found.hits)
    assert found.exhausted == (allowed.sum() < k)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.3, 0.1, 0.03, 0.01, 0.001, 0.0001])
def test_a_filter_never_starves(big: Generation, share: float) -> None:
    k, hits, wanted_hits = 10, 0, 0
    for number, xq in enumerate(queries(big, 20, 2, seed=3)):
        allowed = np.random.default_rng(number).random(big.manifest.products) < share
        allowed[number] = True
        found = search(big, xq, k, allowed)
        assert all(allowed[hit.product] for hit in found.hits), "nothing from outside the filter"
        assert len(found.hits) == min(k, allowed.sum()), "and nothing missing"
        wanted = oracle(big, xq, k, allowed)
        wanted_hits += len(wanted)
        hits += sum(hit.score >= wanted[-1] - 2e-3 for hit in found.hits)
    assert hits / wanted_hits >= 0.95


def test_a_filter_far_from_the_query_is_filled_by_asking_again(big: Generation) -> None:
    """The worst filter for a graph: it keeps half of everything, and nothing near the query."""
    (xq,) = queries(big, 1, 1, seed=5)
    scores = product_scores(big, xq)
    allowed = scores < np.median(scores)
    found = search(big, xq, 10, allowed, plan=Plan("graph", 30))
    np.testing.assert_allclose([hit.score for hit in found.hits], oracle(big, xq, 10, allowed), atol=2e-3)
    assert found.rows_scanned > 30


def test_the_graph_is_what_searches_a_large_shop(big: Generation) -> None:
    assert big.manifest.rows > EXACT_ROWS
    (xq,) = queries(big, 1, 2, seed=7)
    assert search(big, xq, 10).plan == "graph"
    assert search(big, xq, 10, np.arange(big.manifest.products) < 20).plan == "exact"


def test_of_many_rows_of_one_product_one_hit_is_made(shop) -> None:
    shop.vectors[:] = shop.vectors[0]
    generation = load(shop.store, shop.build())
    found = search(generation, shop.vectors[:2], 60)
    assert [hit.product for hit in found.hits] == list(range(60)), "equals come in the order of their ids"
    assert not found.exhausted


def test_the_best_pair_counts(small: Generation) -> None:
    one, other = small.vectors(3)[:1], small.vectors(40)[:1]
    found = search(small, np.concatenate([one, other]), 2)
    assert {hit.product for hit in found.hits} == {3, 40}
    assert all(hit.score == pytest.approx(1, abs=2e-3) for hit in found.hits)


def test_a_filter_that_keeps_nothing(small: Generation) -> None:
    mask = small.attributes.mask(Filter(brand=frozenset({"nobody"})))
    found = search(small, small.vectors(0), 5, mask)
    assert (found.hits, found.exhausted, found.rows_scanned) == ([], True, 0)


def test_the_plan_goes_by_what_is_cheap() -> None:
    assert plan_search(10, EXACT_ROWS, 10**6, 4.0) == Plan("exact")
    assert plan_search(10, 10**6, 10**6, 4.0) == Plan("graph", 60)
    assert plan_search(10, 500_000, 10**6, 4.0) == Plan("graph", 120)
    assert plan_search(10, 20_000, 10**6, 4.0) == Plan("exact"), "a beam for one row in fifty costs more"


def test_a_graph_that_finds_too_little_gives_way(big: Generation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "_graph", lambda *_: None)
    (xq,) = queries(big, 1, 1, seed=9)
    found = search(big, xq, 10)
    assert found.plan == "exact"
    np.testing.assert_allclose([hit.score for hit in found.hits], oracle(big, xq, 10, None), atol=2e-3)
