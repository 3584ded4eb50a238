from dataclasses import replace
from typing import Any

import faiss
import numpy as np
import pytest

from serving.index import kinds, looked
from serving.index import plan as planning
from serving.index.artifact import load
from serving.index.generation import Beam
from serving.index.groups import Grouping
from serving.index.loaded import Generation
from serving.index.search import search, search_each


@pytest.fixture(scope="module")
def big(big_shop) -> Generation:
    return load(big_shop.store, big_shop.build())


def rows(generation: Generation, count: int) -> np.ndarray:
    """Disturbed rows of the generation, float32 (count, dim)."""
    rng = np.random.default_rng(0)
    chosen = rng.choice(generation.manifest.rows, count, replace=False)
    found = np.stack([generation.base.index.reconstruct(int(row)) for row in chosen])
    found += rng.normal(size=found.shape).astype(np.float32) * 0.05
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def queries(generation: Generation, count: int) -> list[np.ndarray]:
    """Of one, two, three and one row, and so on; float32 (n, dim) each."""
    parts = np.cumsum([1 + number % 3 for number in range(count)])
    return np.split(rows(generation, parts[-1]), parts[:-1])


@pytest.mark.parametrize("k", [1, 3, 100])
@pytest.mark.parametrize("collapse", ["product", "picture"])
def test_each_query_finds_what_it_finds_by_itself(big: Generation, k: int, collapse: str) -> None:
    of_product = np.arange(big.manifest.products, dtype=np.int32) // 3 * 3
    groupings = big.groupings | {"picture": Grouping.of(of_product)}
    generation, asked = replace(big, groupings=groupings), queries(big, 20)
    found = search_each(generation, asked, k, collapse=collapse)
    assert found == [search(generation, xq, k, collapse=collapse) for xq in asked]
    assert {one.plan for one in found} == {"graph" if k < 100 else "exact"}


def test_a_list_that_is_too_short_is_asked_for_again(
    big: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = queries(big, 5)
    wanted = search_each(big, asked, 10)
    monkeypatch.setattr(planning, "_SLACK", 0.1)
    planning.plan_search.cache_clear()
    short = search_each(big, asked, 10)
    planning.plan_search.cache_clear()
    assert [len(one.hits) for one in short] == [10] * 5
    assert all(one.rows_scanned > 10 for one in short)
    assert short[0].hits[0] == wanted[0].hits[0]


def test_a_small_shop_is_searched_exactly(shop) -> None:
    generation = load(shop.store, shop.build())
    asked = queries(generation, 4)
    found = search_each(generation, asked, 100)
    assert found == [search(generation, xq, 100) for xq in asked]
    assert all(one.exhausted and one.plan == "exact" for one in found)


def test_the_graph_is_asked_once(big: Generation, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = faiss.IndexHNSWSQ.search

    def count(index: faiss.IndexHNSWSQ, xq: np.ndarray, *args: object, **options: object) -> object:
        asked.append(len(xq))
        return real(index, xq, *args, **options)

    monkeypatch.setattr(faiss.IndexHNSWSQ, "search", count)
    search_each(with_beams(big, (-1, 32)), queries(big, 9), 10)
    assert asked == [18]


def asked_beams(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fills with the beams that the graph is asked with."""
    asked: list[int] = []
    real = kinds.parameters

    def parameters(index: Any, beam: int) -> Any:
        asked.append(beam)
        return real(index, beam)

    monkeypatch.setattr(looked, "parameters", parameters)
    return asked


def with_beams(generation: Generation, *beams: tuple[float, int]) -> Generation:
    found = tuple(Beam(cosine=cosine, rows=rows_) for cosine, rows_ in beams)
    figures = generation.manifest.figures.model_copy(update={"beams": found})
    return replace(generation, manifest=generation.manifest.model_copy(update={"figures": figures}))


def test_the_beam_is_the_generations_own(big: Generation, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asked_beams(monkeypatch)
    own = with_beams(big, (-0.9, 77), (-1, 150))
    xq, everything = rows(own, 1), np.ones(own.manifest.products, bool)
    search_each(own, [xq], 1)
    search(own, xq, 1, everything)
    search(own, xq, 3)  # of products of four rows each
    assert asked == [77, 77, 89], "more for each row beyond ten"


def test_a_query_that_is_far_off_is_asked_again_with_a_wider_beam(
    big: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asked_beams(monkeypatch)
    own = with_beams(big, (1.1, 77), (-1, 150))  # nothing is as near as the first beam is for
    queries_, everything = queries(own, 3), np.ones(own.manifest.products, bool)
    each = search_each(own, queries_, 1)
    assert asked == [77, 150], "all of them at once"
    one = search(own, queries_[0], 1)
    again = planning.Plan("graph", one.rows_scanned // 2, 77)
    masked = search(own, queries_[0], 1, everything, plan=again)
    assert asked[2:] == [77, 150] * 2
    assert each[0] == one == masked


def test_only_the_query_that_is_far_off_is_asked_again(
    big: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = rows(big, 30)
    tenths = [search(big, xq[None], 10).hits[-1].score for xq in several]
    near, far = (several[[place(tenths)]] for place in (np.argmax, np.argmin))
    beams = asked_beams(monkeypatch)
    own = with_beams(big, ((max(tenths) + min(tenths)) / 2, 77), (-1, 150))
    found = search_each(own, [near, far, near], 1)
    assert beams == [77, 150]
    once = found[0].rows_scanned
    assert [one.rows_scanned for one in found] == [once, 2 * once, once]
    (both,) = search_each(own, [np.concatenate([near, far])], 1)
    assert beams[2:] == [77, 150]
    assert both.rows_scanned == 3 * once, "its near row is not asked again"
    best = max(found[:2], key=lambda one: one.hits[0].score)
    assert both.hits == best.hits
