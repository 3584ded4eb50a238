from dataclasses import replace
from typing import Any

import faiss
import numpy as np
import pytest

from serving.index import kinds, looked
from serving.index import search as search_module
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


@pytest.mark.parametrize("k", [1, 3, 100])
@pytest.mark.parametrize("collapse", ["product", "picture"])
def test_each_row_finds_what_it_finds_by_itself(big: Generation, k: int, collapse: str) -> None:
    of_product = np.arange(big.manifest.products, dtype=np.int32) // 3 * 3
    groupings = big.groupings | {"picture": Grouping.of(of_product)}
    generation, xq = replace(big, groupings=groupings), rows(big, 20)
    found = search_each(generation, xq, k, collapse)
    assert found == [search(generation, row[None], k, collapse=collapse) for row in xq]
    assert {one.plan for one in found} == {"graph" if k < 100 else "exact"}


def test_a_list_that_is_too_short_is_asked_for_again(
    big: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    xq = rows(big, 5)
    wanted = search_each(big, xq, 10)
    monkeypatch.setattr(search_module, "_SLACK", 0.1)
    short = search_each(big, xq, 10)
    assert [len(one.hits) for one in short] == [10] * 5
    assert all(one.rows_scanned > 10 for one in short)
    assert short[0].hits[0] == wanted[0].hits[0]


def test_a_small_shop_is_searched_exactly(shop) -> None:
    generation = load(shop.store, shop.build())
    xq = rows(generation, 4)
    found = search_each(generation, xq, 100)
    assert found == [search(generation, row[None], 100) for row in xq]
    assert all(one.exhausted and one.plan == "exact" for one in found)


def test_the_graph_is_asked_once(big: Generation, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = faiss.IndexHNSWSQ.search

    def count(index: faiss.IndexHNSWSQ, xq: np.ndarray, *args: object, **options: object) -> object:
        asked.append(len(xq))
        return real(index, xq, *args, **options)

    monkeypatch.setattr(faiss.IndexHNSWSQ, "search", count)
    search_each(with_beams(big, (-1, 32)), rows(big, 16), 10)
    assert asked == [16]


def asked_beams(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fills with the beams that the graph is asked with."""
    asked: list[int] = []
    real = kinds.parameters

    def parameters(index: Any, beam: int) -> Any:
        asked.append(beam)
        return real(index, beam)

    for module in (search_module, looked):
        monkeypatch.setattr(module, "parameters", parameters)
    return asked


def with_beams(generation: Generation, *beams: tuple[float, int]) -> Generation:
    found = tuple(Beam(cosine=cosine, rows=rows_) for cosine, rows_ in beams)
    figures = generation.manifest.figures.model_copy(update={"beams": found})
    return replace(generation, manifest=generation.manifest.model_copy(update={"figures": figures}))


def test_the_beam_is_the_generations_own(big: Generation, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asked_beams(monkeypatch)
    own = with_beams(big, (-0.9, 77), (-1, 150))
    xq, everything = rows(own, 1), np.ones(own.manifest.products, bool)
    search_each(own, xq, 1)
    search(own, xq, 1)
    search(own, xq, 1, everything, plan=search_module.Plan("graph", 10))
    assert asked == [77, 77, 77]
    search(own, xq, 1, plan=search_module.Plan("graph", 60))
    assert asked[3:] == [140], "more for each row beyond ten"


def test_a_query_that_is_far_off_is_asked_again_with_a_wider_beam(
    big: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asked_beams(monkeypatch)
    own = with_beams(big, (1.1, 77), (-1, 150))  # nothing is as near as the first beam is for
    xq, everything = rows(own, 3), np.ones(own.manifest.products, bool)
    each = search_each(own, xq, 1)
    assert asked == [77, 150], "all of them at once"
    one = search(own, xq[:1], 1)
    again = search_module.Plan("graph", one.rows_scanned // 2)
    masked = search(own, xq[:1], 1, everything, plan=again)
    assert asked[2:] == [77, 150] * 2
    assert each[0] == one == masked
