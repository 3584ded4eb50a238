"""A search by product through the HTTP front, against the same straight to the gRPC service.

    python -m benchmarks.http [--products 300] [--seconds 8] [--json]

A shop as ``benchmarks.fastpath`` makes it: one process is the front, one the search service. "gRPC" sends the
very message that the front sends, and gets the reply that the front makes its answer of; "front" gets
the answer, from a front that keeps none; "alive" is ``GET /healthz``: HTTP, the middlewares round
every request and a route. The load generator is h2load, on the same machine; as many callers of each
kind, each with a connection of its own, who wait for their answer. Turn by turn; medians of rounds.

``ratio``: requests a second through the front by calls a second to the service; the three processes share the
machine's cores. ``ratio_by_processor``: processor seconds of a call to the service by those of a request
through the front, the service's share included. Where the rest goes: processor milliseconds of the front by
part. What it writes an answer with is timed here, on one of those replies.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import grpc

from benchmarks._h2load import Call, NoH2load, h2load, load
from benchmarks._http_load import gets
from benchmarks._shop import Shop, shop
from serving.api.answer import answered, whole
from serving.api.schemas import DEFAULT_K
from serving.proto import search_pb2

SEARCH = "/imgsearch.v1.Search/Search"
CALLERS = 8
KINDS = {"grpc": "straight to gRPC", "front": "through the front", "alive": "/healthz of the front"}
_FEW = 20  # requests of each caller that say how many fill the time
_WRITTEN = 400  # times that an answer is made here


@dataclass(frozen=True)
class Rate:
    """How many a second, and the processor milliseconds that the front and the service spent on each."""

    per_s: float
    front_ms: float
    search_ms: float


def message(product_id: str) -> bytes:
    """What the front asks the service for ``GET /v1/products/{product_id}/similar``."""
    stock = search_pb2.Filter(in_stock_only=True)
    query = search_pb2.Query(product_id=product_id, k=DEFAULT_K, filter=stock)
    return search_pb2.SearchRequest(queries=[query]).SerializeToString()


def replies(address: str, messages: list[bytes]) -> list[bytes]:
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary(SEARCH)
        return [ask(one, timeout=30) for one in messages]


def writing_ms(reply: bytes) -> float:
    """Milliseconds from the bytes of a reply to those of an answer."""
    began = time.process_time()
    for _ in range(_WRITTEN):
        made = answered(search_pb2.SearchReply.FromString(reply), "index", "product")
        whole(made.body, False, {"search": 1.0, "total": 1.0})
    return (time.process_time() - began) / _WRITTEN * 1000


def measured(running: Shop, ask: Callable[[int], tuple[float, int]], seconds: float) -> Rate:
    """``ask(each)`` has every caller ask so often, and says how many a second and how many in all."""
    per_s, _ = ask(_FEW)
    before = [running.processor_s(name) for name in ("api", "search")]
    per_s, count = ask(max(1, round(per_s * seconds / CALLERS)))
    used = [running.processor_s(name) for name in ("api", "search")]
    front, search = ((now - then) / count * 1000 for now, then in zip(used, before, strict=True))
    return Rate(per_s, front, search)


def measure(products: int, seconds: float, rounds: int, home: Path) -> tuple[dict[str, list[Rate]], float]:
    """The rates by kind, and ``writing_ms``."""
    with shop(products, 1, home) as running:
        address, base = running.addresses["IMGSEARCH_SEARCH_ADDRESS"], running.services.api_url
        names = running.product_ids[:CALLERS]
        messages = [message(name) for name in names]
        right = replies(address, messages)
        calls = [Call(SEARCH, one, len(reply)) for one, reply in zip(messages, right, strict=True)]

        def straight(each: int) -> tuple[float, int]:
            found = load(address, calls, each, home, streams=1)
            if found.right != found.calls:
                raise SystemExit(f"{found.calls} calls, {found.right} answered rightly")
            return found.calls_per_s, found.calls

        def http(paths: list[str], each: int) -> tuple[float, int]:
            found = gets(base, paths, each * CALLERS, CALLERS, home)
            if found.failed:
                raise SystemExit(f"{found.failed} of {each * CALLERS} requests failed")
            return found.per_s, len(found.took_ms)

        similar = [f"/v1/products/{name}/similar" for name in names]
        sides: dict[str, Callable[[int], tuple[float, int]]] = {
            "grpc": straight,
            "front": lambda each: http(similar, each),
            "alive": lambda each: http(["/healthz"], each),
        }
        rates: dict[str, list[Rate]] = {kind: [] for kind in sides}
        for number in range(rounds):
            for kind, ask in sides.items():
                rates[kind].append(measured(running, ask, seconds))
                print(f"round {number + 1}: {kind} {rates[kind][-1].per_s:,.0f}/s", file=sys.stderr)
        return rates, writing_ms(right[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--products", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each kind and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        h2load()
    except NoH2load as error:
        raise SystemExit(str(error)) from None
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="imgsearch-bench-") as folder:
        rates, written = measure(options.products, options.seconds, options.rounds, Path(folder))

    def middle(kind: str, of: Callable[[Rate], float]) -> float:
        return median(of(one) for one in rates[kind])

    print(f"\n{options.products} products, {CALLERS} callers, medians of {options.rounds} rounds")
    print(f"{'':<24}{'a second':>10}{'front ms':>10}{'search ms':>11}")
    figures: dict[str, dict[str, float]] = {}
    for kind, title in KINDS.items():
        per_s = middle(kind, lambda one: one.per_s)
        front, search = middle(kind, lambda one: one.front_ms), middle(kind, lambda one: one.search_ms)
        print(f"{title:<24}{per_s:>10,.0f}{front:>10.3f}{search:>11.3f}")
        figures[kind] = {
            "per_s": round(per_s, 1),
            "front_ms": round(front, 3),
            "search_ms": round(search, 3),
        }
    pairs = list(zip(rates["front"], rates["grpc"], strict=True))
    ratio = median(front.per_s / straight.per_s for front, straight in pairs)
    by_processor = median(
        straight.search_ms / (front.front_ms + front.search_ms) for front, straight in pairs
    )
    through, alive = figures["front"]["front_ms"], figures["alive"]["front_ms"]
    parts = {
        "http, middlewares, a route": alive,
        "answer read and written": round(written, 3),
        "parameters, gRPC, the rest": round(through - alive - written, 3),
    }
    print(f"\nof the front's {through:.3f} ms of processor:")
    for name, ms in parts.items():
        print(f"  {name:<28}{ms:>7.3f}")
    print(f"\nthrough the front {ratio:.3f} of straight to gRPC; by processor {by_processor:.3f}")
    if options.json:
        said = {"ratio": round(ratio, 3), "ratio_by_processor": round(by_processor, 3)}
        about = {"load_before": round(busy, 1), "products": options.products, "callers": CALLERS}
        print(json.dumps({**said, **about, **figures, "front_parts_ms": parts}))


if __name__ == "__main__":
    main()
