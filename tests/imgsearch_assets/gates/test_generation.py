import numpy as np
import pytest

from imgsearch_assets.gates import generation as gates
from imgsearch_assets.gates.generation import (
    Gate,
    enough_products,
    filters_filled,
    golden_queries,
    recall,
    run_gates,
    unit_norms,
)
from serving.index.artifact import load


def test_a_good_generation_passes_them_all(shop) -> None:
    manifest = shop.build()
    passed = run_gates(load(shop.store, manifest), manifest)
    assert [gate.name for gate in passed] == [
        "enough_products",
        "recall_at_10_vs_exact",
        "unit_norms",
        "golden_queries",
        "filters_filled",
    ]
    assert all(gate.passed for gate in passed), passed
    assert passed[-1].message == "12 of 12 filter values are answered in full"
    assert passed[-2].message == "50 of 50 products are found by their own vectors"


@pytest.mark.parametrize(
    ("live", "products", "passed"),
    [(None, 1, True), (10, 1, True), (60, 40, True), (60, 39, False), (1000, 800, True), (1000, 799, False)],
)
def test_a_generation_may_not_lose_too_much(shop, live: int | None, products: int, passed: bool) -> None:
    manifest = shop.build()
    before = manifest.model_copy(update={"products": live}) if live else None
    gate = enough_products(manifest.model_copy(update={"products": products}), before)
    assert gate.passed == passed
    if live == 60:
        assert gate == Gate(
            "enough_products", passed, products, 40, f"{products} products, at least 40 wanted: 60 are live"
        )


def test_a_graph_that_loses_neighbours_fails(shop) -> None:
    manifest = shop.build()
    figures = manifest.figures.model_copy(update={"recall_at_10": 0.9})
    gate = recall(manifest.model_copy(update={"figures": figures}))
    assert not gate.passed
    assert (
        gate.message
        == f"recall@10 against exact 0.9000 over {figures.recall_queries} queries, at least 0.95 wanted"
    )


def test_rows_that_are_not_of_unit_length_fail(shop) -> None:
    shop.vectors = shop.vectors * 1.01
    gate = unit_norms(shop.build())
    assert not gate.passed
    assert gate.message == "a row's length is off by 0.01 at most, 0.001 allowed"


def test_products_that_are_not_found_fail(shop, monkeypatch: pytest.MonkeyPatch) -> None:
    generation = load(shop.store, shop.build())
    found = gates.search

    def worse(*asked):
        answer = found(*asked)
        return answer._replace(hits=[hit._replace(product=0, score=0.5) for hit in answer.hits])

    monkeypatch.setattr(gates, "search", worse)
    gate = golden_queries(generation)
    assert not gate.passed
    assert gate.message.startswith(
        "1 of 50 products are found by their own vectors; not p00001, p00002, p0000"
    )


def test_the_same_picture_under_two_products_is_no_failure(shop) -> None:
    shop.vectors = np.repeat(shop.vectors[:1], len(shop.vectors), axis=0)
    assert golden_queries(load(shop.store, shop.build())).passed


def test_a_filter_that_starves_fails(shop, monkeypatch: pytest.MonkeyPatch) -> None:
    generation = load(shop.store, shop.build())
    found = gates.search

    def starving(generation, query, k, allowed):
        answer = found(generation, query, k, allowed)
        return answer if allowed.sum() > 15 else answer._replace(hits=answer.hits[:-1])

    monkeypatch.setattr(gates, "search", starving)
    gate = filters_filled(generation)
    assert not gate.passed
    assert gate.message == (
        "5 of 12 filter values are answered in full; not brand 'brand 0', brand 'brand 1', brand 'brand 2'"
    )
