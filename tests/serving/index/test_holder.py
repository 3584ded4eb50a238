import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from prometheus_client import CollectorRegistry

from serving import telemetry
from serving.errors import Unavailable
from serving.index import holder as holding
from serving.index import memory
from serving.index.holder import Holder
from serving.index.search import search
from serving.index.store import Failure, PointerAt, point, pointer_key, read_pointer
from serving.telemetry import IndexMetrics


class Swaps:
    def __init__(self) -> None:
        self.count = 0

    async def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def swaps() -> Swaps:
    return Swaps()


@pytest.fixture
def holder(shop, registry: CollectorRegistry, swaps: Swaps) -> Holder:
    return Holder(shop.store, "local", IndexMetrics(registry), swaps, lambda generation: generation)


def release(shop, manifest: Any) -> None:
    point(shop.store, "local", manifest, "test", "test", read_pointer(shop.store, "local"))


async def test_nothing_is_served_before_the_first_release(holder: Holder, swaps: Swaps) -> None:
    await holder.look()
    assert (holder.loaded, swaps.count) == (None, 0)
    assert holder.failure == Failure("", "nothing was released yet in local")
    with pytest.raises(Unavailable, match="no generation is loaded yet"):
        holder.current()


async def test_it_follows_the_pointer(
    shop, holder: Holder, swaps: Swaps, registry: CollectorRegistry
) -> None:
    first, second = shop.build("s1"), shop.build("s2")
    for manifest in (first, second, first):
        release(shop, manifest)
        await holder.look()
        await holder.look()
        assert holder.current().manifest == manifest
    assert swaps.count == 3
    assert registry.get_sample_value("imgsearch_generation_rows") == first.rows
    assert registry.get_sample_value("imgsearch_generation_swaps_total") == 3


async def test_a_generation_is_prepared_before_it_is_served(shop, registry: CollectorRegistry) -> None:
    prepared = []

    def prepare(generation: Any) -> Any:
        prepared.append(generation.manifest)
        assert holder.loaded is None
        if len(prepared) == 1:
            raise ValueError("not this one")
        return "served", generation

    async def nothing() -> None:
        pass

    holder = Holder(shop.store, "local", IndexMetrics(registry), nothing, prepare)
    manifest = shop.build()
    for _ in range(2):
        release(shop, manifest)
        await holder.look()
    assert prepared == [manifest] * 2
    said, generation = holder.current()
    assert (said, generation.manifest) == ("served", manifest)


async def test_a_bad_generation_leaves_the_old_one_and_is_not_tried_again(
    shop, holder: Holder, swaps: Swaps, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = shop.build("s1")
    shop.products, shop.items = shop.products.slice(1), shop.items.slice(6)
    shop.vectors = shop.vectors[6:]
    bad = shop.build("s2")
    release(shop, good)
    await holder.look()
    items = bad.segment("items")
    data = shop.store.get(items.key)
    release(shop, bad)
    shop.store.put(items.key, data[:-1] + b"?")
    await holder.look()
    assert holder.current().manifest == good
    reason = f"{items.key} does not have the hash that its name says"
    assert holder.failure == Failure(bad.id, reason)
    assert registry.get_sample_value("imgsearch_generation_stale") == 1
    served = {"generation": good.id, "embedder": good.embedder, "detector": good.detector}
    assert registry.get_sample_value("imgsearch_generation_info", served) == 1
    assert telemetry.versions.items() >= served.items()
    told = {"generation": bad.id, "reason": reason}
    assert registry.get_sample_value("imgsearch_generation_failure_info", told) == 1
    looked = []
    monkeypatch.setattr(holder, "_load", looked.append)
    await holder.look()
    assert looked == [], "the same pointer leads to the same file"
    monkeypatch.undo()
    shop.store.put(items.key, data)
    release(shop, bad)  # moves the pointer: there is a reason to look again
    await holder.look()
    assert (holder.current().manifest, holder.failure, swaps.count) == (bad, None, 2)
    served = {"generation": bad.id, "embedder": bad.embedder, "detector": bad.detector}
    assert registry.get_sample_value("imgsearch_generation_info", served) == 1
    assert telemetry.versions.items() >= served.items()
    assert registry.get_sample_value("imgsearch_generation_failure_info", told) is None
    assert registry.get_sample_value("imgsearch_generation_stale") == 0


async def test_a_bad_generation_that_was_mended_is_served(
    shop, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = shop.build()
    release(shop, manifest)
    items = manifest.segment("items").key
    data = shop.store.get(items)
    shop.store.put(items, data[:-1] + b"?")
    monkeypatch.setattr(holding, "_REFUSED_S", 0.0)
    await holder.look()
    assert holder.failure is not None
    shop.store.put(items, data)
    await holder.look()
    assert (holder.current().manifest, holder.failure) == (manifest, None)


@pytest.mark.parametrize("delta", [False, True], ids=["the same again", "a delta on it"])
async def test_a_base_that_rots_while_it_is_served_is_exchanged_once_mended(
    shop, holder: Holder, delta: bool
) -> None:
    manifest = shop.build()
    release(shop, manifest)
    await holder.look()
    path = shop.store.local_path(manifest.segment("base").key)
    whole = path.read_bytes()
    with path.open("r+b") as file:  # in place, under the mapping
        file.write(bytes(len(whole)))
    rotten = holder.current()
    mended = shop.build()
    release(shop, shop.without(mended, shop.ids[:1]) if delta else mended)
    await holder.look()
    assert holder.failure is None
    assert holder.current() is not rotten
    place = holder.current().place(shop.ids[5])
    found = search(holder.current(), holder.current().vectors(place), 1)
    assert found.hits[0].score > 0.99
    served = holder.current()
    await holder.look()
    assert holder.current() is served


async def test_a_roll_back_to_what_is_served_ends_the_failure(shop, holder: Holder) -> None:
    good = shop.build("s1")
    shop.products, shop.items = shop.products.slice(1), shop.items.slice(6)
    shop.vectors = shop.vectors[6:]
    bad = shop.build("s2")
    release(shop, good)
    await holder.look()
    release(shop, bad)
    shop.store.put(bad.key, b"{}")
    await holder.look()
    assert holder.failure == Failure(
        bad.id,
        f"the manifest of generation {bad.id} is not the one that was released; release it again, "
        "or roll back",
    )
    release(shop, good)
    await holder.look()
    assert holder.failure is None


async def test_what_may_be_over_in_a_moment_is_tried_again(
    shop, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(shop, shop.build())
    with monkeypatch.context() as scarce:
        scarce.setattr(memory, "available_bytes", lambda: 0)
        await holder.look()
    assert holder.loaded is None
    assert holder.failure is not None
    assert "MiB of memory and 0 MiB are free" in holder.failure.reason
    await holder.look()
    assert holder.loaded is not None
    assert holder.failure is None


async def test_a_store_that_is_away_leaves_what_is_served(
    shop, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(shop, shop.build())
    await holder.look()

    def away(key: str) -> None:
        raise OSError("cut off")

    monkeypatch.setattr(shop.store, "version", away)
    await holder.look()
    assert holder.loaded is not None
    assert holder.failure == Failure("", "the object store cannot be read: cut off")


async def test_a_store_that_goes_away_during_a_swap_is_asked_again(
    shop, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = shop.build("s1")
    release(shop, first)
    await holder.look()
    shop.vectors = shop.vectors[:, ::-1].copy()
    second = shop.build("s2")
    release(shop, second)
    whole, calls = shop.store.local_path, []

    def going(key: str) -> Any:
        calls.append(key)
        if len(calls) > 2:
            raise OSError("cut off")
        return whole(key)

    monkeypatch.setattr(shop.store, "local_path", going)
    await holder.look()
    assert holder.current().manifest == first
    assert holder.failure == Failure(second.id, "the object store cannot be read: cut off")
    monkeypatch.undo()
    await holder.look()
    assert (holder.current().manifest, holder.failure) == (second, None)


async def test_a_store_that_is_away_at_the_start_is_waited_for(
    shop, holder: Holder, swaps: Swaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = shop.build()
    release(shop, manifest)

    def away(key: str) -> None:
        raise OSError("cut off")

    monkeypatch.setattr(shop.store, "get", away)
    await holder.look()
    assert (holder.loaded, swaps.count) == (None, 0)
    assert holder.failure is not None
    monkeypatch.undo()
    await holder.look()
    assert (holder.current().manifest, swaps.count) == (manifest, 1)


async def test_a_pointer_to_nothing_leaves_what_is_served(shop, holder: Holder) -> None:
    first, second = shop.build("s1"), shop.build("s2")
    release(shop, first)
    await holder.look()
    release(shop, second)
    shop.store.delete(second.key)
    await holder.look()
    assert holder.current().manifest == first
    assert holder.failure == Failure(second.id, f"there is no generation {second.id}")


async def test_what_was_not_there_is_taken_once_it_is(shop, holder: Holder) -> None:
    first, second = shop.build("s1"), shop.build("s2")
    release(shop, first)
    await holder.look()
    data = shop.store.get(second.key)
    release(shop, second)
    shop.store.delete(second.key)
    await holder.look()
    assert holder.current().manifest == first
    shop.store.put(second.key, data)
    await holder.look()
    assert (holder.current().manifest, holder.failure) == (second, None)


async def test_a_refusal_is_told_again_after_the_pointer_was_away(shop, holder: Holder) -> None:
    first, second = shop.build("s1"), shop.build("s2")
    release(shop, first)
    await holder.look()
    release(shop, second)
    shop.store.put(second.key, second.to_json() + b" ")
    await holder.look()
    refusal, pointer = holder.failure, shop.store.get(pointer_key("local"))
    assert refusal is not None
    shop.store.delete(pointer_key("local"))
    await holder.look()
    assert holder.failure != refusal
    shop.store.put(pointer_key("local"), pointer)
    await holder.look()
    assert holder.failure == refusal


async def test_a_manifest_of_a_newer_format_is_refused_clearly(shop, holder: Holder) -> None:
    first, second = shop.build("s1"), shop.build("s2")
    release(shop, first)
    await holder.look()
    shop.store.put(second.key, second.to_json().replace(b'"format": 3', b'"format": 4, "wings": 2'))
    release(shop, second)
    await holder.look()
    assert holder.current().manifest == first
    assert holder.failure is not None
    assert holder.failure.reason == (
        f"generation {second.id} is of format 4, newer than format 3 that is read here; "
        "upgrade what reads it, or roll back to an earlier generation"
    )


async def test_a_swap_to_deltas_keeps_the_base(shop, holder: Holder) -> None:
    first = shop.build("s1")
    release(shop, first)
    await holder.look()
    before = holder.current()
    later = shop.without(first, shop.ids[:3])
    release(shop, later)
    await holder.look()
    assert holder.current().manifest == later
    assert holder.current().base is before.base
    assert holder.current().place(shop.ids[0]) is None
    assert before.place(shop.ids[0]) is not None, "who still has the old one still sees the old one"


async def test_a_pointer_that_is_none_leaves_what_is_served(shop, holder: Holder) -> None:
    release(shop, shop.build())
    await holder.look()
    shop.store.put(pointer_key("local"), b"nonsense")
    await holder.look()
    assert holder.loaded is not None
    assert holder.failure is not None
    assert holder.failure.reason.startswith("environments/local.json is no pointer: ")


async def test_a_pointer_that_vanished_leaves_what_is_served_and_is_told(
    shop, holder: Holder, registry: CollectorRegistry
) -> None:
    release(shop, shop.build())
    await holder.look()
    data = shop.store.get(pointer_key("local"))
    shop.store.delete(pointer_key("local"))
    await holder.look()
    assert holder.loaded is not None
    assert holder.failure == Failure("", "nothing is released any more in local")
    assert registry.get_sample_value("imgsearch_generation_stale") == 1
    shop.store.put(pointer_key("local"), data)
    await holder.look()
    assert holder.failure is None
    assert registry.get_sample_value("imgsearch_generation_stale") == 0


async def test_a_reader_keeps_its_generation(shop, holder: Holder) -> None:
    first, second = shop.build("s1"), shop.build("s2")
    release(shop, first)
    await holder.look()
    mine = holder.current()
    release(shop, second)
    looking = asyncio.create_task(holder.look())
    await until(lambda: holder.current().manifest == second)
    assert mine.manifest == first
    assert search(mine, mine.vectors(0), 3).hits[0].product == 0
    del mine
    await asyncio.wait_for(looking, 5)  # ends with its last reader


async def test_swaps_under_load_lose_no_search(shop, holder: Holder) -> None:
    """Four threads search while generations are exchanged; each answer is of exactly one of them."""
    manifests = [shop.build("s1")]
    shop.products = shop.products.slice(0, 40)
    kept = set(shop.products["product_id"].to_pylist())
    rows = [place for place, name in enumerate(shop.items["product_id"].to_pylist()) if name in kept]
    shop.items, shop.vectors = shop.items.take(rows), shop.vectors[rows]
    manifests.append(shop.build("s2"))
    release(shop, manifests[0])
    await holder.look()

    stop, searched, failed = threading.Event(), [0] * 4, []

    def reader(number: int) -> None:
        while not stop.is_set():
            try:
                generation = holder.current()
                found = search(generation, generation.vectors(7), 60)
                if len(found.hits) != generation.manifest.products or found.hits[0].product != 7:
                    failed.append(found)
                searched[number] += 1
                del generation
            except Exception as error:
                failed.append(error)
                raise

    threads = [threading.Thread(target=reader, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    process = psutil.Process()
    # Some seconds, however few swaps a busy machine makes of them, but never fewer than are looked at.
    swapped, at_start, deadline = 0, None, time.monotonic() + 3
    while time.monotonic() < deadline or swapped < 10:
        release(shop, manifests[(swapped + 1) % 2])
        await holder.look()
        swapped += 1
        if at_start is None and swapped == 5:  # by then every part of the machinery was used once
            at_start = (process.num_fds(), process.num_threads())
    at_end = (process.num_fds(), process.num_threads())
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert min(searched) > 10
    assert swapped >= 5
    assert at_start is not None
    assert at_end[0] <= at_start[0] + 2, "descriptors stay"
    assert at_end[1] <= at_start[1] + 4, "threads stay"


async def test_it_goes_on_looking(shop, holder: Holder) -> None:
    following = asyncio.create_task(holder.follow(poll_interval_s=0.01))
    manifest = shop.build()
    point(shop.store, "local", manifest, "test", "test", PointerAt())
    await until(lambda: holder.loaded is not None)
    following.cancel()


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not done():  # noqa: ASYNC110 what is awaited has no event
            await asyncio.sleep(0.01)
