"""Answers that a caller has already, over real HTTP and gRPC."""

import time
from typing import Any

import pytest

from serving.api import etag
from serving.api.backends import SERVED_FOR_S

PATHS = [
    "/v1/products/red-dress",
    "/v1/products/red-dress/similar?k=3",
    "/v1/products/red-dress/explain?like=blue-bag",
]


@pytest.mark.parametrize("path", PATHS)
def test_who_has_it_is_told_so_until_the_index_moves_on(house: Any, path: str) -> None:
    time.sleep(SERVED_FOR_S + 0.1)
    first = house.http.get(path)
    tag = first.headers["etag"]
    assert tag.startswith('W/"')
    assert first.headers["cache-control"] == "private, max-age=10"
    house.search.calls.clear()
    for given in (tag, tag.removeprefix("W/"), f'"other", {tag}'):
        again = house.http.get(path, headers={"If-None-Match": given})
        assert (again.status_code, again.content) == (304, b"")
        assert (again.headers["etag"], again.headers["cache-control"]) == (tag, "private, max-age=10")
        assert again.headers["x-request-id"]
    asked = {type(call).__name__ for call in house.search.calls}
    assert asked <= {"StatusRequest"}, "what is served is asked once a moment, and nothing else"
    lines = [("If-None-Match", '"other"'), ("If-None-Match", tag)]
    assert house.http.get(path, headers=lines).status_code == 304
    for given in ('"other"', "*", "", f"{tag}x"):
        assert house.http.get(path, headers={"If-None-Match": given}).status_code == 200
    house.search.generation = "generation-2"
    time.sleep(SERVED_FOR_S + 0.1)
    moved = house.http.get(path, headers={"If-None-Match": tag})
    assert moved.status_code == 200
    assert moved.json()["generation"] == "generation-2"
    assert moved.headers["etag"] != tag


def test_a_tag_is_of_one_request_alone(house: Any) -> None:
    others = [
        *PATHS,
        "/v1/products/red-bag",
        "/v1/products/red-bag/similar?k=3",
        "/v1/products/red-dress/similar?k=4",
        "/v1/products/red-dress/similar?k=3&collapse=product",
        "/v1/products/red-dress/explain",
        "/v1/products/red-dress/explain?like=red-bag",
    ]
    cursor = house.http.get(PATHS[1]).json()["next_cursor"]
    others.append(f"{PATHS[1]}&cursor={cursor}")
    tags = [house.http.get(path).headers["etag"] for path in others]
    assert len(set(tags)) == len(tags)


@pytest.mark.parametrize("path", PATHS)
def test_a_tag_is_of_the_replica_that_answered(house: Any, path: str) -> None:
    time.sleep(SERVED_FOR_S + 0.1)
    before = house.http.get(path).headers["etag"]
    house.search.stock = "7"  # which whoever told the front what is served a moment ago does not know
    after = house.http.get(path)
    assert after.headers["etag"] not in (before, None)
    house.search.follows_stock = False
    assert "etag" not in house.http.get(path).headers
    house.search.follows_stock = True
    time.sleep(SERVED_FOR_S + 0.1)
    for tag, status in ((before, 200), (after.headers["etag"], 304)):
        assert house.http.get(path, headers={"If-None-Match": tag}).status_code == status


def test_an_error_and_a_search_have_none(house: Any) -> None:
    missing = house.http.get("/v1/products/nobody", headers={"If-None-Match": "*"})
    assert missing.status_code == 404
    found = house.http.post("/v1/search", json={"product_id": "red-dress"})
    for reply in (missing, found):
        assert "etag" not in reply.headers
        assert reply.headers["cache-control"] == "no-cache"


def test_parts_do_not_run_into_each_other() -> None:
    assert etag.weak("g", "1", "ab", "c") != etag.weak("g", "1", "a", "bc")
    assert etag.weak("ga", "1", "b") != etag.weak("g", "1", "ab")
    assert etag.weak("g", "1", "a") != etag.weak("g", "2", "a")
    assert etag.weak("g", None, "a") is None
