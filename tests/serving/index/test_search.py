from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.index import cost
from serving.index import search as search_module
from serving.index.artifact import load
from serving.index.collapse import MAX_ALSO, Collapse
from serving.index.filters import Filter
from serving.index.groups import Grouping
from serving.index.loaded import Generation
from serving.index.plan import EXACT_ROWS, Plan, Scope, plan_search
from serving.index.search import Found, search


@pytest.fixture(scope="module")
def big(big_shop) -> Generation:
    return load(big_shop.store, big_shop.build())


@pytest.fixture
def small(shop) -> Generation:
    return load(shop.store, shop.build())


@lru_cache(2)
def stored(generation: Generation) -> np.ndarray:
    """Every row as the graph keeps it, float32 (rows, dim)."""
    return np.stack([generation.base.index.reconstruct(row) for row in range(generation.manifest.rows)])


def product_scores(generation: Generation, xq: np.ndarray) -> np.ndarray:
    """The score of every product, by comparing everything."""
    return np.maximum.reduceat((stored(generation) @ xq.T).max(axis=1), generation.base.first_row[:-1])


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


@given(st.integers(1, 20), st.integers(1, 6), st.integers(0, 2**16), st.floats(0, 1))
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
    found = search(big, xq, 10, allowed, plan=Plan("graph", 30, 57))
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


@pytest.mark.parametrize("collapse", ["product", "variant", "picture"])
@pytest.mark.parametrize("plan", [Plan("exact", 120, 0), Plan("graph", 60, 120)])
def test_the_first_of_each_group_are_the_same_found_one_by_one_or_at_once(
    shop, monkeypatch: pytest.MonkeyPatch, collapse: Collapse, plan: Plan
) -> None:
    shop.vectors[::3] = shop.vectors[0]  # as good as each other: the first row is told
    generation = load(shop.store, shop.build())
    wanted = [None, np.arange(generation.manifest.products) % 4 > 0]
    asked = [*queries(generation, 6, 6, seed=11), shop.vectors[:5]]
    told = []
    for many in (0, 10**9):
        monkeypatch.setattr(search_module, "_MANY", many)
        told.append([search(generation, xq, 7, mask, plan, collapse).hits for xq in asked for mask in wanted])
    assert told[0] == told[1]


def test_the_best_pair_counts(small: Generation) -> None:
    one, other = small.vectors(3)[:1], small.vectors(40)[:1]
    found = search(small, np.concatenate([one, other]), 2)
    assert {hit.product for hit in found.hits} == {3, 40}
    assert all(hit.score == pytest.approx(1, abs=2e-3) for hit in found.hits)


def test_a_filter_that_keeps_nothing(small: Generation) -> None:
    mask = small.mask(Filter(brand=frozenset({"nobody"})))
    found = search(small, small.vectors(0), 5, mask)
    assert (found.hits, found.exhausted, found.rows_scanned) == ([], True, 0)


def planned(groups: int, kept_rows: int, rows: int, rows_per_group: float, dim: int) -> Plan:
    return plan_search(Scope(groups, kept_rows, rows, rows_per_group, dim, least=32))


def test_the_plan_goes_by_what_is_cheap() -> None:
    for dim in (24, 128, 256, 1024):
        assert planned(10, EXACT_ROWS, 10**6, 4.0, dim) == Plan("exact", 60)
        assert planned(10, 10**6, 10**6, 4.0, dim) == Plan("graph", 60, 95)
        assert planned(30, 10**6, 10**6, 4.0, dim) == Plan("graph", 180, 245)
        assert planned(30, 500_000, 10**6, 4.0, dim) == Plan("graph", 180, 245), "as if everything fitted"
    assert planned(10, 10**6, 10**6, 1.0, 128) == Plan("graph", 10, 32), "as many rows as products"
    assert planned(1, 10**6, 10**6, 1.0, 128) == Plan("graph", 10, 32), "the tenth tells how far off it is"
    assert planned(10, 500_000, 10**6, 1.0, 128) == Plan("graph", 29, 56), "half of it fits"
    assert planned(10, 900_000, 10**6, 1.0, 128) == Plan("graph", 14, 37), "nearly all of it fits"
    assert planned(10, 50_000, 10**6, 1.0, 128) == Plan("graph", 24, 50), "a look, not more"
    assert planned(60, 4_000, 10**6, 4.0, 128).kind == "exact", "wide beams cost more than few rows"


def test_a_look_in_vain_costs_little_beside_what_comes_instead() -> None:
    for dim in (24, 128, 256, 1024):
        for kept in range(EXACT_ROWS, 200_000, 500):
            plan = planned(10, kept, 200_000, 1.0, dim)
            if plan.kind == "graph" and kept < 200_000:
                assert cost.graph_us(plan.beam, 200_000, dim) <= 0.5 * cost.exact_us(kept, 200_000, dim)


@pytest.mark.parametrize("kept", [0, 1, 5])
def test_a_graph_that_finds_too_little_gives_way(
    big: Generation, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    graph = search_module.by_graph

    def few(*asked: Any) -> Any:
        looked = graph(*asked)
        return replace(looked, fits=looked.fits & (np.arange(looked.fits.shape[1]) < kept))

    monkeypatch.setattr(search_module, "by_graph", few)
    (xq,) = queries(big, 1, 2, seed=9)
    found = search(big, xq, 10)
    assert found.plan == "exact"
    np.testing.assert_allclose([hit.score for hit in found.hits], oracle(big, xq, 10, None), atol=2e-3)


def grouped(generation: Generation, groups: int, seed: int) -> Generation:
    """With its products in ``groups`` picture groups at random, some large, most small."""
    rng = np.random.default_rng(seed)
    count = generation.manifest.products
    names = (rng.random(count) ** 3 * groups).astype(int)
    _, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    grouping = Grouping.of(first[inverse].astype(np.int32))
    return replace(generation, groupings=generation.groupings | {"picture": grouping})


def collapsed(
    generation: Generation, scores: np.ndarray, k: int, allowed: np.ndarray, kind: Collapse
) -> tuple[list[tuple[float, set[int]]], bool]:
    """The k best groups as (score of the best product, allowed members), by looking at every product."""
    groups: dict[int, list[int]] = {}
    for product in np.flatnonzero(allowed):
        groups.setdefault(int(generation.groupings[kind].of_product[product]), []).append(int(product))
    best = sorted(
        ((max(scores[members]), set(members)) for members in groups.values()), key=lambda it: -it[0]
    )
    return best[:k], len(groups) < k


def check_collapsed(
    generation: Generation, xq: np.ndarray, found: Found, k: int, allowed: np.ndarray, kind: Collapse
) -> None:
    scores = product_scores(generation, xq)
    wanted, exhausted = collapsed(generation, scores, k, allowed, kind)
    assert found.exhausted == exhausted
    np.testing.assert_allclose(
        [hit.score for hit in found.hits], [min(score, 1) for score, _ in wanted], atol=2e-3
    )
    grouping = generation.groupings[kind]
    shown = [int(grouping.of_product[hit.product]) for hit in found.hits]
    assert len(set(shown)) == len(shown), "a group comes once"
    for hit in found.hits:
        assert generation.row_product[hit.row] == hit.product
        members = set(np.flatnonzero(allowed & (grouping.of_product == grouping.of_product[hit.product])))
        assert {hit.product, *hit.also} <= members
        assert hit.product not in hit.also
        assert len(set(hit.also)) == len(hit.also) == min(MAX_ALSO, len(members) - 1)
        assert hit.score >= max(scores[list(members)]) - 2e-3, "its best product shows it"
        if len(members) > 64:
            continue  # of a large group only so many are weighed
        others = sorted((scores[other] for other in members - {hit.product}), reverse=True)
        np.testing.assert_allclose(scores[list(hit.also)], others[: len(hit.also)], atol=2e-3)


@given(
    k=st.integers(1, 20),
    rows=st.integers(1, 3),
    groups=st.integers(1, 80),
    seed=st.integers(0, 2**16),
    share=st.floats(0, 1),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_groups_come_once_and_nothing_is_missing(
    shop, small: Generation, k: int, rows: int, groups: int, seed: int, share: float
) -> None:
    generation = grouped(small, groups, seed)
    (xq,) = queries(small, 1, rows, seed)
    allowed = np.random.default_rng(seed).random(small.manifest.products) < share
    for kind in ("product", "variant", "picture"):
        found = search(generation, xq, k, allowed, collapse=kind)
        if kind == "picture":
            check_collapsed(generation, xq, found, k, allowed, kind)
        else:
            assert found == search(generation, xq, k, allowed), "in no group, a product is its own"


@pytest.mark.parametrize("share", [1.0, 0.3, 0.01, 0.0005])
def test_the_graph_refills_until_there_are_k_groups(big: Generation, share: float) -> None:
    """Groups here are of products that lie apart, and some are hundreds of rows: the worst for a fetch."""
    generation = grouped(big, 2_000, 1)
    for number, xq in enumerate(queries(big, 5, 2, seed=13)):
        allowed = np.random.default_rng(number).random(big.manifest.products) < share
        allowed[number] = True
        plans = [Plan("graph", 40, 70), Plan("exact", 15), None]
        found = [search(generation, xq, 10, allowed, plan, "picture") for plan in plans]
        for one in found:
            check_collapsed(generation, xq, one, 10, allowed, "picture")
        assert {tuple(hit.product for hit in one.hits) for one in found} == {
            tuple(hit.product for hit in found[1].hits)
        }


def test_one_group_of_everything_is_one_hit(small: Generation) -> None:
    grouping = Grouping.of(np.zeros(small.manifest.products, np.int32))
    generation = replace(small, groupings=small.groupings | {"variant": grouping})
    found = search(generation, small.vectors(7), 5, collapse="variant")
    assert [hit.product for hit in found.hits] == [7]
    assert found.exhausted
    assert len(found.hits[0].also) == MAX_ALSO
    nothing = search(
        generation, small.vectors(7), 5, np.zeros(small.manifest.products, bool), None, "variant"
    )
    assert (nothing.hits, nothing.exhausted) == ([], True)
