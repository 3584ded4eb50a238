"""Pages of a search, held against one search that is as long as all of them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.index import search as search_module
from serving.index.after import After, mark
from serving.index.artifact import load
from serving.index.collapse import Collapse
from serving.index.groups import Grouping
from serving.index.loaded import Generation
from serving.index.paging import search_after
from serving.index.plan import Plan
from serving.index.search import Found, Hit, search


@pytest.fixture(scope="module")
def big(big_shop: Any) -> Generation:
    return load(big_shop.store, big_shop.build())


@pytest.fixture
def small(shop: Any) -> Generation:
    return load(shop.store, shop.build())


def grouped(generation: Generation, groups: int, seed: int) -> Generation:
    """With its products in ``groups`` picture groups at random, some large, most small."""
    count = generation.manifest.products
    names = (np.random.default_rng(seed).random(count) ** 3 * groups).astype(int)
    _, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    grouping = Grouping.of(first[inverse].astype(np.int32))
    return replace(generation, groupings=generation.groupings | {"picture": grouping})


def query(generation: Generation, rows: int, seed: int) -> np.ndarray:
    """Disturbed rows of the generation, float32 (rows, dim)."""
    rng = np.random.default_rng(seed)
    own = generation.vectors_of(rng.integers(generation.manifest.rows, size=rows))
    noisy = own + rng.normal(size=own.shape) * 0.05
    return (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)


def pages(
    generation: Generation,
    xq: np.ndarray,
    sizes: list[int],
    most: int,
    allowed: np.ndarray | None = None,
    collapse: Collapse = "product",
) -> list[Found]:
    """One page of each size after the other, until there is no more."""
    told: list[Found] = [search(generation, xq, sizes[0], allowed, collapse=collapse)]
    shown = list(told[0].hits)
    for size in sizes[1:]:
        k = min(size, most - len(shown))
        if told[-1].exhausted or not told[-1].hits or k < 1:
            break
        last = told[-1].hits[-1].score
        tied = frozenset(mark(generation.id_of(hit.product)) for hit in shown if hit.score == last)
        told.append(search_after(generation, xq, k, After(last, tied, len(shown)), most, allowed, collapse))
        shown += told[-1].hits
    return told


def check(generation: Generation, told: list[Found], collapse: Collapse) -> list[Hit]:
    """All hits, of which no group comes twice and no score goes up."""
    hits = [hit for page in told for hit in page.hits]
    groups = [int(generation.groupings[collapse].of_product[hit.product]) for hit in hits]
    assert len(set(groups)) == len(groups)
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    return hits


@given(
    sizes=st.lists(st.integers(1, 20), min_size=2, max_size=12),
    rows=st.integers(1, 3),
    groups=st.integers(1, 80),
    seed=st.integers(0, 2**16),
    share=st.floats(0, 1),
    filtered=st.booleans(),
    collapse=st.sampled_from(["product", "picture"]),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pages_of_an_exact_search_are_the_whole(
    small: Generation,
    sizes: list[int],
    rows: int,
    groups: int,
    seed: int,
    share: float,
    filtered: bool,
    collapse: Collapse,
) -> None:
    generation = grouped(small, groups, seed)
    xq = query(generation, rows, seed)
    allowed = np.random.default_rng(seed).random(generation.manifest.products) < share if filtered else None
    told = pages(generation, xq, sizes, 1_000, allowed, collapse)
    hits = check(generation, told, collapse)
    whole = search(generation, xq, sum(sizes), allowed, collapse=collapse)
    assert whole.plan == "exact"
    assert hits == whole.hits[: len(hits)]
    assert len(hits) == min(sum(sizes), len(whole.hits))


@given(
    sizes=st.lists(st.integers(1, 60), min_size=2, max_size=6),
    rows=st.integers(1, 2),
    seed=st.integers(0, 2**16),
    share=st.sampled_from([None, 0.9, 0.5, 0.1, 0.01]),
    collapse=st.sampled_from(["product", "picture"]),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pages_of_the_graph_show_nothing_twice(
    big: Generation, sizes: list[int], rows: int, seed: int, share: float | None, collapse: Collapse
) -> None:
    generation = grouped(big, 2_000, 1)
    xq = query(generation, rows, seed)
    allowed = None
    if share is not None:
        allowed = np.random.default_rng(seed).random(generation.manifest.products) < share
    told = pages(generation, xq, sizes, 1_000, allowed, collapse)
    hits = check(generation, told, collapse)
    if allowed is not None:
        assert all(allowed[hit.product] for hit in hits)
    whole = search(generation, xq, sum(sizes), allowed, plan=Plan("exact", 4 * sum(sizes)), collapse=collapse)
    assert len(hits) == min(sum(sizes), len(whole.hits))
    exact = {hit.product for hit in whole.hits}
    assert len(exact & {hit.product for hit in hits}) >= 0.9 * len(hits)


def test_a_graph_that_finds_other_rows_each_time_shows_nothing_twice(
    big: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst: a third of the rows is missed, another third at each look."""
    graph, rng = search_module.by_graph, np.random.default_rng(3)

    def some(*asked: Any) -> Any:
        looked = graph(*asked)
        return replace(looked, fits=looked.fits & (rng.random(looked.fits.shape) < 0.67))

    monkeypatch.setattr(search_module, "by_graph", some)
    for collapse in ("product", "picture"):
        generation = grouped(big, 2_000, 1)
        for seed in range(10):
            told = pages(generation, query(generation, 2, seed), [10] * 8, 1_000, None, collapse)
            check(generation, told, collapse)


def test_equals_come_once_each(shop: Any) -> None:
    shop.vectors[:] = shop.vectors[0]
    generation = load(shop.store, shop.build())
    told = pages(generation, shop.vectors[:1], [7] * 20, 1_000)
    hits = check(generation, told, "product")
    assert sorted(hit.product for hit in hits) == list(range(60))
    assert told[-1].exhausted


def test_no_more_than_the_most_is_shown(big: Generation) -> None:
    told = pages(big, query(big, 1, 1), [30] * 9, 100)
    assert [len(page.hits) for page in told] == [30, 30, 30, 10]
    assert not told[-1].exhausted


def test_what_came_and_went_in_a_delta_is_paged_too(shop: Any) -> None:
    manifest = shop.without(shop.build(), shop.ids[:20])
    generation = load(shop.store, manifest)
    xq = query(generation, 2, 1)
    hits = check(generation, pages(generation, xq, [9] * 9, 1_000), "product")
    assert hits == search(generation, xq, 60).hits
    assert len(hits) == 40
