"""A swap of the generation every second, under load: what of it the callers notice.

    python -m benchmarks.swap [--seconds 30] [--n 50000] [--dim 128] [--json]

Two generations without a product in common lie in an object store; the pointer moves from one to the other
and back, once a second, while a search server of its own process follows it and is asked over gRPC. First
closed loops say what server and client are capable of, the slowest of them; then calls come at 70 % of that,
whatever the answers take, and without a second try: by turns for a while without swaps and a while with.
``failed``: calls without an answer. ``mixed_generations``: answers that are not, byte for byte, what one of
the two generations answers when it is alone. ``p99_ratio``: the 99th percentile during the swaps by that of
the times without. Memory, descriptors and threads are the server's, at the end of a swap's second.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from benchmarks._open_loop import Answer, closed_loop, open_loop, percentile_ms
from benchmarks._search_server import Catalogue, SearchServer, local_store, search_request
from serving.index.generation import Manifest
from serving.index.store import point, read_pointer
from serving.object_store import LocalObjectStore
from serving.proto import search_pb2

METHOD = "/imgsearch.v1.Search/Search"
REQUESTS = 64
CALLERS = 16
SHARE = 0.7  # of capacity
TURNS = 3
EARLY, LATE = 2, 20  # swaps after which memory is compared
POLL_S = 0.1  # how often the server looks at the pointer: a swap must be done within its second
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Taken:
    """What the server takes: bytes of memory, descriptors, threads."""

    memory_bytes: int
    descriptors: int
    threads: int


@dataclass
class Pointer:
    """Moves from one generation to the other and back."""

    store: LocalObjectStore
    generations: list[Manifest]
    server: SearchServer
    swaps: int = 0
    taken: list[Taken] = field(default_factory=list)  # after each swap of ``every_second``
    _stop: threading.Event = field(default_factory=threading.Event)

    def move(self) -> None:
        seen = read_pointer(self.store, "local")
        other = self.generations[self.swaps % 2]
        point(self.store, "local", other, "benchmark", "a swap", seen)
        self.swaps += 1

    def every_second(self) -> None:
        """Until stopped; a moment before each next move, the server's least memory of that moment counts."""
        self._stop.clear()
        due = time.monotonic()
        while not self._stop.is_set():
            self.move()
            due += 1
            self._stop.wait(max(0.0, due - 0.3 - time.monotonic()))
            moments = []
            while time.monotonic() < due and not self._stop.is_set():
                process = self.server.process
                moments.append(Taken(process.memory_info().rss, process.num_fds(), process.num_threads()))
                self._stop.wait(0.05)
            if moments:
                self.taken.append(min(moments, key=lambda moment: moment.memory_bytes))

    def stop(self) -> None:
        self._stop.set()


class Caller:
    """Asks over one channel, without retries; knows what either generation answers."""

    def __init__(self, channel: grpc.aio.Channel, requests: list[bytes]) -> None:
        self._call = channel.unary_unary(METHOD)  # bytes to bytes
        self._requests = requests
        self.known: list[set[bytes]] = [set() for _ in requests]

    async def ask(self, number: int) -> bytes:
        reply: bytes = await self._call(self._requests[number], timeout=TIMEOUT_S)
        return reply

    async def learn(self, catalogue: Catalogue, generation: str) -> None:
        """Wait until ``generation`` is served, and keep what it answers: products of its own alone."""
        deadline = time.monotonic() + 60
        while search_pb2.SearchReply.FromString(await self.ask(0)).generation != generation:
            if time.monotonic() > deadline:
                raise SystemExit(f"generation {generation} was never served")
            await asyncio.sleep(0.05)
        for number, known in enumerate(self.known):
            reply = await self.ask(number)
            told = search_pb2.SearchReply.FromString(reply)
            ids = [hit.product.product_id for hit in told.results[0].hits]
            assert told.generation == generation
            assert ids
            assert all(name.startswith(catalogue.prefix) for name in ids)
            known.add(reply)

    def mixed(self, answers: list[Answer]) -> int:
        """How many are the answer of neither generation."""
        return sum(not answer.error and answer.reply not in self.known[answer.request] for answer in answers)


@dataclass(frozen=True)
class Measured:
    capacity: float  # answers a second
    steady: list[Answer]
    swapping: list[Answer]
    mixed: int
    swaps: int  # that the server made while ``swapping``
    taken: list[Taken]


async def measure(
    pointer: Pointer, catalogues: list[Catalogue], requests: list[bytes], seconds: float, steady_s: float
) -> Measured:
    async with grpc.aio.insecure_channel(pointer.server.address) as channel:
        caller = Caller(channel, requests)
        for catalogue, generation in zip(catalogues, pointer.generations, strict=True):
            if generation.id != pointer.generations[0].id:
                pointer.move()
            await caller.learn(catalogue, generation.id)
        capacity = min([await closed_loop(caller.ask, REQUESTS, CALLERS, seconds / 20) for _ in range(4)])
        rate = SHARE * capacity
        print(f"{capacity:,.0f} answers/s at most; asked at {rate:,.0f}/s from here on", file=sys.stderr)
        steady, swapping = [], []
        before = pointer.server.samples()["imgsearch_generation_swaps_total",]
        for _ in range(TURNS):
            steady += await open_loop(caller.ask, REQUESTS, rate, steady_s / TURNS)
            moving = threading.Thread(target=pointer.every_second)
            moving.start()
            swapping += await open_loop(caller.ask, REQUESTS, rate, seconds / TURNS)
            pointer.stop()
            moving.join()
        swaps = pointer.server.samples()["imgsearch_generation_swaps_total",] - before
        mixed = caller.mixed(steady) + caller.mixed(swapping)
    return Measured(capacity, steady, swapping, mixed, int(swaps), pointer.taken)


def _least(taken: list[Taken], swaps: int) -> Taken:
    """After so many swaps, or one of the two next: on a busy machine a swap may last into the next one."""
    return min(taken[min(swaps, len(taken)) - 1 :][:3], key=lambda moment: moment.memory_bytes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=30.0, help="with a swap each")
    parser.add_argument("--steady-seconds", type=float, default=20.0, help="without")
    parser.add_argument("--n", type=int, default=50_000, help="vectors of each generation, one a product")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        store = local_store(home)
        catalogues = [
            Catalogue.made(prefix, options.n, options.dim, seed) for seed, prefix in enumerate("ab")
        ]
        generations = [catalogue.build(store) for catalogue in catalogues]
        xq = catalogues[0].queries(REQUESTS, seed=1)
        requests = [search_request(row[None]).SerializeToString() for row in xq]
        point(store, "local", generations[0], "benchmark", "the first", read_pointer(store, "local"))
        with SearchServer(home, poll_interval_s=POLL_S) as server:
            pointer = Pointer(store, generations, server, swaps=1)
            found = asyncio.run(
                measure(pointer, catalogues, requests, options.seconds, options.steady_seconds)
            )

    failures = Counter(answer.error for answer in found.steady + found.swapping if answer.error)
    early, late, last = (_least(found.taken, swaps) for swaps in (EARLY, LATE, len(found.taken)))
    ratio = percentile_ms(found.swapping, 99) / percentile_ms(found.steady, 99)
    print(f"\ntwo generations of {options.n:,} x {options.dim}, {found.swaps} swaps in {options.seconds:g} s")
    print(f"{'':<16}{'calls':>9}{'p50 ms':>9}{'p99 ms':>9}{'most ms':>9}")
    for name, answers in (("without swaps", found.steady), ("with swaps", found.swapping)):
        p50, p99, most = (percentile_ms(answers, percent) for percent in (50, 99, 100))
        print(f"{name:<16}{len(answers):>9,}{p50:>9.1f}{p99:>9.1f}{most:>9.1f}")
    said = ", ".join(f"{count} {name}" for name, count in failures.items()) or "none"
    print(f"failed: {said}; answers of neither generation: {found.mixed}; p99 ratio {ratio:.2f}")
    print(f"{'':<22}{'memory MiB':>11}{'descriptors':>13}{'threads':>9}")
    for name, taken in (
        (f"after {EARLY} swaps", early),
        (f"after {min(LATE, len(found.taken))}", late),
        ("at the end", last),
    ):
        print(f"{name:<22}{taken.memory_bytes / 2**20:>11.1f}{taken.descriptors:>13}{taken.threads:>9}")
    if options.json:
        figures = {
            "failed": sum(failures.values()),
            "mixed_generations": found.mixed,
            "p99_ratio": round(ratio, 2),
            "memory_ratio": round(late.memory_bytes / early.memory_bytes, 3),
            "descriptors_growth": last.descriptors - early.descriptors,
            "threads_growth": last.threads - early.threads,
            "swaps": found.swaps,
            "capacity_per_s": round(found.capacity, 1),
            "p99_ms_steady": round(percentile_ms(found.steady, 99), 2),
            "p99_ms_swapping": round(percentile_ms(found.swapping, 99), 2),
            "load_before": round(busy, 1),
            "n": options.n,
            "dim": options.dim,
        }
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
