"""What it takes until new products can be found, by the size of the catalogue they join.

    python -m benchmarks.incremental [--sizes 10000 100000 1000000] [--new 100] [--json]

A search server of its own process serves a generation of each size and follows the pointer. Then, several
times over, the pipeline's own step plans and builds what is wanted ("build"), that is released past the gates
("publish"), and the new products are asked for until the server finds them ("live"). To have them live takes
as long whatever the size, and so does what is written; "read" is what the server read meanwhile, by the count
of its operating system: an unchanged base is not read again. The plan compares the whole catalogue with what
is live, and checks the files of that, so "build" grows with the catalogue; a base built anew, its products
not grouped, stands beside it.

All is wall clock, the server's waiting until its next look at the pointer included. Ratios are of medians, of
the two largest sizes: ``cost_ratio_1m_to_100k`` of publish and live, ``build_ratio`` of build. The base is of
lists unless asked for otherwise (``--base HNSW32,SQfp16``): a graph of 1,000,000 takes ten times as long.
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
import numpy as np
import pyarrow as pa

from benchmarks._search_server import EMBEDDER, Catalogue, SearchServer, local_store, search_request
from imgsearch_assets.catalogue.contract import PRODUCTS
from imgsearch_assets.index.duplicates import Alike
from imgsearch_assets.index.generation import build_generation
from imgsearch_assets.index.increment import Models, Wanted, build
from imgsearch_assets.release.publish import publish
from serving.object_store import LocalObjectStore
from serving.proto import search_pb2_grpc

POLL_S = 0.1
LISTS = "IVF256,PQ64x4fs,Refine(SQfp16)"
LEAST = 256 * 39  # rows that FAISS wants for each of so many lists
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
    def found_s(self) -> float:
        """From the generation to the answer."""
        return self.publish_s + self.live_s


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


def wanted(catalogues: list[Catalogue]) -> Wanted:
    """All of them as one catalogue."""
    products = pa.concat_tables([one.products() for one in catalogues])
    never = pa.nulls(products.num_rows, PRODUCTS.field("updated_at").type)
    return Wanted(
        products.append_column("updated_at", never),
        pa.concat_tables([one.items() for one in catalogues]),
        np.concatenate([one.xb for one in catalogues]),
        Models(EMBEDDER, "none", "none"),
        catalogues[-1].prefix,
    )


def one_round(
    store: LocalObjectStore,
    server: SearchServer,
    search: search_pb2_grpc.SearchStub,
    catalogues: list[Catalogue],
    base: str,
) -> Round:
    """The last of ``catalogues`` is new."""
    new, everything = catalogues[-1], wanted(catalogues)
    before, read = stored_bytes(store), server.process.io_counters().read_chars
    started = time.perf_counter()
    done = build(store, "local", everything, Alike(), base)
    built = time.perf_counter()
    if done.plan.kind != "delta":
        raise SystemExit(f"no delta was built: {done.plan.why}")
    publish(store, "local", done.manifest.id, "benchmark", "new products")
    published = time.perf_counter()
    while True:
        reply = search.Search(search_request(new.xb[:1]), timeout=PATIENCE_S)
        if reply.generation == done.manifest.id:
            break
        if time.perf_counter() - published > PATIENCE_S:
            raise SystemExit(f"generation {done.manifest.id} was never served")
        time.sleep(0.005)
    found = time.perf_counter()
    if reply.results[0].hits[0].product.product_id != new.id(0):
        raise SystemExit("the first new product is not found by its own vector")
    return Round(
        built - started,
        published - built,
        found - published,
        stored_bytes(store) - before,
        server.process.io_counters().read_chars - read,
    )


def measure(n: int, dim: int, new: int, rounds: int, base: str, home: Path) -> Size:
    store = local_store(home)
    catalogues = [Catalogue.made("a", n, dim, seed=0)]
    first = wanted(catalogues)
    started = time.perf_counter()
    manifest = build_generation(
        store,
        first.products,
        first.items,
        first.vectors,
        **vars(first.models),
        snapshot=first.snapshot,
        graph=base,
    )
    full_s, full_bytes = time.perf_counter() - started, stored_bytes(store)
    del first
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
            catalogues.append(Catalogue.made(f"n{number}-", new, dim, seed=number + 1))
            taken.append(one_round(store, server, search, catalogues, base))
    return Size(n, full_s, full_bytes, taken[1:])  # the first finds everything cold


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--new", type=int, default=100, help="products that come each time")
    parser.add_argument("--base", default=LISTS, help="index factory string")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.base == LISTS and min(options.sizes) < LEAST:
        parser.error(f"--sizes: lists want {LEAST:,} products or more; `--base HNSW32,SQfp16` takes fewer")
    busy = os.getloadavg()[0]
    found = []
    for n in sorted(options.sizes):
        with tempfile.TemporaryDirectory(prefix="imgsearch-bench-") as folder:
            found.append(measure(n, options.dim, options.new, options.rounds, options.base, Path(folder)))

    print(f"\n{options.new} new products of {options.dim} dimensions, medians of {options.rounds} rounds")
    print(
        f"{'catalogue':>11}{'build ms':>10}{'publish ms':>12}{'live ms':>9}{'both ms':>10}"
        f"{'written KiB':>13}{'read KiB':>10}{'all anew s':>12}{'MiB':>9}"
    )
    for size in found:
        times = "".join(
            f"{1_000 * size.of(name):>{width}.1f}"
            for name, width in (("build_s", 10), ("publish_s", 12), ("live_s", 9), ("found_s", 10))
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
                    for name in ("build_", "publish_", "live_", "found_")
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
                    large.of("found_s") / small.of("found_s"), 3
                ),
                "build_ratio": round(large.of("build_s") / small.of("build_s"), 3),
                "bytes_ratio": round(large.of("written") / small.of("written"), 3),
            }
        print(
            json.dumps(
                {
                    **ratios,
                    "new": options.new,
                    "dim": options.dim,
                    "base": options.base,
                    "load_before": round(busy, 1),
                    **by_size,
                }
            )
        )


def short(n: int) -> str:
    return f"{n // 1_000_000}m" if n >= 1_000_000 else f"{n // 1_000}k"


if __name__ == "__main__":
    main()
