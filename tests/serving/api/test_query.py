"""The flow from picture, URL or product to products, through every part."""

import base64
import threading
import time
from typing import Any

import grpc
import httpx
import pytest


def post(house: Any, **body: Any) -> httpx.Response:
    return house.http.post("/v1/search", json=body)


def ids(answer: dict[str, Any]) -> list[str]:
    return [result["product_id"] for result in answer["results"]]


def test_an_upload_is_searched_by_its_best_box_and_the_whole(house: Any, patches: Any) -> None:
    reply = house.http.post("/v1/search/image", files={"image": patches("red", "blue")}, data={"k": "3"})
    answer = reply.json()
    assert reply.status_code == 200
    assert ids(answer)[0] == "red-dress"
    assert len(answer["results"]) == 3
    assert answer["results"][0]["price"] == 1900
    assert answer["results"][0]["currency"] == "EUR"
    assert answer["results"][0]["box"] == {"x0": 0, "y0": 0, "x1": 1, "y1": 1}
    assert [(item["category"], item["score"]) for item in answer["boxes"]] == [("dress", 0.95), ("bag", 0.75)]
    assert answer["chosen_box"] == answer["boxes"][0]["box"]
    assert answer["generation"] == "generation-1"
    assert answer["models"] == {"detector": "detector-1", "embedder": "embedder-1"}
    assert (answer["plan"], answer["exhausted"], answer["features"]) == ("exact", False, "computed")
    assert set(answer["timings_ms"]) == {"detect", "embed", "search", "total"}
    for name in answer["timings_ms"]:
        assert f"{name};dur=" in reply.headers["server-timing"]
    (request,) = house.embed.calls
    assert len(request.images) == 1
    assert [(crop.box.x0, crop.box.x1) for crop in request.crops][1] == (0, 1)
    assert len(request.crops) == 2


def test_a_chosen_box_is_searched_alone_and_all_boxes_still_come(house: Any, patches: Any) -> None:
    picture = patches("red", "blue")
    boxes = house.http.post("/v1/search/image", files={"image": picture}).json()["boxes"]
    house.reset()
    reply = post(house, image_base64=base64.b64encode(picture).decode(), box=boxes[1]["box"])
    answer = reply.json()
    assert ids(answer)[0] == "blue-dress"
    assert answer["chosen_box"] == boxes[1]["box"]
    assert answer["boxes"] == boxes
    (request,) = house.embed.calls
    assert len(request.crops) == 1


def test_a_picture_with_nothing_on_it_is_searched_whole(house: Any, patches: Any) -> None:
    answer = house.http.post("/v1/search/image", files={"image": patches()}).json()
    assert (answer["boxes"], answer["chosen_box"]) == ([], None)
    assert len(answer["results"]) == 12
    (request,) = house.embed.calls
    assert len(request.crops) == 1


def test_filters_reach_the_index(house: Any, patches: Any) -> None:
    filters = '{"categories": ["bag", "shirt"], "price_min": 3900, "in_stock_only": true}'
    reply = house.http.post(
        "/v1/search/image", files={"image": patches("red")}, data={"filters": filters, "k": "100"}
    )
    answer = reply.json()
    assert sorted(ids(answer)) == ["blue-shirt", "green-shirt", "red-shirt", "yellow-shirt"]
    assert answer["exhausted"] is True
    (request,) = house.search.calls
    assert not request.queries[0].filter.HasField("price_max")


def test_what_is_sold_out_is_shown_where_it_is_asked_for(house: Any) -> None:
    house.search.products["green-bag"][0].in_stock = False
    for path in ("/v1/products/green-shirt/similar", "/v1/products/green-shirt"):
        assert "green-bag" not in house.http.get(path).text
    assert "green-bag" not in ids(post(house, product_id="green-shirt").json())
    answer = post(house, product_id="green-shirt", filters={"in_stock_only": False}).json()
    assert {match["product_id"]: match["in_stock"] for match in answer["results"]}["green-bag"] is False
    assert house.http.get("/v1/products/green-bag").json()["product"]["in_stock"] is False


def test_a_product_leads_to_others_like_it(house: Any) -> None:
    answer = post(house, product_id="green-shirt", k=2).json()
    assert ids(answer) == ["green-bag", "green-dress"]
    assert answer["product"]["name"] == "Green shirt"
    assert answer["features"] == "index"
    assert ids(house.http.get("/v1/products/green-shirt/similar?k=2").json()) == ids(answer)


def test_a_filter_that_is_not_taken_is_refused(house: Any) -> None:
    reply = house.http.get("/v1/products/green-shirt/similar?k=2&category=dress")
    assert reply.status_code == 422
    assert reply.json()["error"]["message"] == "category: Only collapse, cursor, k are taken here"


def test_a_product_takes_one_call_and_no_model(house: Any) -> None:
    answer = post(house, product_id="blue-bag", k=100, filters={"colours": ["yellow", "blue"]}).json()
    assert len(answer["results"]) == 5
    assert "blue-bag" not in ids(answer)
    assert [hasattr(call, "queries") for call in house.search.calls] == [True]
    assert house.detect.calls == house.embed.calls == []
    house.search.products.pop("blue-bag")
    assert post(house, product_id="blue-bag").status_code == 404


def test_one_product(house: Any) -> None:
    answer = house.http.get("/v1/products/green-shirt").json()
    assert answer["generation"] == "generation-1"
    assert answer["product"]["image_url"] == f"{house.picture_host}/green.jpg"


def test_a_url_is_computed_once_and_then_stored(house: Any) -> None:
    url = f"{house.picture_host}/red.jpg?once"
    first = post(house, image_url=url).json()
    assert first["features"] == "computed"
    assert "fetch" in first["timings_ms"]
    second = first
    until = time.monotonic() + 5  # it is stored beside the answer, not before it
    while second["features"] == "computed" and time.monotonic() < until:
        house.reset()
        second = post(house, image_url=url).json()
    assert second["features"] == "stored"
    assert ids(second) == ids(first)
    assert second["chosen_box"] == first["chosen_box"]
    assert house.embed.calls == house.detect.calls == []
    third = post(house, image_url=url, box=first["chosen_box"]).json()
    assert third["features"] == "stored"
    assert (
        post(house, image_url=url, box={"x0": 0, "y0": 0, "x1": 0.5, "y1": 0.5}).json()["features"]
        == "computed"
    )


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        ("/missing.jpg", "bad_input", "the picture's host answered 404"),
        ("/not-a-picture.jpg", "bad_image", "not a picture; send JPEG, PNG or WebP"),
    ],
)
def test_a_url_without_a_picture(house: Any, path: str, code: str, message: str) -> None:
    error = post(house, image_url=house.picture_host + path).json()["error"]
    assert (error["code"], error["message"]) == (code, message)


def test_vectors_of_another_model_are_refused(house: Any, patches: Any) -> None:
    house.embed.version = "embedder-2"
    reply = house.http.post("/v1/search/image", files={"image": patches("red")})
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "model_mismatch")


def test_a_generation_of_another_embedder_in_between_costs_one_more_search(house: Any, patches: Any) -> None:
    files = {"image": patches("red")}
    for version in ("embedder-1", "embedder-2", "embedder-1"):
        house.search.embedder = house.search.accepts = version
        house.embed.calls.clear()
        answer = house.http.post("/v1/search/image", files=files).json()
        assert answer["models"]["embedder"] == version
        assert len(house.embed.calls) <= 2
        assert house.embed.calls[-1].model_version == version


def test_an_embedder_that_the_index_needs_and_nobody_has_is_our_mistake(house: Any, patches: Any) -> None:
    house.embed.fail = grpc.StatusCode.NOT_FOUND
    reply = house.http.post("/v1/search/image", files={"image": patches("red")})
    assert (reply.status_code, reply.json()["error"]["message"]) == (
        503,
        "the embed service has no embedder embedder-1, which the index needs",
    )


def test_the_first_failure_of_two_is_told_and_the_other_call_is_dropped(house: Any, patches: Any) -> None:
    house.detect.delay_s = 4.0
    house.embed.fail = grpc.StatusCode.RESOURCE_EXHAUSTED
    box = '{"x0": 0, "y0": 0, "x1": 0.5, "y1": 1}'
    reply = house.http.post("/v1/search/image", files={"image": patches("red")}, data={"box": box}, timeout=3)
    assert reply.status_code == 429


def test_many_at_once_get_their_own_answers(house: Any, patches: Any) -> None:
    wrong: list[str] = []

    def search(colour: str) -> None:
        answer = house.http.post("/v1/search/image", files={"image": patches(colour)}).json()
        if ids(answer)[0] != f"{colour}-dress":
            wrong.append(colour)

    running = [threading.Thread(target=search, args=(c,)) for c in ("red", "green", "blue", "yellow") * 4]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("collapse", "shown"), [("product", 12), ("variant", 10), ("picture", 10), (None, 10)]
)
def test_a_group_is_shown_once_and_names_its_others(
    house: Any, patches: Any, collapse: str | None, shown: int
) -> None:
    house.search.groups = dict.fromkeys(("red-dress", "red-bag", "blue-bag"), "red-dress")
    fields = {"k": "100"} | ({"collapse": collapse} if collapse else {})
    answers = [
        house.http.post("/v1/search/image", files={"image": patches("red")}, data=fields).json(),
        post(house, image_base64=base64.b64encode(patches("red")).decode(), k=100, collapse=collapse).json(),
    ]
    for answer in answers:
        assert answer["collapse"] == (collapse or "picture")
        assert len(answer["results"]) == shown
        also = {result["product_id"]: result["also"] for result in answer["results"] if result["also"]}
        assert also == ({} if collapse == "product" else {"red-dress": ["red-bag", "blue-bag"]})
    path = f"/v1/products/red-dress/similar?k=100{f'&collapse={collapse}' if collapse else ''}"
    similar = house.http.get(path).json()
    assert [result["also"] for result in similar["results"] if result["product_id"] == "red-bag"] == [
        [] if collapse == "product" else ["blue-bag"]
    ]


def test_words_find_what_looks_like_them(house: Any) -> None:
    house.embed.reads_text = True
    assert house.http.get("/v1/status").json()["text_search"] is True
    answer = post(house, text="  a yellow one ", k=2, filters={"categories": ["bag", "shirt"]}).json()
    assert ids(answer) == ["yellow-bag", "yellow-shirt"]
    assert (answer["boxes"], answer["chosen_box"], answer["product"]) == ([], None, None)
    assert answer["features"] == "computed"
    assert set(answer["timings_ms"]) == {"embed", "search", "total"}
    (request,) = house.embed.calls
    assert list(request.texts) == ["a yellow one"]
    assert request.model_version == "embedder-1"


def test_words_where_the_model_reads_none(house: Any) -> None:
    assert house.http.get("/v1/status").json()["text_search"] is False
    reply = post(house, text="a red dress")
    assert reply.status_code == 501
    error = reply.json()["error"]
    assert (error["code"], error["message"]) == (
        "text_search_off",
        "embedder-1 has no text tower; search with a picture",
    )


def test_an_id_may_have_slashes_in_it(house: Any) -> None:
    name = "summer/26 #1"
    product, vector = house.search.products["green-shirt"]
    product.product_id = name
    house.search.products[name] = (product, vector)
    path = "/v1/products/summer%2F26%20%231"
    assert house.http.get(path).json()["product"]["product_id"] == name
    assert house.http.get(f"{path}/similar?k=1").json()["product"]["product_id"] == name
    assert house.http.get(f"{path}/explain").json()["product"]["product_id"] == name
    assert house.http.get(f"{path}/nothing").status_code == 404
