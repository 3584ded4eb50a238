"""What it takes until new products can be found, by the size of the catalogue they join.

    python -m benchmarks.incremental [--sizes 10000 100000 1000000] [--new 100] [--json]

A search server of its own process serves a generation of each size and follows the pointer. Then, several
times over, new products are written as a delta, released past the gates, and asked for until the server finds
them. "read" is what the server read meanwhile, by the count of its operating system: an unchanged base is not
read again. So it matters little what the base is, and it is of lists, built in a tenth of a graph's time. All
is wall clock, the server's waiting until its next look at the pointer included. A build of everything stands
beside it. Ratios are of medians; ``cost_ratio_1m_to_100k`` is of the two largest sizes.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import grpc

from benchmarks._search_server import Catalogue, SearchServer, local_store, search_request
from imgsearch_assets.index import build_delta
from imgsearch_assets.release import publish
from serving.index.generation import GROUPS, Manifest
from serving.object_store import LocalObjectStore
from serving.proto import search_pb2_grpc

POLL_S = 0.1
BASE = "IVF256,PQ64x4fs,Refine(SQfp16)"
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Round:
    """Seconds until written, released and found; bytes written to the store and read by the server."""

    build_s: float
    publish_s: float
    live_s: float
    written: int
    read: int

    @property
    def total_s(self) -> float:
        return self.build_s + self.publish_s + self.live_s


@dataclass(frozen=True)
class Size:
    n: int
    full_s: float
    full_bytes: int
    rounds: list[Round]

    def of(self, name: str) -> float:
        return median(getattr(one, name) for one in self.rounds)


def stored_bytes(store: LocalObjectStore) -> int:
    return sum(path.stat().st_size for path in store.root.rglob("*") if path.is_file())


def one_round(
    store: LocalObjectStore,
    server: SearchServer,
    search: search_pb2_grpc.SearchStub,
    parent: Manifest,
    new: Catalogue,
) -> tuple[Manifest, Round]:
    products, items = new.products(), new.items()
    for column in GROUPS.names:
        products = products.append_column(column, products["product_id"])
    before, read = stored_bytes(store), server.process.io_counters().read_chars
    started = time.perf_counter()
    manifest = build_delta(store, parent, products, items, new.xb, (), snapshot=new.prefix)
    built = time.perf_counter()
    publish(store, "local", manifest.id, "benchmark", "new products")
    published = time.perf_counter()
    while True:
        reply = search.Search(search_request(new.xb[:1]), timeout=PATIENCE_S)
        if reply.generation == manifest.id:
            break
        if time.perf_counter() - published > PATIENCE_S:
            raise SystemExit(f"generation {manifest.id} was never served")
        time.sleep(0.005)
    found = time.perf_counter()
    if reply.results[0].hits[0].product.product_id != new.id(0):
        raise SystemExit("the first new product is not found by its own vector")
    taken = Round(
        built - started,
        published - built,
        found - published,
        stored_bytes(store) - before,
        server.process.io_counters().read_chars - read,
    )
    return manifest, taken


def measure(n: int, dim: int, new: int, rounds: int, home: Path) -> Size:
    store = local_store(home)
    started = time.perf_counter()
    manifest = Catalogue.made("a", n, dim, seed=0).build(store, BASE)
    full_s, full_bytes = time.perf_counter() - started, stored_bytes(store)
    # Not how well the base finds is measured here.
    publish(store, "local", manifest.id, "benchmark", "everything", frozenset({"recall_at_10_vs_exact"}))
    print(f"{n:,} products built in {full_s:.1f} s", file=sys.stderr)
    taken = []
    with (
        SearchServer(home, poll_interval_s=POLL_S) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        search = search_pb2_grpc.SearchStub(channel)
        for number in range(rounds + 1):
            catalogue = Catalogue.made(f"n{number}-", new, dim, seed=number + 1)
            manifest, one = one_round(store, server, search, manifest, catalogue)
            taken.append(one)
    return Size(n, full_s, full_bytes, taken[1:])  # the first finds everything cold


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--new", type=int, default=100, help="products that come each time")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    busy = os.getloadavg()[0]
    found = []
    for n in sorted(options.sizes):
        with tempfile.TemporaryDirectory(prefix="imgsearch-bench-") as folder:
            found.append(measure(n, options.dim, options.new, options.rounds, Path(folder)))

    print(f"\n{options.new} new products of {options.dim} dimensions, medians of {options.rounds} rounds")
    print(
        f"{'catalogue':>11}{'build ms':>10}{'publish ms':>12}{'live ms':>9}{'total ms':>10}"
        f"{'written KiB':>13}{'read KiB':>10}{'all anew s':>12}{'MiB':>9}"
    )
    for size in found:
        times = "".join(
            f"{1_000 * size.of(name):>{width}.1f}"
            for name, width in (("build_s", 10), ("publish_s", 12), ("live_s", 9), ("total_s", 10))
        )
        print(
            f"{size.n:>11,}{times}{size.of('written') / 1024:>13.1f}{size.of('read') / 1024:>10.1f}"
            f"{size.full_s:>12.1f}{size.full_bytes / 2**20:>9.1f}"
        )
    if options.json:
        by_size = {
            str(size.n): {
                **{
                    f"{name}ms": round(1_000 * size.of(f"{name}s"), 2)
                    for name in ("build_", "publish_", "live_", "total_")
                },
                "written_bytes": round(size.of("written")),
                "read_bytes": round(size.of("read")),
                "full_build_s": round(size.full_s, 1),
                "full_bytes": size.full_bytes,
            }
            for size in found
        }
        ratios = {}
        if len(found) > 1:
            large, small = found[-1], found[-2]
            ratios = {
                f"cost_ratio_{short(large.n)}_to_{short(small.n)}": round(
                    large.of("total_s") / small.of("total_s"), 3
                ),
                "bytes_ratio": round(large.of("written") / small.of("written"), 3),
            }
        print(
            json.dumps(
                {**ratios, "new": options.new, "dim": options.dim, "load_before": round(busy, 1), **by_size}
            )
        )


def short(n: int) -> str:
    return f"{n // 1_000_000}m" if n >= 1_000_000 else f"{n // 1_000}k"


if __name__ == "__main__":
    main()
