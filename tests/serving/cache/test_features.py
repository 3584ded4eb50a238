import asyncio
import socket
import subprocess
import time
from collections.abc import Iterator

import numpy as np
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from imgsearch_assets.local.processes import answers, free_port
from imgsearch_assets.local.redis_server import redis_command
from serving.cache.features import CachedFeatures, FeatureStore, url_key
from serving.errors import Unavailable
from serving.images.box import GRID, Box

BOXES = (Box(0.1, 0.2, 0.9, 1.0), Box.whole())


def features(dim: int = 8, boxes: tuple[Box, ...] = BOXES, seed: int = 0) -> CachedFeatures:
    rows = np.random.default_rng(seed).normal(size=(len(boxes), dim)).astype(np.float32)
    return CachedFeatures(boxes, rows / np.linalg.norm(rows, axis=1, keepdims=True))


def same(found: CachedFeatures | None, wanted: CachedFeatures) -> bool:
    if found is None:
        return False
    return found.boxes == wanted.boxes and bool(np.allclose(found.vectors, wanted.vectors, atol=1e-3))


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    port = free_port()
    server = subprocess.Popen(redis_command(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not answers(port)():
        assert server.poll() is None
        time.sleep(0.01)
    yield f"redis://127.0.0.1:{port}/0"
    server.terminate()
    server.wait()


@pytest.fixture
async def store(redis_url: str) -> FeatureStore:  # type: ignore[misc]
    redis.Redis.from_url(redis_url).flushall()
    found = FeatureStore(redis_url, timeout_s=2.0)
    yield found
    await found.aclose()


boxes = st.tuples(
    st.integers(0, GRID - 1), st.integers(0, GRID - 1), st.integers(1, GRID), st.integers(1, GRID)
).filter(lambda corner: corner[0] < corner[2] and corner[1] < corner[3])


@given(st.lists(boxes, max_size=5), st.integers(1, 40), st.integers(0, 2**32))
def test_what_is_written_is_read(corners: list[tuple[int, ...]], dim: int, seed: int) -> None:
    parts = tuple(Box(*(value / GRID for value in corner)) for corner in corners)
    wanted = features(dim, parts, seed)
    found = CachedFeatures.from_bytes(wanted.to_bytes())
    assert same(found, wanted)
    assert found is not None
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)


@given(st.binary(max_size=200))
def test_other_bytes_read_as_a_miss(data: bytes) -> None:
    found = CachedFeatures.from_bytes(data)
    assert found is None or len(found.vectors) == len(found.boxes)


def test_a_value_cut_short_or_changed_reads_as_a_miss() -> None:
    data = features().to_bytes()
    assert CachedFeatures.from_bytes(data[:-1]) is None
    assert CachedFeatures.from_bytes(data + b"\0") is None
    assert CachedFeatures.from_bytes(b"\2" + data[1:]) is None
    nan = np.full(1, np.nan, "<f2").tobytes()
    assert CachedFeatures.from_bytes(data[:-2] + nan) is None


def test_boxes_and_rows_belong_together() -> None:
    with pytest.raises(ValueError, match=r"2 boxes and vectors of shape \(1, 8\)"):
        CachedFeatures(BOXES, np.zeros((1, 8), np.float32))


async def test_a_request_reads_what_the_pipeline_wrote(store: FeatureStore) -> None:
    urls = ("http://shop/1.jpg", "http://shop/2.jpg")
    of_urls = [features(seed=seed) for seed in (1, 2)]
    values = {url_key("e1", url): wanted.to_bytes() for url, wanted in zip(urls, of_urls, strict=True)}
    await asyncio.to_thread(store.put_many, values)
    for url, wanted in zip(urls, of_urls, strict=True):
        assert same(await store.get_url("e1", url), wanted)
    assert await store.get_url("e2", urls[0]) is None, "another model's features never mix in"
    assert await store.get_url("e1", "http://shop/3.jpg") is None
    assert store.reads == {"hit": 2, "miss": 2}


async def test_what_a_request_computed_is_kept_for_a_while(store: FeatureStore, redis_url: str) -> None:
    await store.put_url("e1", "http://shop/2.jpg", features())
    assert same(await store.get_url("e1", "http://shop/2.jpg"), features())
    ttl_s = redis.Redis.from_url(redis_url).ttl(url_key("e1", "http://shop/2.jpg"))
    assert 0 < int(str(ttl_s)) <= 7 * 86_400


async def test_what_is_not_there_or_differs_is_named(store: FeatureStore, redis_url: str) -> None:
    values = {url_key("e2", f"http://shop/{number}.jpg"): features().to_bytes() for number in range(2_500)}
    keys = list(values)
    assert store.differing(values) == keys
    await asyncio.to_thread(store.put_many, values)
    assert store.differing(values) == []
    with redis.Redis.from_url(redis_url) as client:
        client.set(keys[7], b"another")
        client.delete(keys[1_200])
    assert store.differing(values) == [keys[7], keys[1_200]]
    assert store.differing({}) == []


async def test_a_damaged_value_is_a_miss(store: FeatureStore, redis_url: str) -> None:
    redis.Redis.from_url(redis_url).set(url_key("e1", "u"), b"\1\0")
    assert await store.get_url("e1", "u") is None


async def test_nobody_waits_for_a_redis_that_is_down() -> None:
    store = FeatureStore(f"redis://127.0.0.1:{free_port()}/0", timeout_s=0.5)
    assert await store.get_url("e1", "u") is None
    await store.put_url("e1", "u", features())
    await store.aclose()
    with pytest.raises(Unavailable, match="the feature store does not answer: not all was written"):
        store.put_many({"k": b"v"})
    with pytest.raises(
        Unavailable, match="the feature store does not answer: its values cannot be read back"
    ):
        store.differing({"k": b"v"})


async def test_a_redis_that_hangs_costs_its_time_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        store = FeatureStore(f"redis://127.0.0.1:{hanging.getsockname()[1]}/0", timeout_s=0.05)
        started = time.monotonic()
        assert [await store.get_url("e1", "u") for _ in range(100)] == [None] * 100
        assert time.monotonic() - started < 2, "a hundred time-outs would take five seconds"
        await store.aclose()


async def test_a_redis_that_came_back_is_asked_again(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FeatureStore(redis_url, timeout_s=2.0)
    store.put_many({url_key("e1", "u"): features().to_bytes()})
    store.values._away.failed(TimeoutError())
    assert await store.get_url("e1", "u") is None
    store.values._away._until_s = 0.0
    assert same(await store.get_url("e1", "u"), features())
    await store.aclose()
