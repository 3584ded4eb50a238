"""Search under filters of every tightness: recall, whether it is filled, and its speed beside two others.

    python -m benchmarks.filters --json

A filter keeps a share of the products: scattered at random, or clustered (the share nearest to one product,
as a category is), with the query among them or far from them. Ours is the search of the service, one query a
call, its planner choosing. Beside it the same graph with an id selector, at the smallest beam that finds as
much as ours does (where none does it is no rival, however fast, and its recall is shown), and exact search
over what is kept, the faster of two: FAISS flat with an id selector, and numpy over the kept rows. Every
query has a filter of its own, every side gets it as bool per product; what it takes to make that of a
shopper's filter is told by itself. Turn by turn; medians of rounds; all seconds are the processor's, for one
thread that never waits.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks._catalogue import SETS, Catalogue, Rows, built, catalogue, shown
from benchmarks._exact import TOLERANCE
from serving.index.filters import Attributes, Filter
from serving.index.loaded import Generation
from serving.index.search import search

SHARES = (1.0, 0.5, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0001)
KINDS = ("scattered", "clustered, near", "clustered, far")
K = 10
# So much less recall is still the same: two in a thousand answers.
EQUAL = 0.002
BEAMS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048)
# A copy of more than that is never the faster way, and takes long to find out.
_MOST_COPIED = 0.2
_NEAR = 20

Mask = NDArray[np.bool_]
# Of a query float32 (1, d) and its mask, the products found, best first.
Ask = Callable[[Rows, Mask], list[int]]


@dataclass(frozen=True)
class Shelf:
    """What is searched: rows float32 (products, rows of each, d), and the generation of them."""

    rows: Rows
    flat: faiss.Index
    generation: Generation

    @property
    def per_product(self) -> int:
        return self.rows.shape[1]

    def ours(self, xq: Rows, mask: Mask) -> list[int]:
        return [hit.product for hit in search(self.generation, xq, K, mask).hits]

    def graph(self, ef: int) -> Ask:
        """The graph as FAISS filters it."""

        def ask(xq: Rows, mask: Mask) -> list[int]:
            return self._selected(self.generation.base.index, xq, mask, ef)

        return ask

    def exact_by_faiss(self, xq: Rows, mask: Mask) -> list[int]:
        return self._selected(self.flat, xq, mask, None)

    def exact_by_numpy(self, xq: Rows, mask: Mask) -> list[int]:
        products = np.flatnonzero(mask)
        scores = (self.rows[products] @ xq[0]).max(axis=1)
        best = np.argpartition(-scores, K)[:K] if len(scores) > K else np.arange(len(scores))
        return [int(product) for product in products[best[np.argsort(-scores[best])]]]

    def _selected(self, index: faiss.Index, xq: Rows, mask: Mask, ef: int | None) -> list[int]:
        keep = mask if self.per_product == 1 else np.repeat(mask, self.per_product)
        selector = faiss.IDSelectorBitmap(np.packbits(keep, bitorder="little"))
        parameters = (
            faiss.SearchParameters(sel=selector)
            if ef is None
            else faiss.SearchParametersHNSW(efSearch=ef, sel=selector)
        )
        _, found = index.search(xq, K * self.per_product, params=parameters)
        return list(dict.fromkeys(int(row) // self.per_product for row in found[0] if row >= 0))[:K]


def filters_of(kind: str, share: float, shelf: Shelf, xq: Rows, rng: np.random.Generator) -> list[Mask]:
    """A mask of ``share`` of the products for each query."""
    count = len(shelf.rows)
    kept = max(1, round(share * count))
    masks = []
    for one in xq:
        mask = np.zeros(count, bool)
        if kind == "scattered":
            mask[rng.choice(count, kept, replace=False)] = True
        else:
            order = np.argsort(-(shelf.rows[:, 0] @ one))
            near = kind == "clustered, near"
            # Far: among the half that is least like the query.
            centre = order[rng.integers(min(_NEAR, count)) if near else rng.integers(count // 2, count)]
            alike = shelf.rows[:, 0] @ shelf.rows[centre, 0]
            mask[np.argpartition(-alike, kept - 1)[:kept]] = True
        masks.append(mask)
    return masks


@dataclass
class Point:
    """One kind of filter at one share; queries a second of every round by who asks."""

    kind: str
    share: float
    recall: dict[str, float] = field(default_factory=dict)
    fill: float = 1.0
    beam: int = 0
    plans: dict[str, int] = field(default_factory=dict)
    qps: dict[str, list[float]] = field(default_factory=dict)

    @property
    def rivals(self) -> list[str]:
        """Who finds as much as ours."""
        enough = self.recall["ours"] - EQUAL
        return [name for name in self.qps if name != "ours" and self.recall[name] >= enough]

    @property
    def better(self) -> str:
        return max(self.rivals, key=lambda name: median(self.qps[name]))

    @property
    def ratio(self) -> float:
        return median(a / b for a, b in zip(self.qps["ours"], self.qps[self.better], strict=True))


class Course:
    """The queries of a point, their filters and the exact answers."""

    def __init__(self, shelf: Shelf, xq: Rows, masks: list[Mask]) -> None:
        self._pairs = [(xq[row : row + 1], mask) for row, mask in enumerate(masks)]
        self._shelf = shelf
        self._least = []
        self.exist = []  # how many there are to be found
        for one, mask in self._pairs:
            scores = (shelf.rows[mask] @ one[0]).max(axis=1)
            k = min(K, len(scores))
            self.exist.append(k)
            self._least.append(float(np.partition(scores, -k)[-k]))

    def run(self, ask: Ask) -> tuple[float, list[list[int]]]:
        """Queries a second, and what was found."""
        started = time.process_time()
        found = [ask(one, mask) for one, mask in self._pairs]
        return len(found) / (time.process_time() - started), found

    def recall(self, found: list[list[int]]) -> float:
        """Share of the exact answers found. Raises ``AssertionError`` for anything outside a filter."""
        right = 0
        for (one, mask), products, least in zip(self._pairs, found, self._least, strict=True):
            assert mask[products].all(), "an answer from outside its filter"
            assert len(set(products)) == len(products), "a product twice in one answer"
            scores = (self._shelf.rows[products] @ one[0]).max(axis=1, initial=-1)
            right += int((scores >= least - TOLERANCE).sum())
        return right / sum(self.exist)

    def fill(self, found: list[list[int]]) -> float:
        """The least part of what could be returned that was."""
        return min(len(products) / exist for products, exist in zip(found, self.exist, strict=True))

    def plans(self) -> dict[str, int]:
        names = [search(self._shelf.generation, one, K, mask).plan for one, mask in self._pairs]
        return {name: names.count(name) for name in sorted(set(names))}


def measured(kind: str, share: float, shelf: Shelf, xq: Rows, rounds: int) -> Point:
    course = Course(shelf, xq, filters_of(kind, share, shelf, xq, np.random.default_rng(0)))
    point = Point(kind, share, plans=course.plans())
    sides: dict[str, Ask] = {"ours": shelf.ours, "exact, FAISS": shelf.exact_by_faiss}
    if share <= _MOST_COPIED:
        sides["exact, numpy"] = shelf.exact_by_numpy
    enough = course.recall(course.run(shelf.ours)[1]) - EQUAL
    for point.beam in BEAMS:
        if course.recall(course.run(shelf.graph(point.beam))[1]) >= enough:
            break
    sides["graph"] = shelf.graph(point.beam)
    for round_ in range(rounds):
        for name in sorted(sides, reverse=round_ % 2 == 1):
            speed, found = course.run(sides[name])
            point.qps.setdefault(name, []).append(speed)
            if round_ == 0:
                point.recall[name] = course.recall(found)
                if name == "ours":
                    point.fill = course.fill(found)
    return point


def points_of(data: Catalogue, per_product: int, rounds: int) -> list[Point]:
    products = len(data.xb) // per_product
    xb = shown(data.xb, products, per_product)
    flat = faiss.IndexFlatIP(xb.shape[1])
    flat.add(xb)
    with tempfile.TemporaryDirectory(prefix="imgsearch-bench-") as folder:
        generation = built(xb, per_product, Path(folder)).generation
        shelf = Shelf(xb.reshape(products, per_product, -1), flat, generation)
        points = []
        for kind in KINDS:
            # Where everything is kept there is nothing to scatter or to cluster.
            for share in SHARES[0 if kind == KINDS[0] else 1 :]:
                points.append(measured(kind, share, shelf, data.xq, rounds))
                print(line(points[-1]), file=sys.stderr)
    return points


# Categories, brands and colours of a large shop; prices in cents.
_VALUES = {"category": 40, "brand": 800, "colour": 16}
_DEAREST = 20_000
_FILTERS = {
    "one category": Filter(category=frozenset({"category 1"})),
    "category, price, in stock": Filter(
        category=frozenset({"category 1"}), price_min=2_000, price_max=5_000, in_stock_only=True
    ),
    "all, five of each": Filter(
        **{name: frozenset(f"{name} {value}" for value in range(5)) for name in _VALUES},
        price_min=2_000,
        price_max=5_000,
        in_stock_only=True,
    ),
}


def masks_us(products: int, times: int = 50) -> dict[str, float]:
    """Microseconds, in the middle, to make the mask of each of ``_FILTERS``."""
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "product_id": [f"{number:09d}" for number in range(products)],
            "price": rng.integers(0, _DEAREST, products),
            "in_stock": rng.random(products) < 0.9,
        }
        | {
            name: [f"{name} {value}" for value in rng.integers(0, values, products)]
            for name, values in _VALUES.items()
        }
    )
    attributes = Attributes.of(table)
    took: dict[str, float] = {}
    for name, wanted in _FILTERS.items():
        rounds = []
        for _ in range(times):
            started = time.perf_counter()
            attributes.mask(wanted)
            rounds.append(time.perf_counter() - started)
        took[name] = round(median(rounds) * 1e6, 1)
    return took


HEADER = (
    f"{'filter':<17}{'keeps':>8}{'recall':>8}{'fill':>6}{'plan':>15}{'ours/s':>9}"
    f"{'graph/s':>9}{'beam':>6}{'recall':>8}{'exact/s':>9}{'ours/better':>13}"
)


def line(point: Point) -> str:
    exact = max(median(rounds) for name, rounds in point.qps.items() if name.startswith("exact"))
    plans = " ".join(f"{name} {count}" for name, count in point.plans.items())
    note = "" if "graph" in point.rivals else "  (graph no rival)"
    return (
        f"{point.kind:<17}{point.share:>8g}{point.recall['ours']:>8.3f}{point.fill:>6.2f}{plans:>15}"
        f"{median(point.qps['ours']):>9,.0f}{median(point.qps['graph']):>9,.0f}{point.beam:>6}"
        f"{point.recall['graph']:>8.3f}{exact:>9,.0f}{point.ratio:>13.2f}{note}"
    )


def figures(points: list[Point]) -> dict[str, Any]:
    return {
        "min_recall": round(min(point.recall["ours"] for point in points), 4),
        "min_fill": min(point.fill for point in points),
        "min_qps_vs_better": round(min(point.ratio for point in points), 3),
        "points": [
            {
                "filter": point.kind,
                "keeps": point.share,
                "recall": round(point.recall["ours"], 4),
                "plans": point.plans,
                "qps": {name: round(median(rounds), 1) for name, rounds in point.qps.items()},
                "graph_beam": point.beam,
                "graph_recall": round(point.recall["graph"], 4),
                "qps_vs_better": round(point.ratio, 3),
            }
            for point in points
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--n", type=int, default=200_000, help="rows")
    parser.add_argument("--dim", type=int, default=128, help="drawn: at most; longer ones are shortened")
    parser.add_argument("--rows-per-product", type=int, default=1)
    parser.add_argument("--queries", type=int, default=100, help="at every point")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", choices=SETS, nargs="+", default=["drawn", "synthetic"])
    parser.add_argument("--products", type=int, default=300, help="drawn for the embeddings")
    parser.add_argument("--keep", type=Path, help="folder for what is drawn, to be used again; else none")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    faiss.omp_set_num_threads(1)
    load = os.getloadavg()[0]
    said: dict[str, Any] = {}
    for name in options.data:
        data = catalogue(name, options.n, options.queries, options.dim, options.products, options.keep)
        points = points_of(data, options.rows_per_product, options.rounds)
        said[name] = figures(points)
        shape = f"{len(data.xb):,} x {data.xb.shape[1]}"
        print(f"\n{data.said}\n{shape}, {options.queries} queries a line, one core")
        print("\n".join([HEADER, *map(line, points)]))
    least = {
        name: min(each[name] for each in said.values()) for name in next(iter(said.values())) if "min" in name
    }
    print("\n" + ", ".join(f"{name} {value:g}" for name, value in least.items()))
    masks = masks_us(options.n // options.rows_per_product)
    print("a mask of " + ", ".join(f"{name}: {us:g} us" for name, us in masks.items()))
    print(f"load of the machine when this began: {load:.1f}")
    if options.json:
        asked = {"n": options.n, "rows_per_product": options.rows_per_product}
        print(json.dumps({**least, **asked, "mask_us": masks, "load_before": round(load, 1), **said}))


if __name__ == "__main__":
    main()
