"""Three times as many calls as can be answered: of the search service, and of uploads through the front.

    python -m benchmarks.overload [--only search|upload] [--seconds 30] [--json]

Capacity first, by callers who wait for their answers, twice as many each time. ``peak_per_s`` is the most
that were answered in time; "saturation" are the callers with whom that was, and the 99th percentile that they
saw. ``ladder`` has the others', for who would call fewer of them saturation: callers, answered in time a
second, p99 ms. Then, for ``--seconds``, ``TIMES`` the peak whatever becomes of it.

"search" is one process as ``imgsearch serve search`` starts it, over a made catalogue; "upload" a shop of
drawn products with its three services and its front, a process each. Calls have a deadline, ``PATIENCE_S``;
one answered later does not count. The generator is h2load, on the same cores: at three times the peak of a
search service it took a tenth of a core, of uploads less. It cannot tell a refused gRPC call from another, so
the service counts what it answers, and a few calls more, at ``PROBES_PER_S`` and at random times, see how
long that takes and what refusals say: a twentieth of a core. ``refused_without_hint`` counts those of these
from which a client of this platform does not learn when to come again.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks._crowd import Calls, Crowd, Seen, Uploads
from benchmarks._h2load import NoH2load, h2load
from benchmarks._search_server import Catalogue, SearchServer, local_store, search_request
from benchmarks._shop import Shop, shop
from serving.index.store import point, read_pointer

TIMES = 3
PATIENCE_S = {"search": 1.0, "upload": 5.0}
MOST_CALLERS = {"search": 128, "upload": 16}
PROBES_PER_S = {"search": 50.0, "upload": 2.0}
LONE = 50  # calls by which is known what is usual
RECOVERY_LIMIT_S = 30.0


@dataclass(frozen=True)
class Overload:
    """What one side did. Times in seconds; ``p99_ms`` of calls that were answered in time."""

    ladder: dict[int, Seen]  # by callers
    offered_per_s: float
    seen: Seen
    memory_ratio: float
    recovery_s: float

    @property
    def figures(self) -> dict[str, float]:
        saturation = saturated(self.ladder)
        peak = self.ladder[saturation]
        return {
            "peak_per_s": round(peak.per_s, 1),
            "saturation_callers": saturation,
            "saturation_p99_ms": round(peak.ms(99), 1),
            "offered_per_s": round(self.offered_per_s, 1),
            "goodput_per_s": round(self.seen.per_s, 1),
            "goodput_ratio": round(self.seen.per_s / peak.per_s, 3),
            "p99_ms": round(self.seen.ms(99), 1),
            "p99_ratio": round(self.seen.ms(99) / peak.ms(99), 2),
            "refused": self.seen.refused,
            "failed": self.seen.failed,
            "refused_without_hint": self.seen.unhinted,
            "memory_ratio": round(self.memory_ratio, 3),
            "recovery_s": round(self.recovery_s, 2),
        }


def saturated(ladder: dict[int, Seen]) -> int:
    """The callers of whom most were answered in time a second."""
    return max(ladder, key=lambda callers: ladder[callers].per_s)


async def overload(crowd: Crowd, most: int, ladder_s: float, seconds: float) -> Overload:
    usual_s = max([await crowd.lone() for _ in range(LONE)][LONE // 5 :])  # the first are those that warm up
    ladder: dict[int, Seen] = {}
    callers = 1
    while callers <= most:
        ladder[callers] = await crowd.waiting(callers, ladder_s)
        print(f"{callers} callers: {ladder[callers]}", file=sys.stderr)
        callers *= 2
    peak = ladder[saturated(ladder)].per_s
    before = memory()
    seen = await crowd.coming(TIMES * peak, seconds)
    ended = time.perf_counter()
    print(f"{TIMES * peak:,.0f}/s whatever becomes of them: {seen}", file=sys.stderr)
    while await crowd.lone() > usual_s and time.perf_counter() - ended < RECOVERY_LIMIT_S:
        pass
    return Overload(ladder, TIMES * peak, seen, memory() / before, time.perf_counter() - ended)


def memory() -> int:
    """Bytes in memory of the services, each a child of this process."""
    return sum(child.memory_info().rss for child in psutil.Process().children(recursive=True))


def searches(options: argparse.Namespace, folder: Path) -> Overload:
    store = local_store(folder)
    catalogue = Catalogue.made("p", options.n, options.dim, seed=0)
    manifest = catalogue.build(store)
    point(store, "local", manifest, "benchmark", "to be measured", read_pointer(store, "local"))
    messages = [search_request(row[None]).SerializeToString() for row in catalogue.queries(64, seed=1)]

    async def measure(server: SearchServer) -> Overload:
        crowd = Calls(server, messages, folder, PATIENCE_S["search"], PROBES_PER_S["search"])
        return await overload(crowd, MOST_CALLERS["search"], options.ladder_seconds, options.seconds)

    with SearchServer(folder) as server:
        return asyncio.run(measure(server))


def uploads(options: argparse.Namespace, folder: Path) -> Overload:
    most, patience_s, probes_per_s = MOST_CALLERS["upload"], PATIENCE_S["upload"], PROBES_PER_S["upload"]

    async def measure(running: Shop) -> Overload:
        url = f"{running.services.api_url}/v1/search/image"
        async with httpx.AsyncClient(timeout=30) as client:
            crowd = Uploads(url, running.uploads, client, folder, patience_s, probes_per_s)
            return await overload(crowd, most, options.ladder_seconds, options.seconds)

    with shop(options.products, most, folder) as running:
        return asyncio.run(measure(running))


SIDES = {"search": searches, "upload": uploads}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", choices=tuple(SIDES))
    parser.add_argument("--n", type=int, default=100_000, help="vectors of the search service")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--products", type=int, default=200, help="of the shop")
    parser.add_argument("--seconds", type=float, default=30.0, help="of too many calls")
    parser.add_argument("--ladder-seconds", type=float, default=4.0, help="of each number of callers")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        h2load()
    except NoH2load as error:
        sys.exit(f"no figures: {error}")
    busy = os.getloadavg()[0]
    found: dict[str, dict[str, float]] = {}
    ladders: dict[str, list[tuple[int, float, float]]] = {}
    for side in [options.only] if options.only else SIDES:
        with tempfile.TemporaryDirectory(prefix="imgsearch-bench-") as folder:
            measured = SIDES[side](options, Path(folder))
        found[side] = measured.figures
        ladders[side] = [
            (callers, round(seen.per_s, 1), round(seen.ms(99), 1))
            for callers, seen in measured.ladder.items()
        ]
    print(f"\n{TIMES} times capacity for {options.seconds:g} s, {len(os.sched_getaffinity(0))} cores")
    print(f"{'':<24}" + "".join(f"{side:>12}" for side in found))
    for name in next(iter(found.values())):
        print(f"{name:<24}" + "".join(f"{figures[name]:>12,g}" for figures in found.values()))
    if options.json:
        print(
            json.dumps(
                {**found, "ladder": ladders, "seconds": options.seconds, "load_before": round(busy, 1)}
            )
        )


if __name__ == "__main__":
    main()
