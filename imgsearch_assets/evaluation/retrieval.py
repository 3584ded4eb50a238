"""How often the right product comes early: exact search over vectors of labelled pictures, in blocks.

A product scores its best pair of rows (a query's item or whole picture, a gallery picture's item or whole
picture), as the search service scores it. Of equal scores the wrong one comes first, so that an embedder
which answers every picture with the same vector finds nothing rather than everything.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgsearch_assets.datasets.dataset import Labelled
from imgsearch_assets.progress import Advance, silent
from serving.errors import BadInput

# Products kept of every ranking, and pictures that average precision looks at.
ANSWERS, _DEPTH = 20, 10
# Scores held at once: 128 MiB of float32.
_BLOCK = 2**25

Selection = NDArray[np.bool_]


@dataclass(frozen=True)
class Embedded:
    """Pictures as vectors: float32 (rows, d) of unit length, one row or more a picture.

    ``picture_of``, int64 (rows,), numbers the picture of each row and never falls; every picture has a row.
    Raises ``BadInput`` when a vector is not finite, ``ValueError`` when the shapes contradict each other.
    """

    pictures: tuple[Labelled, ...]
    vectors: NDArray[np.float32]
    picture_of: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or self.picture_of.shape != (len(self.vectors),):
            raise ValueError(
                f"vectors {self.vectors.shape} and picture_of {self.picture_of.shape} do not fit"
            )
        if not np.array_equal(np.unique(self.picture_of), np.arange(len(self.pictures))) or np.any(
            np.diff(self.picture_of) < 0
        ):
            raise ValueError("picture_of must count up through all pictures")
        if not np.isfinite(self.vectors).all():
            raise BadInput("the vectors hold values that are no numbers; the embedder's weights are damaged")

    @property
    def products(self) -> list[str]:
        """The product of each picture; one without is a product of its own."""
        return [one.product or f"\0{one.path}" for one in self.pictures]


@dataclass(frozen=True)
class Retrieval:
    """Rankings of the products of ``gallery`` for each of ``queries``, whose own picture is never in it.

    ``ranks`` int64 (n,): place of the right product, from 1; 0 where the gallery has no picture of it.
    ``average_precision`` float64 (n,): see ``map_at_10``; NaN where the rank is 0.
    ``answers`` int64 (n, 20): the first products, each as the number of its best gallery picture, -1 after
    the last. ``scores`` float32 (n, 20): theirs, cosines; ``right_scores`` float32 (n,): that of the right
    product, -inf where the rank is 0. ``kin`` float64 (n, 20): see
    ``category_precision_at``, a column for each k.
    """

    queries: tuple[Labelled, ...]
    gallery: tuple[Labelled, ...]
    ranks: NDArray[np.int64]
    average_precision: NDArray[np.float64]
    answers: NDArray[np.int64]
    scores: NDArray[np.float32]
    right_scores: NDArray[np.float32]
    kin: NDArray[np.float64]

    def recall_at(self, k: int, where: Selection | None = None) -> float:
        """Share of the queries with an answer whose product is among the first ``k``; NaN of none."""
        return _mean((self.ranks <= k)[self._answerable(where)])

    def map_at_10(self, where: Selection | None = None) -> float:
        """Mean over the queries with an answer of the average precision of the first 10 gallery pictures.

        With R gallery pictures of the query's product, its own left out, a query's is the sum over the
        places i of 1..10 that hold one of them of (how many of them are among the first i) / i, divided by
        min(R, 10): 1 when the first min(R, 10) pictures are all of the product (Manning et al.,
        Introduction to Information Retrieval, 8.4, cut at 10). NaN of none.
        """
        return _mean(self.average_precision[self._answerable(where)])

    def category_precision_at(self, k: int, where: Selection | None = None) -> float:
        """Mean over the queries with a category of the share of the first ``k`` products that have the same.

        The query's own product is left out, so that this speaks of kinds and not of identity; where there
        are fewer than ``k`` others, the share is of those. NaN of none.
        """
        kin = self.kin[:, k - 1]
        chosen = ~np.isnan(kin)
        return _mean(kin[chosen if where is None else chosen & where])

    @cached_property
    def figures(self) -> dict[str, float]:
        """All figures over all queries."""
        return self.figures_of(np.ones(len(self.queries), bool))

    @cached_property
    def by_category(self) -> dict[str, dict[str, float]]:
        return self._by(lambda one: one.category)

    @cached_property
    def by_kind(self) -> dict[str, dict[str, float]]:
        return self._by(lambda one: one.kind)

    def figures_of(self, where: Selection) -> dict[str, float]:
        """The figures of the queries ``where`` bool (n,) is set; one that speaks of nothing is left out."""
        every = {
            "queries": float(np.count_nonzero(where)),
            **{f"recall_at_{k}": self.recall_at(k, where) for k in (1, 10, 20)},
            "map_at_10": self.map_at_10(where),
            "category_precision_at_5": self.category_precision_at(5, where),
        }
        return {name: value for name, value in every.items() if not np.isnan(value)}

    @property
    def knows_products(self) -> bool:
        """Whether any query has a right answer; else only categories can be told apart."""
        return bool((self.ranks > 0).any())

    def worst(self, count: int) -> list[int]:
        """Numbers of the ``count`` queries whose product came latest, the latest first.

        Where no query has a product to find, those with the fewest of their category among the first 5.
        """
        if self.knows_products:
            order = np.argsort(-self.ranks, kind="stable")
            return [int(i) for i in order[:count] if self.ranks[i] > 1]
        order = np.argsort(self.kin[:, 4], kind="stable")  # NaN last
        return [int(i) for i in order[:count] if self.kin[i, 4] < 1]

    def _by(self, label: Callable[[Labelled], str]) -> dict[str, dict[str, float]]:
        labels = np.array([label(one) for one in self.queries], object)
        return {
            str(value): self.figures_of((labels == value).astype(bool))
            for value in sorted(set(labels))
            if value
        }

    def _answerable(self, where: Selection | None) -> Selection:
        there: Selection = self.ranks > 0
        return there if where is None else there & where


def retrieve(queries: Embedded, gallery: Embedded, advance: Advance = silent) -> Retrieval:
    """Rank the products of ``gallery`` for every picture of ``queries``; ``advance`` counts queries.

    A picture in both (the same path) does not answer itself. Raises ``BadInput`` when either is empty.
    """
    if not queries.pictures or not gallery.pictures:
        raise BadInput("nothing to measure: there must be pictures to ask with and pictures to find")
    shelf = _Shelf(gallery)
    names = queries.products
    rows: list[_Ranking] = []
    for first, last, scores in _blocks(queries, shelf):
        for query, picture_scores in zip(range(first, last), scores, strict=True):
            rows.append(shelf.ranking(queries.pictures[query], names[query], picture_scores))
        advance(last - first)
    return Retrieval(
        queries.pictures,
        gallery.pictures,
        np.array([row.rank for row in rows]),
        np.array([row.average_precision for row in rows]),
        np.stack([row.answers for row in rows]),
        np.stack([row.scores for row in rows]),
        np.array([row.right_score for row in rows], np.float32),
        np.stack([row.kin for row in rows]),
    )


@dataclass(frozen=True)
class _Ranking:
    rank: int
    average_precision: float
    answers: NDArray[np.int64]
    scores: NDArray[np.float32]
    right_score: float
    kin: NDArray[np.float64]


class _Shelf:
    """A gallery in order of product, so that a product's best picture is a maximum over a run of columns."""

    def __init__(self, gallery: Embedded) -> None:
        names = gallery.products
        order = np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)
        self.order = order
        starts = np.searchsorted(gallery.picture_of, np.arange(len(names) + 1))
        by_row = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in order])
        self.vectors = gallery.vectors[by_row]
        widths = starts[order + 1] - starts[order]
        self.row_starts = np.concatenate(([0], np.cumsum(widths)[:-1]))
        sorted_names = [names[i] for i in order]
        self.product_starts = np.array(
            [i for i, name in enumerate(sorted_names) if i == 0 or name != sorted_names[i - 1]], np.int64
        )
        self.product_stops = np.append(self.product_starts[1:], len(order))
        self.number = {sorted_names[start]: i for i, start in enumerate(self.product_starts)}
        # A picture may show more than one product, and then has more than one column.
        self.columns: dict[Path, list[int]] = {}
        for column, i in enumerate(order):
            self.columns.setdefault(gallery.pictures[i].path, []).append(column)
        categories = [gallery.pictures[order[start]].category for start in self.product_starts]
        self.categories = np.array(categories, object)

    def ranking(self, query: Labelled, name: str, scores: NDArray[np.float32]) -> _Ranking:
        """``scores`` float32 (pictures,): of each column, the best over the pairs of rows."""
        scores[self.columns.get(query.path, [])] = -np.inf
        right = self.number.get(name, -1)
        by_product = np.maximum.reduceat(scores, self.product_starts)
        answers, told = np.full(ANSWERS, -1, np.int64), np.full(ANSWERS, -np.inf, np.float32)
        # One more than is shown, because the precision of categories leaves the query's own product out.
        first = _first(by_product, ANSWERS + 1, right)
        for place, product in enumerate(first[:ANSWERS]):
            start, stop = self.product_starts[product], self.product_stops[product]
            answers[place] = self.order[start + int(np.argmax(scores[start:stop]))]
            told[place] = by_product[product]
        rank, precision, score = 0, float("nan"), -np.inf
        if right >= 0 and by_product[right] > -np.inf:
            rank = int(np.count_nonzero(by_product >= by_product[right]))
            precision, score = self._average_precision(scores, right), float(by_product[right])
        return _Ranking(
            rank, precision, answers, told, score, self._kin(query.category, first[first != right])
        )

    def _average_precision(self, scores: NDArray[np.float32], right: int) -> float:
        start, stop = self.product_starts[right], self.product_stops[right]
        relevant = int(np.count_nonzero(scores[start:stop] > -np.inf))
        first = _first(scores, _DEPTH, range(start, stop))
        hits = (first >= start) & (first < stop)
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        return float((precision * hits).sum() / min(relevant, _DEPTH))

    def _kin(self, category: str, others: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of the first k of ``others``, k of 1..20, the share that has ``category``."""
        if not category or not len(others):
            return np.full(ANSWERS, np.nan)
        same = np.cumsum(self.categories[others[:ANSWERS]] == category) / np.arange(
            1, min(len(others), ANSWERS) + 1
        )
        return np.pad(same.astype(np.float64), (0, ANSWERS - len(same)), mode="edge")


def _first(scores: NDArray[np.float32], count: int, late: int | range) -> NDArray[np.int64]:
    """Columns of the ``count`` highest finite scores in order; of equal ones those of ``late`` come last."""
    count = min(count, len(scores))
    least = np.partition(scores, len(scores) - count)[len(scores) - count]
    found = np.flatnonzero((scores >= least) & (scores > -np.inf))
    late = range(late, late + 1) if isinstance(late, int) else late
    is_late = (found >= late.start) & (found < late.stop)
    return found[np.lexsort((found, is_late, -scores[found]))][:count]


def _blocks(queries: Embedded, shelf: _Shelf) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """First and last query of a block, and its scores float32 (queries, gallery pictures)."""
    starts = np.searchsorted(queries.picture_of, np.arange(len(queries.pictures) + 1))
    most_rows = max(1, _BLOCK // len(shelf.vectors))
    first = 0
    while first < len(queries.pictures):
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + most_rows, side="right")) - 1)
        pairs = queries.vectors[starts[first] : starts[last]] @ shelf.vectors.T
        # Where every picture has one row, there is nothing to choose from.
        alone = len(shelf.row_starts) == len(shelf.vectors)
        by_picture = pairs if alone else np.maximum.reduceat(pairs, shelf.row_starts, axis=1)
        yield first, last, np.maximum.reduceat(by_picture, starts[first:last] - starts[first], axis=0)
        first = last


def _mean(values: NDArray[np.float64] | Selection) -> float:
    return float(values.mean()) if len(values) else float("nan")


def flat(parts: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Figures of several parts under one another's names: ``{"a": {"b": 1}}`` to ``{"a_b": 1}``."""
    return {f"{part}_{name}": value for part, figures in parts.items() for name, value in figures.items()}
