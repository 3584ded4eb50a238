"""Answers that are kept, and those that several wait for, over real HTTP, gRPC and Redis."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import grpc
import pytest
import redis

from imgsearch_assets.local.processes import free_port
from serving.api.backends import SERVED_FOR_S


@pytest.fixture
def kept(keeping_house: Any) -> Any:
    """Of a generation that no other test has asked."""
    keeping_house.reset()
    keeping_house.search.generation = f"generation-{uuid4().hex}"
    time.sleep(SERVED_FOR_S + 0.1)
    return keeping_house


def post(house: Any, **body: Any) -> Any:
    return house.http.post("/v1/search", json=body)


def until_cached(house: Any, **body: Any) -> dict[str, Any]:
    """An answer is kept beside the reply, not before it."""
    ends = time.monotonic() + 5
    while time.monotonic() < ends:
        answer: dict[str, Any] = post(house, **body).json()
        if answer["cached"]:
            return answer
    pytest.fail("the answer was never kept")


def without(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in ("cached", "timings_ms")}


def test_the_same_again_is_answered_from_what_is_kept(kept: Any) -> None:
    body = {"product_id": "red-dress", "filters": {"colours": ["red", "blue"]}, "k": 5}
    first = post(kept, **body).json()
    assert not first["cached"]
    until_cached(kept, **body)
    kept.search.calls.clear()
    again = until_cached(kept, **{**body, "filters": {"colours": ["blue", "red"]}})
    assert without(again) == without(first)
    assert set(again["timings_ms"]) == {"cache", "total"}
    assert not any(hasattr(call, "queries") for call in kept.search.calls), "nothing was searched"
    assert 'imgsearch_api_answers_total{origin="kept"}' in kept.http.get("/metrics").text


@pytest.mark.parametrize(
    "other",
    [
        {"k": 4},
        {"collapse": "product"},
        {"filters": {"colours": ["red"]}},
        {"filters": {"brands": ["red", "blue"]}},
        {"filters": {"colours": ["red", "blue"], "price_min": 0}},
        {"filters": {"colours": ["red", "blue"], "in_stock_only": False}},
        {"product_id": "red-bag"},
    ],
)
def test_anything_else_is_asked_anew(kept: Any, other: dict[str, Any]) -> None:
    body = {"product_id": "red-dress", "filters": {"colours": ["red", "blue"]}, "k": 5}
    until_cached(kept, **body)
    assert not post(kept, **(body | other)).json()["cached"]


def test_a_picture_is_known_by_its_bytes_and_box(kept: Any, patches: Any) -> None:
    def search(picture: bytes, **data: str) -> dict[str, Any]:
        reply = kept.http.post("/v1/search/image", files={"image": picture}, data=data)
        answer: dict[str, Any] = reply.json()
        return answer

    first = search(patches("red"))
    ends = time.monotonic() + 5
    while not search(patches("red"))["cached"]:
        assert time.monotonic() < ends
    assert without(search(patches("red"))) == without(first)
    assert not search(patches("blue"))["cached"]
    assert not search(patches("red"), box='{"x0": 0, "y0": 0, "x1": 0.5, "y1": 1}')["cached"]


def test_another_generation_answers_for_itself(kept: Any) -> None:
    before = until_cached(kept, product_id="red-dress")
    kept.search.generation = f"generation-{uuid4().hex}"
    time.sleep(SERVED_FOR_S + 0.1)
    after = post(kept, product_id="red-dress").json()
    assert not after["cached"]
    assert after["generation"] == kept.search.generation != before["generation"]


def test_what_another_generation_answered_meanwhile_is_not_kept_for_this_one(kept: Any) -> None:
    known = kept.search.generation
    post(kept, product_id="blue-dress")  # now the front knows which is served
    kept.search.generation = f"generation-{uuid4().hex}"
    first = post(kept, product_id="red-dress").json()
    assert first["generation"] == kept.search.generation
    time.sleep(0.3)
    kept.search.generation = known
    time.sleep(SERVED_FOR_S + 0.1)
    assert post(kept, product_id="red-dress").json()["generation"] == known


def test_who_joins_another_has_all_of_his_own_time(run_house: Any, redis_url: str) -> None:
    with run_house(redis_url=redis_url, result_ttl_s=60, request_timeout_s=1.0) as house:
        house.search.generation = f"generation-{uuid4().hex}"
        replies: dict[str, int] = {}

        def ask(name: str) -> None:
            asked = {"image_url": f"{house.picture_host}/red.jpg"}
            replies[name] = house.http.post("/v1/search", json=asked).status_code

        house.detect.delay_s = 2.0
        first, second = (threading.Thread(target=ask, args=(name,)) for name in ("first", "second"))
        first.start()
        until = time.monotonic() + 10
        while not house.detect.calls:
            assert time.monotonic() < until
            time.sleep(0.01)
        house.detect.delay_s = 0.0
        time.sleep(0.5)
        second.start()
        first.join()
        second.join()
        assert replies == {"first": 504, "second": 200}


@pytest.fixture(scope="module")
def neighbour(run_house: Any, redis_url: str) -> Iterator[Any]:
    with run_house(redis_url=redis_url, redis_timeout_s=1.0, result_ttl_s=60) as house:
        yield house


def told_by(neighbour: Any, kept: Any, **body: Any) -> dict[str, Any]:
    neighbour.search.generation = kept.search.generation
    time.sleep(SERVED_FOR_S + 0.1)
    answer: dict[str, Any] = post(neighbour, **body).json()
    return answer


def test_what_one_front_kept_another_answers_with(kept: Any, neighbour: Any) -> None:
    known = until_cached(kept, product_id="red-dress")
    answer = told_by(neighbour, kept, product_id="red-dress")
    assert answer["cached"]
    assert without(answer) == without(known)


@pytest.mark.parametrize("damage", [lambda value: b"", lambda value: value[:-1], lambda value: b"x" + value])
def test_what_is_damaged_is_made_anew(kept: Any, neighbour: Any, redis_url: str, damage: Any) -> None:
    until_cached(kept, product_id="red-dress")
    client = redis.Redis.from_url(redis_url)
    for key in client.scan_iter("answers:*"):
        client.set(key, damage(client.get(key)))
    answer = told_by(neighbour, kept, product_id="red-dress")
    assert not answer["cached"]
    assert len(answer["results"]) == 11


def test_an_error_is_not_kept(kept: Any) -> None:
    post(kept, product_id="blue-dress")
    kept.search.fail = grpc.StatusCode.INTERNAL
    assert post(kept, product_id="red-dress").status_code == 500
    kept.search.fail = None
    assert post(kept, product_id="red-dress").status_code == 200


def test_equal_searches_at_the_same_time_are_computed_once(kept: Any, patches: Any) -> None:
    post(kept, product_id="blue-dress")
    kept.embed.delay_s = 0.5
    picture = patches("green", "red")

    def search(_: int) -> Any:
        return kept.http.post("/v1/search/image", files={"image": picture})

    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(search, range(8)))
    assert {reply.status_code for reply in replies} == {200}
    assert len({str(without(reply.json())) for reply in replies}) == 1
    assert len(kept.embed.calls) == len(kept.detect.calls) == 1


def test_all_who_wait_are_told_of_an_error(kept: Any, patches: Any) -> None:
    post(kept, product_id="blue-dress")
    kept.embed.delay_s, kept.embed.fail = 0.3, grpc.StatusCode.INVALID_ARGUMENT
    picture = patches("yellow", "red")
    with ThreadPoolExecutor(4) as threads:
        replies = list(
            threads.map(
                lambda _: kept.http.post("/v1/search/image", files={"image": picture}).status_code, range(4)
            )
        )
    assert replies == [400] * 4


def test_without_redis_a_front_still_knows_what_it_answered(run_house: Any) -> None:
    address = f"redis://127.0.0.1:{free_port()}/0"
    with run_house(redis_url=address, redis_timeout_s=0.05, result_ttl_s=60) as house:
        for cached in (False, True, True):
            answer = post(house, product_id="red-dress").json()
            assert answer["cached"] is cached
            assert len(answer["results"]) == 11


def test_with_nothing_kept_every_search_is_made(run_house: Any) -> None:
    with run_house(redis_url=None, result_ttl_s=0) as house:
        for _ in range(3):
            assert not post(house, product_id="red-dress").json()["cached"]
