"""What a generation has to pass before the pointer moves to it.

A gate is a plain function to a ``Gate``: a figure beside what is wanted of it, and a sentence.
"""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from serving.index.filters import FACETS, Filter
from serving.index.generation import Manifest
from serving.index.loaded import Generation
from serving.index.part import Part
from serving.index.search import search

MIN_RECALL = 0.95
MAX_NORM_ERROR = 1e-3
MIN_FOUND = 0.99
# A generation may lose this share of the live one's products, or this many when that is more.
MAX_LOST_SHARE, MAX_LOST = 0.2, 20

_K = 10
_GOLDEN_PRODUCTS = 50
# Same cosine but for the rounding of float16: the same picture under two products.
_EQUAL = 2e-3


@dataclass(frozen=True, slots=True)
class Gate:
    """The outcome of one gate."""

    name: str
    passed: bool
    measured: float
    wanted: float
    message: str


def enough_products(manifest: Manifest, live: Manifest | None) -> Gate:
    """Not so many fewer products than the live generation that something upstream must be broken."""
    wanted = 1
    if live is not None:
        wanted = max(1, live.products - max(MAX_LOST, int(live.products * MAX_LOST_SHARE)))
    before = f"{live.products} are live" if live else "nothing is live"
    return Gate(
        "enough_products",
        manifest.products >= wanted,
        manifest.products,
        wanted,
        f"{manifest.products} products, at least {wanted} wanted: {before}",
    )


def recall(manifest: Manifest) -> Gate:
    """The graph finds what an exact search of the float32 vectors finds."""
    figures = manifest.figures
    return Gate(
        "recall_at_10_vs_exact",
        figures.recall_at_10 >= MIN_RECALL,
        figures.recall_at_10,
        MIN_RECALL,
        f"recall@10 against exact {figures.recall_at_10:.4f} over {figures.recall_queries} queries, "
        f"at least {MIN_RECALL} wanted",
    )


def unit_norms(manifest: Manifest) -> Gate:
    """Every row has length one: otherwise an inner product is no cosine."""
    return _norms(manifest.figures.norm_error)


def _norms(error: float) -> Gate:
    return Gate(
        "unit_norms",
        error <= MAX_NORM_ERROR,
        error,
        MAX_NORM_ERROR,
        f"a row's length is off by {error:.2g} at most, {MAX_NORM_ERROR} allowed",
    )


def golden_queries(generation: Generation) -> Gate:
    """A product's own vectors find it first, or one that looks the same."""
    present = generation.present()
    places = present[np.unique(np.linspace(0, len(present) - 1, _GOLDEN_PRODUCTS).astype(int))]
    missed = []
    for place in places:
        best = search(generation, generation.vectors(int(place)), 1).hits[0]
        if best.product != place and best.score < 1 - _EQUAL:
            missed.append(generation.id_of(int(place)))
    return _golden(len(places), missed)


def _golden(asked: int, missed: list[str]) -> Gate:
    found = 1 - len(missed) / asked
    return Gate(
        "golden_queries",
        found >= MIN_FOUND,
        found,
        MIN_FOUND,
        f"{asked - len(missed)} of {asked} products are found by their own vectors"
        + (f"; not {', '.join(missed[:3])}" if missed else ""),
    )


def filters_filled(generation: Generation) -> Gate:
    """Under every value of every facet a search answers with as many products as there are, up to ten."""
    query = generation.vectors(int(generation.present()[0]))
    starved, checked = [], 0
    for name in FACETS:
        for value in generation.values(name):
            allowed = generation.mask(Filter(**cast(Any, {name: frozenset({value})})))
            found = search(generation, query, _K, allowed)
            places = [hit.product for hit in found.hits]
            checked += 1
            if allowed is None or len(places) != min(_K, int(allowed.sum())) or not allowed[places].all():
                starved.append(f"{name} {value!r}")
    filled = 1 - len(starved) / checked
    return Gate(
        "filters_filled",
        not starved,
        filled,
        1.0,
        f"{checked - len(starved)} of {checked} filter values are answered in full"
        + (f"; not {', '.join(starved[:3])}" if starved else ""),
    )


def run_gates_of_deltas(manifest: Manifest, deltas: Part | None, live: Manifest) -> list[Gate]:
    """The gates that deltas can fail on a base that has passed all: counts, lengths, own vectors."""
    gates = [enough_products(manifest, live), recall(manifest)]
    if deltas is None or not deltas.size:
        return gates
    vectors = deltas.index.reconstruct_n(0, deltas.rows)
    error = float(np.abs(np.linalg.norm(vectors, axis=1) - 1).max())
    places = np.unique(np.linspace(0, deltas.size - 1, _GOLDEN_PRODUCTS).astype(int))
    own = deltas.first_row[places]
    scores, rows = deltas.index.search(vectors[own], 1)
    found = (deltas.row_product[rows[:, 0]] == places) | (scores[:, 0] >= 1 - _EQUAL)
    missed = [str(deltas.attributes.ids[int(place)]) for place in places[~found]]
    return [*gates, _norms(error), _golden(len(places), missed)]


def run_gates(generation: Generation, live: Manifest | None) -> list[Gate]:
    """Every gate, in the order of cost."""
    manifest = generation.manifest
    return [
        enough_products(manifest, live),
        recall(manifest),
        unit_norms(manifest),
        golden_queries(generation),
        filters_filled(generation),
    ]
