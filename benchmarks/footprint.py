"""What an index takes, by the size of its catalogue: to build, to keep, in memory, in Redis.

    python -m benchmarks.footprint [--sizes 10000 40000] [--pictures 3] [--dim 128] [--json]

Made products, each with so many pictures and two rows a picture, as the pipeline makes them: its item's,
and the whole picture's. "build": the pipeline's own step, groups and figures included, in seconds of
processor, and the most memory of it. Then a search server of its own process follows the pointer from one
such generation to another that has no file in common with it. "served": its memory before the second;
"most": its highest until the first is gone again. Vectors are mapped, so a machine that is short of memory
could read them again: "anonymous" is what it could not. "redis": what a server of its own uses more once it
has every picture's vectors, and every product's stock.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import redis
from numpy.typing import NDArray

from benchmarks._search_server import EMBEDDER, Catalogue, SearchServer, local_store
from imgsearch_assets.index.duplicates import Alike
from imgsearch_assets.index.increment import Models, Wanted, build
from imgsearch_assets.local.processes import ProcessGroup, answers, free_port
from imgsearch_assets.local.redis_server import redis_command
from imgsearch_assets.release.publish import publish
from serving.cache.features import FeatureStore, packed, url_key
from serving.cache.stock_log import StockLog
from serving.images.box import GRID, Box
from serving.index.generation import ITEMS, Manifest

ITEM = Box(0.2, 0.1, 0.8, 0.9)
_LOOK_S = 0.02
_SETTLED_S = 3.0
_PATIENCE_S = 600.0


@dataclass(frozen=True)
class Taken:
    """Of a catalogue of ``products``; bytes of its files in the object store by kind."""

    products: int
    rows: int
    dim: int
    build_s: float
    stored: dict[str, int]
    served: int
    served_anonymous: int
    most: int
    redis_features: int
    redis_stock: int
    warehouse: int
    item_text: float
    build_peak: int

    def figures(self) -> dict[str, object]:
        return {
            "products": self.products,
            "rows": self.rows,
            "dim": self.dim,
            "build_processor_s": round(self.build_s, 2),
            "stored_bytes": self.stored,
            "served_bytes": self.served,
            "served_anonymous_bytes": self.served_anonymous,
            "most_bytes": self.most,
            "redis_features_bytes": self.redis_features,
            "redis_stock_bytes": self.redis_stock,
            "warehouse_bytes": self.warehouse,
            "build_peak_bytes": self.build_peak,
        }


def wanted(prefix: str, products: int, pictures: int, dim: int, seed: int) -> Wanted:
    """A catalogue whose pictures have two rows each."""
    middles = Catalogue.made(prefix, products, dim, seed)
    made, one = middles.products(), middles.items()
    picks = np.repeat(np.arange(products), pictures * 2)
    shots = np.tile(np.repeat(np.arange(pictures), 2), products)
    urls = [
        f"https://shop.example/{middles.id(row)}-{shot}.jpg" for row, shot in zip(picks, shots, strict=True)
    ]
    items = pa.table(
        {
            "product_id": one["product_id"].take(pa.array(picks)),
            "image_url": urls,
            "sha256": [hashlib.sha256(url.encode()).hexdigest() for url in urls],
            "box": [ITEM.key, Box.whole().key] * (products * pictures),
        },
        schema=ITEMS,
    )
    rng = np.random.default_rng(seed)
    rows = middles.xb[picks] + rng.normal(size=(len(picks), dim)).astype(np.float32) * np.float32(
        0.4 / dim**0.5
    )
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    never = pa.nulls(products, pa.timestamp("us", "UTC"))
    return Wanted(made.append_column("updated_at", never), items, rows, Models(EMBEDDER, "-", "-"), prefix)


def warehouse_bytes(products: pa.Table) -> int:
    """What BigQuery counts for the contract's columns: two bytes and its own a text, else eight, or one."""
    total = 9 * products.num_rows  # in_stock, updated_at
    for name in ("product_id", "name", "brand", "category", "colour", "currency"):
        total += 2 * products.num_rows + pc.sum(pc.binary_length(products[name])).as_py()
    urls = pc.list_flatten(products["image_urls"])
    return int(total + 8 * products.num_rows + 2 * len(urls) + pc.sum(pc.binary_length(urls)).as_py())


def memory(process: psutil.Process) -> tuple[int, int]:
    """Bytes in memory, and those of them that no file has."""
    text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines()[1:]}
    return kib["Rss"] * 1024, kib["Anonymous"] * 1024


def peak() -> int:
    """The most bytes that this process had in memory; the next size needs more."""
    (line,) = [it for it in Path("/proc/self/status").read_text().splitlines() if it.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def serve(home: Path, manifests: list[Manifest]) -> tuple[int, int, int]:
    """Memory with the first, of it anonymous; the most until the second is served alone."""
    store = local_store(home)

    def release(manifest: Manifest) -> None:
        publish(store, "local", manifest.id, "benchmark", "-", frozenset({"recall_at_10_vs_exact"}))

    release(manifests[0])
    with SearchServer(home, poll_interval_s=0.1) as server:
        served, anonymous = memory(server.process)
        most = served
        release(manifests[1])
        began, settled = time.monotonic(), 0.0
        while not settled or time.monotonic() - settled < _SETTLED_S:
            most = max(most, memory(server.process)[0])
            swapped = any(manifests[1].id in key for key in server.samples())
            settled = settled or (time.monotonic() if swapped else 0.0)
            if time.monotonic() - began > _PATIENCE_S:
                raise SystemExit(f"generation {manifests[1].id} was never served")
            time.sleep(_LOOK_S)
    return served, anonymous, most


def in_redis(url: str, made: Wanted, pictures: int) -> tuple[int, int]:
    """Bytes of every picture's vectors, and of the stock."""
    features, stock = FeatureStore(url, 1.0), StockLog(url, "local", 60.0)
    grid = np.array([[box.x0, box.y0, box.x1, box.y1] for box in (ITEM, Box.whole())]) * GRID
    vectors: NDArray[np.float16] = made.vectors.astype(np.float16).reshape(-1, 2, made.vectors.shape[1])
    urls = made.items["image_url"].to_pylist()[::2]
    with redis.Redis.from_url(url) as client:

        def used() -> int:
            return int(client.info("memory")["used_memory"])  # type: ignore[index]

        client.flushall()
        empty = used()
        features.put_many(
            {
                url_key(EMBEDDER, one): packed(grid.round().astype(np.uint16), rows)
                for one, rows in zip(urls, vectors, strict=True)
            }
        )
        full = used()
        stock.write_whole(None, dict.fromkeys(made.products["product_id"].to_pylist(), 1))
        stock.close()
        return full - empty, used() - full


def measure(products: int, pictures: int, dim: int, home: Path, redis_url: str) -> Taken:
    store = local_store(home)
    made = wanted("a", products, pictures, dim, 0)
    began = time.process_time()
    first = build(store, "local", made, Alike()).manifest
    build_s, build_peak = time.process_time() - began, peak()
    print(f"{products:,} products built in {build_s:.0f} s of processor", file=sys.stderr)
    features, stock = in_redis(redis_url, made, pictures)
    second = build(store, "local", wanted("b", products, pictures, dim, 1), Alike()).manifest
    served, anonymous, most = serve(home, [first, second])
    return Taken(
        products=products,
        rows=len(made.vectors),
        dim=dim,
        build_s=build_s,
        stored={segment.kind: segment.size_bytes for segment in first.segments},
        served=served,
        served_anonymous=anonymous,
        most=most,
        redis_features=features,
        redis_stock=stock,
        warehouse=warehouse_bytes(made.products),
        item_text=sum(pc.mean(pc.binary_length(made.items[name])).as_py() + 1 for name in ITEMS.names),
        build_peak=build_peak,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 40_000], help="products")
    parser.add_argument("--pictures", type=int, default=3, help="of a product")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    busy, found = os.getloadavg()[0], []
    for size in sorted(options.sizes):
        with (
            tempfile.TemporaryDirectory(prefix="imgsearch-bench-") as folder,
            ProcessGroup(Path(folder) / "logs", {}) as group,
        ):
            port = free_port()
            group.start("redis", redis_command(port))
            group.wait_ready("redis", answers(port), 30)
            url = f"redis://127.0.0.1:{port}/0"
            found.append(measure(size, options.pictures, options.dim, Path(folder), url))
    print(
        f"\n{options.pictures} pictures a product, two rows of {options.dim} each; MiB, seconds of processor"
    )
    print(f"{'products':>10}{'rows':>10}{'build s':>9}{'stored':>9}{'served':>9}{'most':>9}{'redis':>9}")
    for one in found:
        mib = [
            value / 2**20
            for value in (
                sum(one.stored.values()),
                one.served,
                one.most,
                one.redis_features + one.redis_stock,
            )
        ]
        print(f"{one.products:>10,}{one.rows:>10,}{one.build_s:>9.1f}" + "".join(f"{it:>9.1f}" for it in mib))
    if options.json:
        said = {
            "pictures": options.pictures,
            "item_text_bytes": found[-1].item_text,
            "load_before": round(busy, 1),
        }
        print(json.dumps({**said, "sizes": [one.figures() for one in found]}))


if __name__ == "__main__":
    main()
