"""A snapshot of the whole catalogue, and what it changes, as the pipeline's first two steps make them.

    python -m benchmarks.diff [--n 730000] [--new 3200] [--changed 2000] [--removed 1500] [--json]

A catalogue of made products in a DuckDB file, two pictures each, of which a first snapshot is what is live;
then it is changed: so many products come, so many are written again (a quarter each with other pictures,
another time, another price, another name) and so many go. "snapshot": the file read, every row held to the
contract, the Parquet written. "difference": sorted by how they differ from what is live. In a process of its
own, of which ``memory_mb`` is the most that it had. ``exact`` is whether every count is the very one that was
made. Medians of rounds, each with another change.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import duckdb

from imgsearch_assets.catalogue.diff import difference
from imgsearch_assets.catalogue.snapshot import changes_of, keep, products_key, take_snapshot
from imgsearch_assets.catalogue.warehouse import FileWarehouse
from imgsearch_assets.tables import read_parquet
from serving.object_store import LocalObjectStore

# How a product is written again, a quarter of them each, and what the difference calls it.
_WAYS = {
    "repictured": "image_urls = list_append(image_urls, 'https://pictures.example/more/' || product_id)",
    "touched": "updated_at = updated_at + INTERVAL 1 DAY",
    "reattributed": "price = price + 100",
    "reattributed ": "name = name || ' II'",
}


def fill(catalogue: Path, first: int, count: int) -> None:
    """``count`` products more, numbered from ``first`` on."""
    with duckdb.connect(str(catalogue)) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS products (product_id VARCHAR, name VARCHAR, brand VARCHAR, "
            "category VARCHAR, colour VARCHAR, price BIGINT, currency VARCHAR, in_stock BOOLEAN, "
            "image_urls VARCHAR[], updated_at TIMESTAMPTZ)"
        )
        connection.execute(
            "INSERT INTO products SELECT format('{:09d}', n), 'Product ' || n, 'Brand ' || n % 400, "
            "'category ' || n % 60, 'colour ' || n % 20, 1900 + n % 9000, 'EUR', n % 10 > 0, "
            "['https://pictures.example/' || n || '/1.jpg', 'https://pictures.example/' || n || '/2.jpg'], "
            "TIMESTAMPTZ '2026-01-01 00:00:00+00' + to_seconds(n) FROM range(?, ?) t(n)",
            [first, first + count],
        )


def change(catalogue: Path, seed: int, first: int, new: int, changed: int, removed: int) -> dict[str, int]:
    """Products from ``first`` on come, others are written again or go; the counts of the difference."""
    counts = dict.fromkeys(("new", "removed", "repictured", "touched", "reattributed", "unchanged"), 0)
    with duckdb.connect(str(catalogue)) as connection:
        (before,) = connection.execute("SELECT count(*) FROM products").fetchone() or (0,)
        connection.execute(
            "CREATE TEMP TABLE chosen AS SELECT product_id, row_number() OVER (ORDER BY hash(product_id, ?)) "
            "- 1 AS place FROM products",
            [seed],
        )
        at = 0
        for number, (way, mend) in enumerate(_WAYS.items()):
            count = changed // len(_WAYS) + (number < changed % len(_WAYS))
            connection.execute(
                f"UPDATE products SET {mend} WHERE product_id IN "  # noqa: S608
                "(SELECT product_id FROM chosen WHERE place >= ? AND place < ?)",
                [at, at + count],
            )
            at += count
            counts[way.strip()] += count
        connection.execute(
            "DELETE FROM products WHERE product_id IN "
            "(SELECT product_id FROM chosen WHERE place >= ? AND place < ?)",
            [at, at + removed],
        )
    fill(catalogue, first, new)
    return counts | {"new": new, "removed": removed, "unchanged": before - changed - removed}


def measured(home: Path, catalogue: Path, live: str) -> dict[str, object]:
    """Of this process: seconds of both steps, the difference's counts and the new snapshot's id."""
    store = LocalObjectStore(home)
    began_s = time.perf_counter()
    snapshot, taken = take_snapshot(store, FileWarehouse(str(catalogue)))
    taken_s = time.perf_counter()
    rows, old = (read_parquet(store, products_key(one)) for one in (snapshot, live))
    found = difference(rows, old)
    keep(store, snapshot, "changes", changes_of(found))
    return {
        "snapshot_s": taken_s - began_s,
        "difference_s": time.perf_counter() - taken_s,
        "memory_mb": peak_mb(),
        "counts": found.counts,
        "rejected": taken.value.rejected.num_rows,
        "snapshot": snapshot,
    }


def peak_mb() -> float:
    """The most memory that this process had since its program began; getrusage would count its parent's."""
    (line,) = [
        line for line in Path("/proc/self/status").read_text().split("\n") if line.startswith("VmHWM:")
    ]
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--n", type=int, default=730_000)
    parser.add_argument("--new", type=int, default=3_200)
    parser.add_argument("--changed", type=int, default=2_000)
    parser.add_argument("--removed", type=int, default=1_500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--of", nargs=3, metavar=("HOME", "CATALOGUE", "LIVE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.of:
        home, catalogue, live = options.of
        print(json.dumps(measured(Path(home), Path(catalogue), live)))
        return
    if options.changed + options.removed > options.n:
        raise SystemExit("more products are changed and removed than there are")
    busy, rounds, exact = os.getloadavg()[0], [], True
    with tempfile.TemporaryDirectory(prefix="imgsearch-bench-") as folder:
        home, catalogue = Path(folder) / "objects", Path(folder) / "catalogue.duckdb"
        fill(catalogue, 0, options.n)
        live, _ = take_snapshot(LocalObjectStore(home), FileWarehouse(str(catalogue)))
        for number in range(options.rounds):
            first = options.n + number * options.new
            made = change(catalogue, number, first, options.new, options.changed, options.removed)
            command = [sys.executable, "-m", "benchmarks.diff", "--of", str(home), str(catalogue), live]
            found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
            exact &= found["counts"] == made and found["rejected"] == 0
            live = found["snapshot"]
            rounds.append(found)
            print(f"round {number + 1}: {found['counts']}", file=sys.stderr)
    figures = {
        name: round(median(one[name] for one in rounds), 2)
        for name in ("snapshot_s", "difference_s", "memory_mb")
    }
    print(f"\n{options.n:,} products, medians of {options.rounds} rounds")
    for name, value in figures.items():
        print(f"{name:<14}{value:>10,.2f}")
    counts = rounds[-1]["counts"]
    print("counts are exact" if exact else f"counts are wrong, the last: {counts}")
    if options.json:
        about = {"n": options.n, "counts": counts, "load_before": round(busy, 1)}
        print(json.dumps({**figures, "exact": exact, **about}))


if __name__ == "__main__":
    main()
