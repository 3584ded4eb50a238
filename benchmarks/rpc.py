"""Searches a second of the search service, against calls a second that do nothing.

    python -m benchmarks.rpc [--n 200000] [--dim 128] [--json]

One server process, as ``imgsearch serve search`` starts it. A call that does nothing is gRPC's own health
Check. ``ratio_vs_noop``: single-query searches a second by such calls a second, of the same server, turn by
turn, median of the rounds' ratios; by h2load, so that the client is not the limit. The queries of a round
are as many as h2load's processes, each asked again and again, so what they touch stays in the processor's
caches; ``ratio_vs_noop_new_queries`` has the time added that queries take longer that are all different, as
measured on the same index without a server. "picture" is what the HTTP API asks for a shopper's picture: two
vectors, the chosen box's and the whole's, and a filter that says nothing. A batch is one Search call of 64
queries. As many rounds more are of a generation with a delta of ``--changed`` products that came and as many
that went: every search compares those that came.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import faiss
import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import NDArray

from benchmarks._h2load import Call, NoH2load, h2load, load
from benchmarks._search_server import EMBEDDER, Catalogue, K, SearchServer, local_store, search_request
from imgsearch_assets.index.generation import build_delta
from serving.index.artifact import load as load_generation
from serving.index.generation import Manifest
from serving.index.loaded import Generation
from serving.index.search import search
from serving.index.store import point, read_pointer
from serving.object_store import ObjectStore
from serving.proto import search_pb2, search_pb2_grpc

SEARCH, CHECK = "/imgsearch.v1.Search/Search", "/grpc.health.v1.Health/Check"
BATCH = 64
PROCESSES, BATCH_PROCESSES = 8, 2
# What is asked: its name in the table, its vectors, and how often in the first, short round.
KINDS = {
    "noop": ("no-op (health Check)", 0, 500),
    "search": ("search", 1, 100),
    "picture": ("search of a picture", 2, 100),
    "batch": (f"search, {BATCH} at once", BATCH, 4),
}
# The whole of a picture, against the chosen box of it: farther from the shop's own.
WHOLE = 0.6
PATIENCE_S = 60.0
TIES = 1e-4  # of a cosine: which of equals comes first is chance


@dataclass(frozen=True)
class Rate:
    """Of one kind of call: how many a second, and seconds of the server's processor for each."""

    calls_per_s: float
    processor_s: float


@dataclass(frozen=True)
class Server:
    """The server under load, with a client of its own that checks its answers."""

    server: SearchServer
    catalogue: Catalogue
    folder: Path

    def noop(self) -> list[Call]:
        with grpc.insecure_channel(self.server.address) as channel:
            reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
        return [Call(CHECK, b"", reply.ByteSize())] * PROCESSES

    def search(self, requests: Sequence[search_pb2.SearchRequest]) -> list[Call]:
        messages = [request.SerializeToString() for request in requests]
        with grpc.insecure_channel(self.server.address) as channel:
            ask = channel.unary_unary(
                SEARCH
            )  # bytes to bytes: read and written again, a reply may be shorter
            return [Call(SEARCH, message, len(ask(message, timeout=30))) for message in messages]

    def answers(self, requests: Sequence[search_pb2.SearchRequest]) -> list[search_pb2.SearchReply]:
        with grpc.insecure_channel(self.server.address) as channel:
            stub = search_pb2_grpc.SearchStub(channel)
            return [stub.Search(request, timeout=30) for request in requests]

    def under_load(self, calls: Sequence[Call], times: int) -> Rate:
        """Stops the program when an answer is not the right one, by its length or by the server's count."""
        before, used_s = self.server.searches(), self.server.processor_s()
        found = load(self.server.address, calls, times, self.folder)
        used_s, after = self.server.processor_s() - used_s, self.server.searches()
        counted = {status: after[status] - before.get(status, 0) for status in after}
        wanted = found.calls if calls[0].method == SEARCH else 0
        wrong = {status: count for status, count in counted.items() if status != "OK" and count}
        if found.right != found.calls or counted.get("OK", 0) != wanted or wrong:
            raise SystemExit(
                f"{found.calls} calls, {found.right} answered rightly; the server counted {counted}"
            )
        return Rate(found.calls_per_s, used_s / found.calls)


def recall_at_10(server: Server, count: int) -> float:
    """Share of the exact ten nearest products among those answered, over ``count`` queries."""
    xb, xq = server.catalogue.xb, server.catalogue.queries(count, seed=1)
    exact, _ = faiss.knn(xq, xb, K, metric=faiss.METRIC_INNER_PRODUCT)
    replies = server.answers([search_request(row[None]) for row in xq])
    prefix, found = len(server.catalogue.prefix), 0
    for row, reply, worst in zip(xq, replies, exact[:, -1], strict=True):
        places = [int(hit.product.product_id[prefix:]) for hit in reply.results[0].hits]
        assert len(set(places)) == K
        found += int(np.count_nonzero(xb[places] @ row >= worst - TIES))
    return found / (count * K)


def extra_cold_s(generation: Generation, xq: NDArray[np.float32]) -> float:
    """Seconds that a search takes longer when no query is like those before it; ``xq`` (n, dim)."""
    faiss.omp_set_num_threads(1)
    cold, hot = [], []
    for start in range(0, len(xq), PROCESSES):
        part = xq[start : start + PROCESSES]
        for took in (cold, [], hot):  # new; a second time, not counted; as they come again and again
            began = time.perf_counter()
            for row in part:
                search(generation, row[None], K)
            took.append((time.perf_counter() - began) / len(part))
    return max(0.0, median(cold) - median(hot))


Rounds = list[dict[str, Rate]]


def run_round(server: Server, number: int, seconds: float, last: dict[str, Rate]) -> dict[str, Rate]:
    """``seconds`` of each kind of call at the rate of the ``last`` round; a short one when there was none."""
    xq = server.catalogue.queries(PROCESSES + BATCH * BATCH_PROCESSES, seed=100 + number)
    single, batches = xq[:PROCESSES], xq[PROCESSES:].reshape(BATCH_PROCESSES, BATCH, -1)
    wholes = server.catalogue.queries(PROCESSES, seed=100 + number, disturbance=WHOLE)
    kinds = {
        "noop": server.noop(),
        "search": server.search([search_request(row[None]) for row in single]),
        "picture": server.search([picture_request(*both) for both in zip(single, wholes, strict=True)]),
        "batch": server.search([search_request(rows) for rows in batches]),
    }
    found = {}
    for kind, calls in kinds.items():
        times = int(last[kind].calls_per_s * seconds / len(calls)) + 1 if last else KINDS[kind][2]
        found[kind] = server.under_load(calls, times)
    return found


def run_rounds(server: Server, rounds: int, seconds: float) -> Rounds:
    found = [run_round(server, 0, seconds, {})]
    for number in range(1, rounds + 1):
        found.append(run_round(server, number, seconds, found[-1]))
        said = ", ".join(f"{kind} {rate.calls_per_s:,.1f}/s" for kind, rate in found[-1].items())
        print(f"round {number}: {said}", file=sys.stderr)
    return found[1:]


def picture_request(box: NDArray[np.float32], whole: NDArray[np.float32]) -> search_pb2.SearchRequest:
    """As the HTTP API asks: vectors float32 (dim,) of the chosen box and of the whole picture."""
    vectors = np.stack([box, whole]).astype("<f4").tobytes()
    query = search_pb2.Query(vectors=vectors, k=K, filter=search_pb2.Filter())
    return search_pb2.SearchRequest(queries=[query], dim=len(box), embedder_version=EMBEDDER)


def change(server: Server, store: ObjectStore, parent: Manifest, count: int) -> None:
    """Have ``count`` products come and as many go; returns when the server serves that."""
    new = Catalogue.made("q", count, parent.dim, seed=1)
    gone = [
        server.catalogue.id(row)
        for row in range(0, len(server.catalogue.xb), len(server.catalogue.xb) // count)
    ]
    manifest = build_delta(
        store, parent, new.products(), new.items(), new.xb, gone[:count], snapshot="changed"
    )
    point(store, "local", manifest, "benchmark", "a change", read_pointer(store, "local"))
    ends = time.monotonic() + PATIENCE_S
    while server.answers([search_request(new.xb[:1])])[0].generation != manifest.id:
        if time.monotonic() > ends:
            raise SystemExit(f"generation {manifest.id} was never served")
        time.sleep(0.1)


def ratio(rounds: Rounds, kind: str) -> float:
    """Calls of a kind a second by those that do nothing."""
    return median(one[kind].calls_per_s / one["noop"].calls_per_s for one in rounds)


def table(rounds: Rounds) -> None:
    print(
        f"{'':<28}{'calls/s':>10}{'of no-ops':>11}{'vectors/s':>11}{'us a call':>11}{'of the processor':>18}"
    )
    for kind, (name, vectors, _) in KINDS.items():
        used_us = median(one[kind].processor_s for one in rounds) * 1e6
        speed = median(one[kind].calls_per_s for one in rounds)
        print(
            f"{name:<28}{speed:>10,.0f}{ratio(rounds, kind):>11.3f}{speed * vectors:>11,.0f}"
            f"{1e6 / speed:>11,.0f}{used_us:>18,.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--n", type=int, default=200_000, help="vectors, one a product")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each kind of call in a round")
    parser.add_argument("--queries", type=int, default=1_000, help="over which recall is taken")
    parser.add_argument("--changed", type=int, default=1_000, help="products of the delta")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        h2load()
    except NoH2load as error:
        sys.exit(f"no figures: {error}")

    queries, busy = options.queries, os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        store = local_store(home)
        catalogue = Catalogue.made("p", options.n, options.dim, seed=0)
        manifest = catalogue.build(store)
        point(store, "local", manifest, "benchmark", "to be measured", read_pointer(store, "local"))
        with SearchServer(home) as running:
            server = Server(running, catalogue, home)
            recall = recall_at_10(server, queries)
            rounds = run_rounds(server, options.rounds, options.seconds)
            recall = min(recall, recall_at_10(server, queries))
            change(server, store, manifest, options.changed)
            changed = run_rounds(server, options.rounds, options.seconds)
        extra_s = extra_cold_s(load_generation(store, manifest), catalogue.queries(800, seed=2))

    ratios_new = [
        1 / (one["noop"].calls_per_s / one["search"].calls_per_s + one["noop"].calls_per_s * extra_s)
        for one in rounds
    ]
    by_processor = median(one["noop"].processor_s / one["search"].processor_s for one in rounds)
    speeds = {kind: median(one[kind].calls_per_s for one in rounds) for kind in KINDS}
    print(f"\n{options.n:,} x {options.dim}, one server process; medians of {options.rounds} rounds")
    table(rounds)
    print(f"\nthe same beside a delta, {options.changed:,} products came and as many went")
    table(changed)
    print(
        f"\nsearch / no-op {ratio(rounds, 'search'):.3f}, by processor time {by_processor:.3f}; "
        f"were every query new ({extra_s * 1e6:.0f} us more) {median(ratios_new):.3f}"
    )
    print(f"recall@10 {recall:.4f} over {queries:,} queries, before and after")
    if options.json:
        figures = {
            "ratio_vs_noop": round(ratio(rounds, "search"), 3),
            "ratio_vs_noop_by_processor_time": round(by_processor, 3),
            "ratio_vs_noop_new_queries": round(median(ratios_new), 3),
            "ratio_vs_noop_of_a_picture": round(ratio(rounds, "picture"), 3),
            "ratio_vs_noop_beside_a_delta": round(ratio(changed, "search"), 3),
            "ratio_vs_noop_of_a_picture_beside_a_delta": round(ratio(changed, "picture"), 3),
            "recall_at_10": round(recall, 4),
            "noop_per_s": round(speeds["noop"], 1),
            "search_per_s": round(speeds["search"], 1),
            "picture_per_s": round(speeds["picture"], 1),
            "batch_vectors_per_s": round(speeds["batch"] * BATCH, 1),
            "load_before": round(busy, 1),
            "failed": 0,  # a wrong answer ends the program
            "n": options.n,
            "dim": options.dim,
            "changed": options.changed,
        }
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
