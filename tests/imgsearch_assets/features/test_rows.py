"""What is written to the feature store, and what is not written again."""

import subprocess
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pytest
import redis
from numpy.typing import NDArray

from imgsearch_assets.features.rows import Filled, fill_feature_store, values_by_key
from imgsearch_assets.local.processes import answers, free_port
from imgsearch_assets.local.redis_server import redis_command
from serving.cache.features import CachedFeatures, FeatureStore, url_key
from serving.images.box import Box
from serving.index.generation import ITEMS

WHOLE, PART = Box.whole().key, Box(0, 0, 0.5, 0.5).key
ITEM_ROWS = pa.Table.from_pylist(
    [
        {"product_id": "a", "image_url": "u1", "sha256": "s1", "box": WHOLE},
        {"product_id": "a", "image_url": "u1", "sha256": "s1", "box": PART},
        {"product_id": "a", "image_url": "u2", "sha256": "s2", "box": WHOLE},
        {"product_id": "b", "image_url": "u1", "sha256": "s1", "box": WHOLE},
    ],
    schema=ITEMS,
)


def vectors(count: int = 4) -> NDArray[np.float32]:
    return np.eye(count, 8, dtype=np.float32)


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    port = free_port()
    with subprocess.Popen(
        redis_command(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        while not answers(port)():
            assert server.poll() is None
        yield f"redis://127.0.0.1:{port}/0"
        server.terminate()


def test_a_value_for_every_url_once() -> None:
    found = list(values_by_key("e", ITEM_ROWS, vectors()))
    assert [key for key, _ in found] == [url_key("e", "u1"), url_key("e", "u2")]
    of_u1, of_u2 = (CachedFeatures.from_bytes(value) for _, value in found)
    assert of_u1 is not None
    assert of_u2 is not None
    rows = {box.key: row for box, row in zip(of_u1.boxes, of_u1.vectors.tolist(), strict=True)}
    assert rows == {WHOLE: vectors()[0].tolist(), PART: vectors()[1].tolist()}, "of the first product"
    assert of_u2.vectors.tolist() == vectors()[2:3].tolist()


async def test_only_what_is_lacking_or_changed_is_written(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    features = FeatureStore(redis_url, 2.0)
    seen: list[int] = []
    assert fill_feature_store(features, "e", ITEM_ROWS, vectors(), seen.append) == Filled(2, 0, 2)
    assert sum(seen) == 2
    assert fill_feature_store(features, "e", ITEM_ROWS, vectors()) == Filled(2, 2, 0)

    client.delete(url_key("e", "u1"))
    assert fill_feature_store(features, "e", ITEM_ROWS, vectors()) == Filled(2, 1, 1)

    moved = vectors()
    moved[2] = -moved[2]
    assert fill_feature_store(features, "e", ITEM_ROWS, moved) == Filled(2, 1, 1)
    found = await features.get_url("e", "u2")
    assert found is not None
    assert found.vectors.tolist() == moved[2:3].tolist()
    await features.aclose()
    client.close()


def test_a_store_that_loses_what_it_was_given_is_not_complete(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    features = FeatureStore(redis_url, 2.0)

    class Forgets(FeatureStore):
        def put_many(self, values: Mapping[str, bytes]) -> None:
            super().put_many(values)
            client.flushall()

    forgetful = Forgets(redis_url, 2.0)
    assert fill_feature_store(forgetful, "e", ITEM_ROWS, vectors()) == Filled(2, 0, 2, lacking=2)
    # What was lost is written the next time.
    assert fill_feature_store(features, "e", ITEM_ROWS, vectors()).written == 2
    client.close()
