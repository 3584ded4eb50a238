"""A holder of toy models in a real store: what it follows, keeps, loads once, and refuses."""

import asyncio
import json
import logging
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from prometheus_client import CollectorRegistry

from serving.errors import NotFound, Unavailable, Unverified
from serving.models.bundle import Bundle, promote, store_bundle
from serving.models.holder import KEPT, ModelHolder
from serving.models.preprocess import Preprocessing
from serving.object_store import LocalObjectStore
from serving.telemetry import ModelMetrics


@dataclass
class Toy:
    version: str


class Maker:
    """Builds toys and counts; waits while ``gate`` is closed."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.fails: Exception | None = None

    def __call__(self, bundle: Bundle) -> Toy:
        assert self.gate.wait(10)
        if self.fails is not None:
            raise self.fails
        self.made.append(bundle.version)
        return Toy(bundle.version)


@pytest.fixture
def store(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture
def holder(store: LocalObjectStore, maker: Maker, registry: CollectorRegistry) -> ModelHolder[Toy]:
    return ModelHolder(store, "toy", maker, ModelMetrics(registry))


def candidate(store: LocalObjectStore, value: float) -> Bundle:
    return store_bundle(store, "toy", {"a": torch.full((3,), value)}, Preprocessing())


def live(store: LocalObjectStore, value: float) -> str:
    bundle = candidate(store, value)
    promote(store, bundle)
    return bundle.version


async def test_nothing_to_start_with(holder: ModelHolder[Toy]) -> None:
    with pytest.raises(NotFound, match="no model named 'toy' is registered in this object store"):
        await holder.start()


async def test_it_follows_the_live_version_and_keeps_the_one_before(
    store: LocalObjectStore, holder: ModelHolder[Toy], maker: Maker, registry: CollectorRegistry
) -> None:
    first = live(store, 1)
    await holder.start()
    await holder.look()
    second = live(store, 2)
    assert (await holder.get()).version == first
    await holder.look()
    assert (await holder.get()).version == holder.live == second
    assert (await holder.get(first)).version == first
    assert maker.made == [first, second]
    assert registry.get_sample_value("imgsearch_model_swaps_total") == 2
    assert registry.get_sample_value("imgsearch_models_loaded") == 2


async def test_a_version_that_is_not_live_is_loaded_when_asked_for(
    store: LocalObjectStore, holder: ModelHolder[Toy]
) -> None:
    live(store, 0)
    await holder.start()
    others = [live(store, value) for value in range(1, 5)]
    live(store, 0)
    for version in others:
        assert (await holder.get(version)).version == version
    assert set(holder.loaded) == {holder.live, *others[-(KEPT - 1) :]}
    # The one asked for longest ago goes first.
    await holder.get(others[-2])
    await holder.get(others[0])
    assert set(holder.loaded) == {holder.live, others[-2], others[0]}


async def test_a_candidate_is_nobodys_to_ask_for(
    store: LocalObjectStore, holder: ModelHolder[Toy], maker: Maker
) -> None:
    live(store, 0)
    await holder.start()
    version = candidate(store, 1).version
    with pytest.raises(NotFound, match=f"no toy '{version}' was ever live"):
        await holder.get(version)
    assert len(maker.made) == 1


@pytest.mark.parametrize("version", ["0" * 16, "..", "../toy", "x" * 5_000, "LIVE"])
async def test_a_version_that_nobody_registered(
    store: LocalObjectStore, holder: ModelHolder[Toy], version: str
) -> None:
    live(store, 1)
    await holder.start()
    with pytest.raises(NotFound) as caught:
        await holder.get(version)
    assert str(caught.value) == f"no toy {version[:32]!r} was ever live"


async def test_many_who_wait_load_once_while_the_live_one_answers(
    store: LocalObjectStore, holder: ModelHolder[Toy], maker: Maker
) -> None:
    first = live(store, 1)
    await holder.start()
    other = live(store, 2)
    live(store, 1)
    maker.gate.clear()
    waiting = [asyncio.create_task(holder.get(other)) for _ in range(5)]
    await asyncio.sleep(0.05)
    assert (await holder.get()).version == first
    waiting[0].cancel()
    maker.gate.set()
    assert [toy.version for toy in await asyncio.gather(*waiting[1:])] == [other] * 4
    assert maker.made == [first, other]


async def test_a_broken_new_one_leaves_the_old_and_is_not_tried_again_at_once(
    store: LocalObjectStore, holder: ModelHolder[Toy], registry: CollectorRegistry, caplog
) -> None:
    first = live(store, 1)
    await holder.start()
    second = live(store, 2)
    key = f"models/toy/{second}/weights.safetensors"
    good = store.get(key)
    store.put(key, bytes(len(good)))
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            await holder.look()
    assert holder.live == first
    assert holder.failure == f"{key} does not hash as its card says"
    assert len(caplog.records) == 1
    assert registry.get_sample_value("imgsearch_model_failures_total") == 1
    with pytest.raises(Unverified):
        await holder.get(second)
    # Whoever mends the pointer ends it.
    promote(store, candidate(store, 1))
    await holder.look()
    assert (holder.live, holder.failure) == (first, None)


@pytest.mark.parametrize(
    "error", [Unavailable("no memory"), OSError("no disk"), MemoryError(), RuntimeError("of the engine")]
)
async def test_what_may_pass_is_tried_again(
    store: LocalObjectStore,
    holder: ModelHolder[Toy],
    maker: Maker,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serving.models.holder.FIRST_WAIT_S", 0.0)
    live(store, 1)
    await holder.start()
    second = live(store, 2)
    maker.fails = error
    await holder.look()
    assert holder.failure is not None
    maker.fails = None
    await holder.look()
    assert (holder.live, holder.failure) == (second, None)


@pytest.mark.parametrize(
    "pointer", [b"{", b"[]", json.dumps({"version": 3}).encode(), b'{"version": "../x"}']
)
async def test_a_damaged_pointer_is_no_reason_to_stop(
    store: LocalObjectStore, holder: ModelHolder[Toy], pointer: bytes
) -> None:
    first = live(store, 1)
    await holder.start()
    store.put("models/toy/live.json", pointer)
    await holder.look()
    assert holder.failure is not None
    assert (await holder.get()).version == holder.live == first
