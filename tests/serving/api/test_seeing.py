"""A picture that was looked at is not looked at again, over real HTTP, gRPC and Redis."""

import time
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import redis

from serving.api.backends import SERVED_FOR_S
from serving.cache.pictures import PICTURE_TTL_S


@pytest.fixture
def kept(keeping_house: Any) -> Any:
    """With models whose features nobody has computed."""
    keeping_house.reset()
    keeping_house.search.embedder = keeping_house.search.accepts = f"embedder-{uuid4().hex}"
    time.sleep(SERVED_FOR_S + 0.1)
    return keeping_house


def upload(house: Any, picture: bytes, **data: str) -> dict[str, Any]:
    reply = house.http.post("/v1/search/image", files={"image": picture}, data=data)
    assert reply.status_code == 200
    answer: dict[str, Any] = reply.json()
    return answer


def until_stored(house: Any, picture: bytes, **data: str) -> dict[str, Any]:
    """It is stored beside the answer, not before it. Prices that nothing has keep each search another one."""
    ends = time.monotonic() + 5
    for price in range(10_000):
        house.detect.calls.clear()
        house.embed.calls.clear()
        answer = upload(house, picture, **({"filters": f'{{"price_max": {price + 10_000_000}}}'} | data))
        if answer["features"] == "stored" or time.monotonic() > ends:
            break
    return answer


def ids(answer: dict[str, Any]) -> list[str]:
    return [result["product_id"] for result in answer["results"]]


def test_another_filter_of_the_same_picture_asks_no_network(kept: Any, patches: Any) -> None:
    picture = patches("red", "blue")
    first = upload(kept, picture, k="3")
    assert first["features"] == "computed"
    again = until_stored(kept, picture, k="3")
    assert again["features"] == "stored"
    assert kept.detect.calls == kept.embed.calls == []
    for same in ("results", "boxes", "chosen_box", "models"):
        assert again[same] == first[same]
    assert [item["category"] for item in again["boxes"]] == ["dress", "bag"]
    more = upload(kept, picture, k="3", cursor=first["next_cursor"])
    assert more["features"] == "stored"
    assert kept.detect.calls == kept.embed.calls == []
    whole = upload(kept, picture, k="6")
    assert ids(first) + ids(more) == ids(whole)


def test_another_part_of_it_is_all_that_is_embedded(kept: Any, patches: Any) -> None:
    picture = patches("green", "yellow")
    boxes = until_stored(kept, picture)["boxes"]
    assert upload(kept, picture, box=str(boxes[0]["box"]).replace("'", '"'))["features"] == "stored"
    assert kept.detect.calls == kept.embed.calls == []
    box = str(boxes[1]["box"]).replace("'", '"')
    part = upload(kept, picture, box=box)
    assert part["features"] == "computed"
    assert part["boxes"] == boxes
    assert part["chosen_box"] == boxes[1]["box"]
    assert kept.detect.calls == []
    (request,) = kept.embed.calls
    assert len(request.crops) == 1
    again = until_stored(kept, picture, box=box)
    assert again["features"] == "stored"
    assert ids(again) == ids(part)
    assert until_stored(kept, picture)["features"] == "stored", "what was there stays"


def test_a_part_that_came_first_is_added_to(kept: Any, patches: Any) -> None:
    picture = patches("blue", "green")
    box = '{"x0": 0.1, "y0": 0, "x1": 0.9, "y1": 1}'
    assert until_stored(kept, picture, box=box)["features"] == "stored"
    kept.detect.calls.clear()
    kept.embed.calls.clear()
    answer = upload(kept, picture)
    assert answer["features"] == "computed"
    assert ids(answer)[0] == "blue-dress"
    assert kept.detect.calls == []
    (request,) = kept.embed.calls
    assert len(request.crops) == 2


def test_it_is_of_its_models_alone_and_of_its_time(kept: Any, patches: Any, redis_url: str) -> None:
    picture = patches("red", "green")
    until_stored(kept, picture)
    client = redis.Redis.from_url(redis_url)
    (key,) = client.keys(f"features:{kept.search.embedder}:picture:detector-1:*")
    assert 0 < client.ttl(key) <= PICTURE_TTL_S
    kept.search.embedder = kept.search.accepts = f"embedder-{uuid4().hex}"
    time.sleep(SERVED_FOR_S + 0.1)
    assert upload(kept, picture)["features"] == "computed"
    client.set(key, b"damaged")
    kept.search.embedder = kept.search.accepts = key.decode().split(":")[1]
    time.sleep(SERVED_FOR_S + 0.1)
    answer = upload(kept, picture, k="7")
    assert answer["features"] == "computed"
    client.close()


def test_nothing_is_kept_where_answers_are_not(house: Any, patches: Any, redis_url: str) -> None:
    house.search.embedder = house.search.accepts = f"embedder-{uuid4().hex}"
    time.sleep(SERVED_FOR_S + 0.1)
    picture = patches("yellow", "red")
    for _ in range(2):
        assert upload(house, picture)["features"] == "computed"
    client = redis.Redis.from_url(redis_url)
    assert client.keys(f"features:{house.search.embedder}:*") == []
    client.close()


def test_pages_of_an_address_are_of_the_same_vectors(kept: Any) -> None:
    body = {"image_url": f"{kept.picture_host}/red.jpg?{uuid4().hex}", "k": 2}

    def searched(**more: Any) -> dict[str, Any]:
        answer: dict[str, Any] = kept.http.post("/v1/search", json=body | more).json()
        return answer

    first = searched()
    pages = [first]
    while pages[-1]["next_cursor"]:
        pages.append(searched(cursor=pages[-1]["next_cursor"]))
    vectors = {
        np.frombuffer(call.queries[0].vectors, "<f4").tobytes()
        for call in kept.search.calls
        if hasattr(call, "queries")
    }
    assert len(vectors) == 1
    assert len([name for page in pages for name in ids(page)]) == 12
