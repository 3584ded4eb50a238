"""A search by product against one by an uploaded picture, through the HTTP front; and one that is kept.

    python -m benchmarks.fastpath [--products 300] [--seconds 10] [--json]

A catalogue of drawn products becomes searchable as ``imgsearch demo`` makes it, with its Redis, its three
services, its front and the feed of its stock, each a process of its own. "upload": different street pictures,
each detected and embedded. "product": the products like each of the catalogue's in turn, whose features are
the index's own; no network runs. Both through a front that keeps no answers. "kept": the same as "product"
through a front that does, which every answer has gone through before. The load generator is h2load, on the
same machine; as many callers of each kind, who wait for their answer. No upload is refused to keep others in
time, as the front would (``IMGSEARCH_SEARCH_TARGET_S``): what they can do at most is compared. Turn by turn;
medians of rounds. ``speedup`` is requests a second by product against by upload.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import httpx

from benchmarks._h2load import NoH2load, h2load
from benchmarks._http_load import Answered, gets, posts
from benchmarks._shop import shop
from imgsearch_assets.local.installation import python_module

CALLERS = 8
PICTURES = 8
KINDS = ("upload", "product", "kept")
_START_S = 60.0
# Longer than any answer takes: no upload is refused.
_TARGET_S = "30"
_UNTIL_KEPT = 5  # times that everything is asked at most until all of it is kept


def all_kept(base: str, paths: list[str]) -> None:
    """Ask until every answer is one that was kept. Raises ``SystemExit`` when that never is so."""
    with httpx.Client(base_url=base, timeout=30) as client:
        for _ in range(_UNTIL_KEPT):
            kept = [client.get(path).json()["cached"] for path in paths]
            if all(kept):
                return
    raise SystemExit("answers are not kept")


def measure(products: int, seconds: float, rounds: int, home: Path) -> dict[str, list[Answered]]:
    found: dict[str, list[Answered]] = {kind: [] for kind in KINDS}
    with shop(products, PICTURES, home, IMGSEARCH_SEARCH_TARGET_S=_TARGET_S) as running:
        services, group, street = running.services, running.services.group, running.uploads
        front = python_module("serving", "api", "--port", "0")
        group.start("keeping", front, **running.addresses, IMGSEARCH_RESULT_TTL_S="86400")
        keeping = f"http://{group.wait_address('keeping', _START_S)}"
        paths = [f"/v1/products/{name}/similar" for name in running.product_ids]
        all_kept(keeping, paths)
        sides: dict[str, Callable[[int], Answered]] = {
            "upload": lambda each: posts(f"{services.api_url}/v1/search/image", street, each, home),
            "product": lambda each: gets(services.api_url, paths, each * CALLERS, CALLERS, home),
            "kept": lambda each: gets(keeping, paths, each * CALLERS, CALLERS, home),
        }
        for round_ in range(rounds):
            for kind in KINDS:
                # A first few say how many fill the time.
                few = sides[kind](max(1, len(paths) // CALLERS) if kind != "upload" else 2)
                each = max(1, round(few.per_s * seconds / CALLERS))
                found[kind].append(sides[kind](each))
                one = found[kind][-1]
                print(f"round {round_ + 1}: {kind} {one.per_s:,.1f}/s, {one.failed} failed", file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--products", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each kind and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        h2load()
    except NoH2load as error:
        raise SystemExit(str(error)) from None
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="imgsearch-bench-") as folder:
        found = measure(options.products, options.seconds, options.rounds, Path(folder))

    def middle(kind: str, of: Callable[[Answered], float]) -> float:
        return median(of(one) for one in found[kind])

    print(f"\n{options.products} products, {CALLERS} callers, medians of {options.rounds} rounds")
    print(f"{'':<12}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'failed':>8}")
    figures: dict[str, object] = {}
    for kind in KINDS:
        per_s, p50, p99 = (
            middle(kind, of) for of in (lambda one: one.per_s, lambda one: one.ms(50), lambda one: one.ms(99))
        )
        failed = sum(one.failed for one in found[kind])
        print(f"{kind:<12}{per_s:>12,.1f}{p50:>9.1f}{p99:>9.1f}{failed:>8}")
        figures[kind] = {
            "per_s": round(per_s, 1),
            "p50_ms": round(p50, 2),
            "p99_ms": round(p99, 2),
            "failed": failed,
        }
    pairs = list(zip(*(found[kind] for kind in KINDS), strict=True))
    speedup = median(product.per_s / upload.per_s for upload, product, _ in pairs)
    kept = median(one.per_s / upload.per_s for upload, _, one in pairs)
    print(f"by product {speedup:.1f} times as many as by upload; kept answers {kept:.1f} times")
    if options.json:
        said = {"speedup": round(speedup, 1), "speedup_kept": round(kept, 1), "load_before": round(busy, 1)}
        print(json.dumps({**said, "products": options.products, "callers": CALLERS, **figures}))


if __name__ == "__main__":
    main()
