"""Queries a second of the index on one core, against annoy, hnswlib, usearch and exact search.

    python -m benchmarks.search --json

All have the same vectors. Each is asked with the smallest setting of its search parameter that finds 98 % of
the exact ten; "ours, served" is the search of the service with its planner, which asks for more and turns
rows into products. Turn by turn, so that a noisy machine disturbs all alike; medians of rounds, ratios within
a round; all seconds are the processor's, for one thread that never waits. "in one call" is all queries in one
call, where an index has such a call (annoy has none, the service's is one query by nature), "one a call" is
what a server does. A set's figures never mix with the other's: ``drawn`` is embeddings of drawn pictures
tiled to size; ``synthetic`` is clustered at random, a few kinds large and many small; ``even``, only where
asked for, has kinds all as large, which suits trees best: a leaf holds a kind.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import faiss

from benchmarks._catalogue import SETS, Catalogue, catalogue
from benchmarks._contestants import PEERS, Contestant, K, Rows, exact, graph_of, install, ours
from benchmarks._exact import recall, tenth

WANTED_RECALL = 0.98
_GRAPH, _SERVED = "our graph", "ours, served"
# What stands between our graph and hnswlib's, one difference at a time: links, numbers, care in building.
_VARIANTS = {
    "FAISS M16 float32 efC200": ("HNSW16,Flat", 200),
    "FAISS M16 float16 efC200": ("HNSW16,SQfp16", 200),
    "FAISS M32 float16 efC200": ("HNSW32,SQfp16", 200),
}


@dataclass
class Row:
    """A contestant at its setting; queries a second of every round."""

    contestant: Contestant
    setting: int
    recall: float
    batch: list[float]
    single: list[float]

    @property
    def best(self) -> list[float]:
        return self.batch or self.single


def at_recall(contestant: Contestant, data: Catalogue, least: Rows) -> Row:
    """With the smallest setting that reaches the recall, the largest there is where none does."""
    ask, ladder = contestant.batch or contestant.single, contestant.ladder

    def reached(setting: int) -> float:
        return recall(data.xb, data.xq, ask(data.xq, K, setting), least)

    place = bisect_left(ladder[:-1], True, key=lambda setting: reached(setting) >= WANTED_RECALL)
    return Row(contestant, ladder[place], reached(ladder[place]), [], [])


def speed(ask: Any, xq: Rows, setting: int) -> float:
    started = time.process_time()
    ask(xq, K, setting)
    return len(xq) / (time.process_time() - started)


def contest(data: Catalogue, peers: list[str], variants: bool, rounds: int) -> list[Row]:
    least = tenth(data.xb, data.xq, K)
    rows = []
    with tempfile.TemporaryDirectory(prefix="imgsearch-bench-") as folder:
        makers = [lambda: ours(data.xb, Path(folder)), lambda: [exact(data.xb)]]
        makers += [lambda name=name: [PEERS[name](data.xb)] for name in peers]  # type: ignore[misc]
        if variants:
            makers += [
                lambda name=name, how=how: [graph_of(name, data.xb, *how)]  # type: ignore[misc]
                for name, how in _VARIANTS.items()
            ]
        for make in makers:
            for contestant in make():
                rows.append(at_recall(contestant, data, least))
                print(
                    f"{data.name}: {contestant.name} built in {contestant.build_s:.1f} s, "
                    f"recall {rows[-1].recall:.3f}",
                    file=sys.stderr,
                )
        for round_ in range(rounds):
            for row in sorted(rows, key=rows.index, reverse=round_ % 2 == 1):
                if row.contestant.batch is not None:
                    row.batch.append(speed(row.contestant.batch, data.xq, row.setting))
                row.single.append(speed(row.contestant.single, data.xq, row.setting))
    return rows


def ratio(mine: list[float], theirs: list[float]) -> float:
    return round(median(a / b for a, b in zip(mine, theirs, strict=True)), 3)


def table(data: Catalogue, rows: list[Row]) -> None:
    print(f"\n{data.said}\n{len(data.xb):,} x {data.xb.shape[1]}, {len(data.xq):,} queries, one core")
    print(
        f"{'':<26}{'setting':<22}{'recall@10':>9}{'in one call':>13}{'one a call':>12}"
        f"{'build s':>9}{'bytes/vector':>14}"
    )
    for row in rows:
        one = row.contestant
        setting = f"{one.parameter} {row.setting}" if one.parameter else "-"
        batch = f"{median(row.batch):,.0f}" if row.batch else "-"
        note = "" if row.recall >= WANTED_RECALL else "  below the recall: no rival"
        print(
            f"{one.name:<26}{setting:<22}{row.recall:>9.3f}{batch:>13}{median(row.single):>12,.0f}"
            f"{one.build_s:>9.1f}{one.bytes_a_vector:>14.0f}{note}"
        )


def figures(rows: list[Row]) -> dict[str, Any]:
    named = {row.contestant.name: row for row in rows}
    graph, served = named[_GRAPH], named[_SERVED]
    said: dict[str, Any] = {}
    for peer in PEERS:
        if peer in named:
            theirs = named[peer]
            said[f"qps_vs_{peer}"] = ratio(graph.best, theirs.best)
            said[f"qps_vs_{peer}_one_a_call"] = ratio(graph.single, theirs.single)
            said[f"served_qps_vs_{peer}"] = ratio(served.single, theirs.single)
    said["contestants"] = {
        name: {
            "setting": row.setting,
            "recall_at_10": round(row.recall, 4),
            "qps": round(median(row.best), 1),
            "qps_one_a_call": round(median(row.single), 1),
            "build_s": round(row.contestant.build_s, 1),
            "bytes_a_vector": round(row.contestant.bytes_a_vector),
        }
        for name, row in named.items()
    }
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--n", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=128, help="drawn: at most; longer ones are shortened")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", choices=SETS, nargs="+", default=["drawn", "synthetic"])
    parser.add_argument("--products", type=int, default=1_000, help="drawn for the embeddings")
    parser.add_argument("--peers", choices=[*PEERS, "none"], nargs="+", default=list(PEERS))
    parser.add_argument("--variants", action="store_true", help="FAISS graphs of other settings, too")
    parser.add_argument("--keep", type=Path, help="folder for what is drawn, to be used again; else none")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    # One core for everybody, whatever pools of threads a library has.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    faiss.omp_set_num_threads(1)
    load = os.getloadavg()[0]
    peers = [name for name in options.peers if name != "none"]
    lacking = install(peers)
    said: dict[str, Any] = {}
    for name in options.data:
        data = catalogue(name, options.n, options.queries, options.dim, options.products, options.keep)
        there = [peer for peer in peers if peer not in lacking]
        rows = contest(data, there, options.variants, options.rounds)
        table(data, rows)
        said[name] = figures(rows)
        for peer in there:
            print(f"{_GRAPH} / {peer}: {said[name][f'qps_vs_{peer}']:.2f}", end="; ")
            print(f"served / {peer}, one a call: {said[name][f'served_qps_vs_{peer}']:.2f}")
    for peer, why in lacking.items():
        print(f"{peer} is not here to be compared with: {why}")
    print(f"load of the machine when this began: {load:.1f}")
    if options.json:
        wanted = {
            f"qps_vs_{peer}": min(each[f"qps_vs_{peer}"] for each in said.values())
            for peer in peers
            if peer not in lacking
        }
        print(
            json.dumps(
                {
                    **wanted,
                    "ratios_are": "the lower of the sets",
                    "n": options.n,
                    "load_before": round(load, 1),
                    "not_installed": lacking,
                    **said,
                }
            )
        )


if __name__ == "__main__":
    main()
