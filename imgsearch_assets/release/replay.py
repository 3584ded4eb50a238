"""The same queries on two generations: how much of what people are shown changes, and where the most.

A query is a product of both, searched with its own vectors in each, so generations of two embedders can be
compared. What both hold is compared by itself: products that came or went are named apart, and are no churn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from serving.index.kept import Kept
from serving.index.loaded import Generation
from serving.index.search import search_each

K = 10
_QUERIES = 200
_SEED = 20_260
# How far down a list the eye goes; with it the first ten hold 86 % of the weight.
_PERSISTENCE = 0.9
# Equals come in the order of their ids, not of rows, which differ between generations.
_DIGITS = 3


class Shown(NamedTuple):
    """A product in an answer: its number in that generation, and its cosine."""

    product_id: str
    place: int
    score: float


@dataclass(frozen=True)
class Replayed:
    """A query's answer in either generation; ``overlap`` and ``rbo`` are of the products that both hold."""

    product_id: str
    before: tuple[Shown, ...]
    after: tuple[Shown, ...]
    overlap: float
    rbo: float

    @property
    def changed(self) -> bool:
        return [one.product_id for one in self.before] != [one.product_id for one in self.after]


@dataclass(frozen=True)
class Comparison:
    """Of ``before`` and ``after``; ``gone`` and ``new`` are the products that only one of them holds."""

    queries: tuple[Replayed, ...]
    gone: tuple[str, ...]
    new: tuple[str, ...]

    @property
    def overlap(self) -> float:
        """Mean share of the first ten that stays; 1 where nothing could be asked."""
        return float(np.mean([one.overlap for one in self.queries])) if self.queries else 1.0

    @property
    def rbo(self) -> float:
        return float(np.mean([one.rbo for one in self.queries])) if self.queries else 1.0

    @property
    def changed(self) -> int:
        """Queries whose first ten are others, or in another order, be it for what came or went."""
        return sum(one.changed for one in self.queries)

    def worst(self, count: int) -> list[Replayed]:
        """The changed queries whose rankings have least in common, the worst first."""
        changed = [one for one in self.queries if one.changed]
        return sorted(changed, key=lambda one: (one.rbo, one.product_id))[:count]


def compare(before: Generation, after: Generation, recorded: Sequence[str] = ()) -> Comparison:
    """Ask both for a sample of the products that both hold, and for those of ``recorded`` that both hold."""
    old, new = _places(before), _places(after)
    common = sorted(old.keys() & new.keys())
    asked = dict.fromkeys(stratified(common, _categories(after, [new[name] for name in common]), _QUERIES))
    asked |= dict.fromkeys(name for name in recorded if name in old and name in new)
    shown, held = [], []
    for generation, places in ((before, old), (after, new)):
        queries = [places[name] for name in asked]
        shown.append(nearest(generation, queries))
        if len(places) == len(common):
            held.append(shown[-1])
        else:
            held.append(nearest(generation, queries, _kept(generation, [places[name] for name in common])))
    replayed = []
    for name, was, now, *both in zip(asked, *shown, *held, strict=True):
        ranked = [[one.product_id for one in answer] for answer in both]
        replayed.append(Replayed(name, was, now, overlap(*ranked), rank_biased_overlap(*ranked)))
    return Comparison(tuple(replayed), tuple(sorted(old.keys() - new)), tuple(sorted(new.keys() - old)))


def nearest(
    generation: Generation, places: Sequence[int], allowed: Kept | None = None
) -> list[tuple[Shown, ...]]:
    """For each of ``places`` the first ten products like the one there, without it; of ``allowed`` alone."""
    queries = [generation.vectors(place) for place in places]
    answers = []
    for place, found in zip(places, search_each(generation, queries, 2 * K, allowed), strict=True):
        hits = [
            Shown(generation.id_of(hit.product), hit.product, hit.score)
            for hit in found.hits
            if hit.product != place
        ]
        answers.append(tuple(sorted(hits, key=lambda one: (-round(one.score, _DIGITS), one.product_id))[:K]))
    return answers


def stratified(ids: Sequence[str], strata: Sequence[str], count: int) -> list[str]:
    """About ``count`` of ``ids``, drawn by a fixed seed: of every stratum its share, one at the least."""
    if len(ids) <= count:
        return list(ids)
    rng = np.random.default_rng(_SEED)
    members: dict[str, list[str]] = {}
    for name, stratum in zip(ids, strata, strict=True):
        members.setdefault(stratum, []).append(name)
    drawn: list[str] = []
    for stratum in sorted(members):
        wanted = max(1, round(count * len(members[stratum]) / len(ids)))
        drawn += sorted(rng.choice(members[stratum], wanted, replace=False).tolist())
    return drawn


def overlap(first: Sequence[str], second: Sequence[str]) -> float:
    """The share of the longer that both have; 1 for two of nothing."""
    longest = max(len(first), len(second))
    return len(set(first) & set(second)) / longest if longest else 1.0


def rank_biased_overlap(first: Sequence[str], second: Sequence[str]) -> float:
    """How alike two rankings are, 0 to 1, what comes first counting most; 1 for two of nothing.

    Extrapolated from the depth of the shorter: equation 32 of Webber, Moffat and Zobel, "A similarity measure
    for indefinite rankings", ACM TOIS 28(4), 2010.
    """
    depth = min(len(first), len(second))
    if not depth:
        return float(len(first) == len(second))
    p = _PERSISTENCE
    agreement = [len(set(first[:d]) & set(second[:d])) / d for d in range(1, depth + 1)]
    summed = sum(share * p**d for d, share in enumerate(agreement, 1))
    return float(agreement[-1] * p**depth + (1 - p) / p * summed)


def _places(generation: Generation) -> dict[str, int]:
    """The number of every product that is there."""
    present = generation.present()
    ids = [str(name) for name in generation.products["product_id"].take(present).to_pylist()]
    return dict(zip(ids, present.tolist(), strict=True))


def _categories(generation: Generation, places: Sequence[int]) -> list[str]:
    return [str(value) for value in generation.products["category"].take(places).to_pylist()]


def _kept(generation: Generation, places: Sequence[int]) -> Kept:
    mask = np.zeros(generation.size, bool)
    mask[places] = True
    return Kept(generation, mask)
