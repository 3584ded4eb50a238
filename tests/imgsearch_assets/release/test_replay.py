"""Figures of two generations side by side."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsearch_assets.release.replay import compare, overlap, rank_biased_overlap, stratified
from serving.index.artifact import load

rankings = st.permutations("abcdefghijkl").map(lambda names: names[:10])


def test_rankings_that_agree_more_and_earlier_are_more_alike() -> None:
    first = list("abcdefghij")
    assert rank_biased_overlap(first, first) == pytest.approx(1)
    assert rank_biased_overlap(first, list("klmnopqrst")) == 0
    # By hand: agreement 0 at depth 1, all from 2 on, so 1 less the first term, (1 - p) / p * p.
    assert rank_biased_overlap(first, list("bacdefghij")) == pytest.approx(0.9)
    late = rank_biased_overlap(first, list("abcdefghji"))
    assert late == pytest.approx(1 - 0.1 * 0.9**8 / 9)
    assert rank_biased_overlap([], []) == 1
    assert rank_biased_overlap(["a"], []) == 0
    assert (overlap([], []), overlap(first, first[::-1]), overlap(first[:5], first)) == (1, 1, 0.5)


@given(rankings, rankings)
def test_it_is_the_same_both_ways_and_between_none_and_all(first: list[str], second: list[str]) -> None:
    found = rank_biased_overlap(first, second)
    assert math.isclose(found, rank_biased_overlap(second, first))
    assert 0 <= found <= 1 + 1e-9


@given(st.lists(st.sampled_from("abcde"), max_size=400), st.integers(1, 100))
def test_a_sample_has_of_every_stratum_its_share(strata: list[str], count: int) -> None:
    ids = [f"p{number}" for number in range(len(strata))]
    drawn = stratified(ids, strata, count)
    assert drawn == stratified(ids, strata, count)
    assert len(set(drawn)) == len(drawn)
    of = dict(zip(ids, strata, strict=True))
    assert {of[name] for name in drawn} == set(strata)
    for stratum in set(strata):
        have = sum(of[name] == stratum for name in drawn)
        if len(ids) > count:
            assert have == max(1, round(count * strata.count(stratum) / len(ids)))


def test_what_came_and_went_is_no_churn(shop) -> None:
    whole = shop.build("s1")
    less = shop.without(whole, shop.ids[:5])
    before, after = load(shop.store, whole), load(shop.store, less)
    found = compare(before, after)
    assert (found.overlap, found.rbo) == (1, 1)
    assert (set(found.gone), found.new) == (set(shop.ids[:5]), ())
    assert 0 < found.changed <= len(found.queries) == 55, "those who had what went"
    back = compare(after, before)
    assert (back.overlap, back.gone, set(back.new)) == (1, (), set(shop.ids[:5]))
    same = compare(before, before)
    assert (same.changed, same.worst(3)) == (0, [])


def test_what_looks_otherwise_is_churn_and_the_worst_comes_first(shop) -> None:
    before = load(shop.store, shop.build("s1"))
    of_one = np.isin(shop.items["product_id"].to_pylist(), shop.ids[:1])
    shop.vectors = shop.vectors.copy()
    shop.vectors[of_one] *= -1
    found = compare(before, load(shop.store, shop.build("s2")))
    assert 0.5 < found.overlap < 1
    worst = found.worst(3)
    assert worst[0].product_id == shop.ids[0]
    assert [one.rbo for one in worst] == sorted(one.rbo for one in worst)


def test_generations_of_two_embedders_are_compared_by_their_own_vectors(make_shop) -> None:
    first, second = make_shop(dim=16), make_shop(dim=24, seed=1)
    second.embedder = "embedder-2"
    found = compare(load(first.store, first.build()), load(second.store, second.build()))
    assert len(found.queries) == 60
    assert found.overlap < 0.5


def test_recorded_queries_are_asked_beside_the_sample(make_shop) -> None:
    shop = make_shop(products=260)
    generation = load(shop.store, shop.build())
    sample = {one.product_id for one in compare(generation, generation).queries}
    assert 200 <= len(sample) < 205
    others = [name for name in shop.ids if name not in sample][:3]
    asked = [one.product_id for one in compare(generation, generation, [*others, others[0], "gone"]).queries]
    assert set(asked) == sample | set(others)
    assert len(asked) == len(set(asked))
