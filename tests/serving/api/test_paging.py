"""Pages of a search over real HTTP and gRPC; what lies behind is in serving/index/paging.py."""

import math
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.api.paging import _HEAD, FIRST, MAX_CHARS, Page, _hash, fingerprint
from serving.errors import BadInput
from serving.index.after import mark
from serving.proto import search_pb2

NOT_OURS = "cursor is not one that this search gave"


def reply(scores: list[float], generation: str = "g1", exhausted: bool = False) -> search_pb2.SearchReply:
    hits = [
        search_pb2.Hit(product=search_pb2.Product(product_id=f"p{number}"), score=score)
        for number, score in enumerate(scores)
    ]
    result = search_pb2.Result(hits=hits, exhausted=exhausted)
    return search_pb2.SearchReply(results=[result], generation=generation)


ASKED = fingerprint("product", "p", search_pb2.Filter(), None, "product")


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=20), st.text(max_size=40))
def test_a_cursor_says_where_the_page_ended(scores: list[float], generation: str) -> None:
    scores.sort(reverse=True)
    page = Page.of(ASKED, Page(ASKED, None, 100).following(reply(scores, generation)), 100)
    assert page.after == search_pb2.After(
        generation=generation,
        score=scores[-1],
        tied=[mark(f"p{n}") for n in reversed(range(len(scores))) if scores[n] == scores[-1]],
        shown=len(scores),
    )
    assert page.held(1000) == 100 - len(scores)


def test_equals_on_several_pages_are_all_remembered() -> None:
    first = Page.of(ASKED, Page(ASKED, None, 100).following(reply([0.5, 0.25])), 100)
    second = Page.of(ASKED, first.following(reply([0.25, 0.25])), 100)
    assert second.after is not None
    assert sorted(second.after.tied) == sorted([mark("p1"), mark("p0"), mark("p1")])
    third = Page.of(ASKED, second.following(reply([0.125])), 100)
    assert third.after is not None
    assert (list(third.after.tied), third.after.shown) == ([mark("p0")], 5)


@pytest.mark.parametrize(
    ("score", "shown"), [(0.5, 0), (0.5, 100), (0.5, 65_535), (math.nan, 5), (-math.inf, 5)]
)
def test_a_cursor_that_somebody_made_himself_is_refused(score: float, shown: int) -> None:
    payload = _HEAD.pack(1, score, shown, 0) + b"g1"
    forged = urlsafe_b64encode(payload + _hash(ASKED, payload)).rstrip(b"=").decode()
    with pytest.raises(BadInput, match=NOT_OURS):
        Page.of(ASKED, forged, 100)


def test_there_is_no_page_behind_the_last() -> None:
    page = Page(ASKED, None, 3)
    assert page.following(reply([])) is None
    assert page.following(reply([0.5], exhausted=True)) is None
    assert page.following(reply([0.5, 0.4, 0.3])) is None
    assert page.following(reply([0.5, 0.4])) is not None
    assert FIRST.following(reply([0.5])) is None


def test_the_longest_cursor_is_taken() -> None:
    cursor = Page(ASKED, None, 1001).following(reply([0.5] * 1000, "0123456789abcdef"))
    assert cursor is not None
    assert len(cursor) <= MAX_CHARS


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_damaged_cursor_is_refused(at: int, flip: int) -> None:
    cursor = Page(ASKED, None, 100).following(reply([0.5, 0.25]))
    assert cursor is not None
    data = bytearray(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    data[at % len(data)] ^= flip
    for wrong in (urlsafe_b64encode(data).decode(), cursor[: at % len(cursor)]):
        with pytest.raises(BadInput) as caught:
            Page.of(ASKED, wrong, 100)
        assert str(caught.value) == NOT_OURS


@given(st.text())
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=NOT_OURS):
        Page.of(ASKED, text, 100)


def follow(ask: Callable[..., Any], size: int) -> list[Any]:
    """All answers, each asked with the cursor of the one before."""
    answers = [ask(k=size)]
    while answers[-1]["next_cursor"] is not None:
        answers.append(ask(k=size, cursor=answers[-1]["next_cursor"]))
    return answers


def ids(*answers: Any) -> list[str]:
    return [result["product_id"] for answer in answers for result in answer["results"]]


@pytest.mark.parametrize("size", [1, 4, 5, 12])
def test_pages_are_the_whole(house: Any, patches: Any, size: int) -> None:
    picture = patches("red", "blue")

    def by_product(**more: Any) -> Any:
        body = {"product_id": "red-dress", "filters": {"categories": ["bag", "shirt"]}, **more}
        return house.http.post("/v1/search", json=body).json()

    def by_base64(**more: Any) -> Any:
        return house.http.post(
            "/v1/search", json={"image_base64": b64encode(picture).decode(), **more}
        ).json()

    def by_upload(**more: Any) -> Any:
        return house.http.post("/v1/search/image", files={"image": picture}, data=more).json()

    def similar(**more: Any) -> Any:
        return house.http.get("/v1/products/red-dress/similar", params=more).json()

    for ask in (by_product, by_base64, by_upload, similar):
        whole = ask(k=100)
        assert whole["next_cursor"] is None
        answers = follow(ask, size)
        assert ids(*answers) == ids(whole)
        scores = [result["score"] for answer in answers for result in answer["results"]]
        assert scores == sorted(scores, reverse=True)


def error(reply: Any) -> tuple[int, str, str]:
    told = reply.json()["error"]
    return reply.status_code, told["code"], told["message"]


def test_a_cursor_is_of_its_search_alone(house: Any) -> None:
    body = {"product_id": "red-dress", "filters": {"colours": ["red", "blue"]}, "k": 2, "collapse": "product"}
    cursor = house.http.post("/v1/search", json=body).json()["next_cursor"]
    for same in ({"k": 3}, {"filters": {"colours": ["blue", "red"]}}):
        assert house.http.post("/v1/search", json=body | same | {"cursor": cursor}).status_code == 200
    for other in ({"product_id": "red-bag"}, {"collapse": "variant"}, {"filters": {"colours": ["red"]}}):
        reply = house.http.post("/v1/search", json=body | other | {"cursor": cursor})
        assert error(reply) == (400, "bad_input", NOT_OURS)
    reply = house.http.get("/v1/products/red-dress/similar", params={"cursor": "A" * 30})
    assert error(reply) == (400, "bad_input", NOT_OURS)


def test_a_cursor_of_another_generation_is_told(house: Any) -> None:
    first = house.http.get("/v1/products/red-dress/similar?k=2").json()
    house.search.generation = "generation-2"
    reply = house.http.get("/v1/products/red-dress/similar", params={"k": 2, "cursor": first["next_cursor"]})
    assert error(reply) == (409, "conflict", "the index has moved on; search again from the first page")


def test_pages_end_at_the_depth_of_the_installation(run_house: Any) -> None:
    with run_house(max_depth=7, result_ttl_s=60) as house:

        def similar(**more: Any) -> Any:
            return house.http.get("/v1/products/red-dress/similar", params=more).json()

        answers = follow(similar, 3)
        assert [len(answer["results"]) for answer in answers] == [3, 3, 1]
        assert ids(*answers) == ids(similar(k=7))
        assert [similar(k=3)["cached"], similar(k=3, cursor=answers[0]["next_cursor"])["cached"]] == [
            True
        ] * 2
