"""Searches a second of the search service, against calls a second that do nothing.

    python -m benchmarks.rpc [--n 200000] [--dim 128] [--json]

One server process, as ``imgsearch serve search`` starts it. A call that does nothing is gRPC's own health
Check. ``ratio_vs_noop``: single-query searches a second by such calls a second, of the same server, turn by
turn, median of the rounds' ratios; by h2load, so that the client is not the limit. The queries of a round
are as many as h2load's processes, each asked again and again, so what they touch stays in the processor's
caches; ``ratio_vs_noop_new_queries`` has the time added that queries take longer that are all different, as
measured on the same index without a server. A batch is one Search call of 64 queries.
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
from benchmarks._search_server import Catalogue, K, SearchServer, local_store, search_request
from serving.index.artifact import load as load_generation
from serving.index.loaded import Generation
from serving.index.search import search
from serving.index.store import point, read_pointer
from serving.proto import search_pb2, search_pb2_grpc

SEARCH, CHECK = "/imgsearch.v1.Search/Search", "/grpc.health.v1.Health/Check"
BATCH = 64
PROCESSES, BATCH_PROCESSES = 8, 2
# Of each kind in the first, short round.
FIRST = {"noop": 500, "search": 100, "batch": 4}
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


def run_round(server: Server, number: int, seconds: float, last: dict[str, Rate]) -> dict[str, Rate]:
    """``seconds`` of each kind of call at the rate of the ``last`` round; a short one when there was none."""
    xq = server.catalogue.queries(PROCESSES + BATCH * BATCH_PROCESSES, seed=100 + number)
    single, batches = xq[:PROCESSES], xq[PROCESSES:].reshape(BATCH_PROCESSES, BATCH, -1)
    kinds = {
        "noop": server.noop(),
        "search": server.search([search_request(row[None]) for row in single]),
        "batch": server.search([search_request(rows) for rows in batches]),
    }
    found = {}
    for kind, calls in kinds.items():
        times = int(last[kind].calls_per_s * seconds / len(calls)) + 1 if last else FIRST[kind]
        found[kind] = server.under_load(calls, times)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--n", type=int, default=200_000, help="vectors, one a product")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each kind of call in a round")
    parser.add_argument("--queries", type=int, default=1_000, help="over which recall is taken")
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
            last = run_round(server, 0, options.seconds, {})
            rounds = []
            for number in range(1, options.rounds + 1):
                last = run_round(server, number, options.seconds, last)
                rounds.append(last)
                said = ", ".join(f"{kind} {rate.calls_per_s:,.1f}/s" for kind, rate in last.items())
                print(f"round {number}: {said}", file=sys.stderr)
            recall = min(recall, recall_at_10(server, queries))
        extra_s = extra_cold_s(load_generation(store, manifest), catalogue.queries(800, seed=2))

    ratios = [one["search"].calls_per_s / one["noop"].calls_per_s for one in rounds]
    ratios_new = [
        1 / (1 / ratio + one["noop"].calls_per_s * extra_s) for ratio, one in zip(ratios, rounds, strict=True)
    ]
    by_processor = median(one["noop"].processor_s / one["search"].processor_s for one in rounds)
    speeds = {kind: median(one[kind].calls_per_s for one in rounds) for kind in FIRST}
    print(f"\n{options.n:,} x {options.dim}, one server process; medians of {options.rounds} rounds")
    print(f"{'':<28}{'calls/s':>10}{'vectors/s':>11}{'us a call':>11}{'of the processor':>18}")
    for kind, name, vectors in (
        ("noop", "no-op (health Check)", 0),
        ("search", "search", 1),
        ("batch", f"search, {BATCH} at once", BATCH),
    ):
        used_us = median(one[kind].processor_s for one in rounds) * 1e6
        speed = speeds[kind]
        print(f"{name:<28}{speed:>10,.0f}{speed * vectors:>11,.0f}{1e6 / speed:>11,.0f}{used_us:>18,.0f}")
    print(
        f"search / no-op {median(ratios):.3f}, by processor time {by_processor:.3f}; "
        f"were every query new ({extra_s * 1e6:.0f} us more) {median(ratios_new):.3f}"
    )
    print(f"recall@10 {recall:.4f} over {queries:,} queries, before and after")
    if options.json:
        figures = {
            "ratio_vs_noop": round(median(ratios), 3),
            "ratio_vs_noop_by_processor_time": round(by_processor, 3),
            "ratio_vs_noop_new_queries": round(median(ratios_new), 3),
            "recall_at_10": round(recall, 4),
            "noop_per_s": round(speeds["noop"], 1),
            "search_per_s": round(speeds["search"], 1),
            "batch_vectors_per_s": round(speeds["batch"] * BATCH, 1),
            "load_before": round(busy, 1),
            "failed": 0,  # a wrong answer ends the program
            "n": options.n,
            "dim": options.dim,
        }
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
