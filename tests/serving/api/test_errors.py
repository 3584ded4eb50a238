"""One shape on every path, as one finds it from outside."""

import re
from typing import Any

import grpc
import httpx
import pytest


def error_of(reply: httpx.Response) -> tuple[int, str, str]:
    """(status, code, message), the shape checked."""
    body = reply.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "request_id"}
    assert body["error"]["request_id"] == reply.headers["x-request-id"]
    return reply.status_code, body["error"]["code"], body["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "options", "wanted"),
    [
        ("GET", "/no", {}, (404, "not_found", "there is nothing at /no; /docs lists what there is")),
        (
            "GET",
            "/page/no.js",
            {},
            (404, "not_found", "there is nothing at /page/no.js; /docs lists what there is"),
        ),
        (
            "GET",
            "/v1/search",
            {},
            (405, "method_not_allowed", "/v1/search does not take GET; /docs lists what it takes"),
        ),
        (
            "POST",
            "/v1/search",
            {"content": b"{", "headers": {"content-type": "application/json"}},
            (422, "bad_input", "the body is not JSON"),
        ),
        (
            "POST",
            "/v1/search",
            {"content": b"{}", "headers": {"content-type": "text/plain"}},
            (422, "bad_input", "the body must be a JSON object, sent as Content-Type: application/json"),
        ),
        (
            "POST",
            "/v1/search",
            {"json": {"product_id": "a", "k": 0}},
            (422, "bad_input", "k: Input should be greater than or equal to 1"),
        ),
        (
            "POST",
            "/v1/search",
            {"json": {"product_id": "a", "k": 101}},
            (422, "bad_input", "k: Input should be less than or equal to 100"),
        ),
        (
            "POST",
            "/v1/search",
            {"json": {"product_id": "a", "filters": {"brands": ["x"] * 101}}},
            (422, "bad_input", "filters.brands: List should have at most 100 items"),
        ),
        (
            "POST",
            "/v1/search",
            {"json": {"product_id": "nobody"}},
            (404, "not_found", "product 'nobody' is not in the index"),
        ),
        (
            "POST",
            "/v1/search",
            {"json": {"image_base64": "!!"}},
            (
                422,
                "bad_input",
                "image_base64: not base64; send the file's bytes as RFC 4648 base64, without a data: prefix",
            ),
        ),
        (
            "POST",
            "/v1/search",
            {"json": {"image_base64": ""}},
            (400, "bad_image", "the picture is empty"),
        ),
        (
            "POST",
            "/v1/search",
            {"json": {"image_url": "ftp://example.com/a.jpg"}},
            (400, "bad_address", "the URL must begin with http:// or https://"),
        ),
        (
            "POST",
            "/v1/search",
            {"json": {"image_url": "http://127.0.0.1:1/a.jpg"}},
            (400, "bad_address", "127.0.0.1 is not a public address"),
        ),
        (
            "POST",
            "/v1/search",
            {"json": {"image_url": "http://a..example/a.jpg"}},
            (400, "bad_address", "a..example is not the name of a host"),
        ),
        ("POST", "/v1/search/image", {"data": {"k": "3"}}, (422, "bad_input", "image: Field required")),
        (
            "POST",
            "/v1/search/image",
            {"files": {"image": b"x"}, "data": {"box": "here"}},
            (422, "bad_input", "box: Invalid JSON: expected value at line 1 column 1"),
        ),
        (
            "POST",
            "/v1/search/image",
            {"files": {"image": b"hello"}},
            (400, "bad_image", "not a picture; send JPEG, PNG or WebP"),
        ),
        ("GET", "/v1/products/nobody", {}, (404, "not_found", "product 'nobody' is not in the index")),
        (
            "GET",
            "/v1/products/nobody/similar",
            {},
            (404, "not_found", "product 'nobody' is not in the index"),
        ),
        ("GET", f"/v1/products/{'x' * 300}", {}, (422, "bad_input", None)),
    ],
)
def test_every_wrong_request(
    house: Any, method: str, path: str, options: dict[str, Any], wanted: tuple[int, str, str | None]
) -> None:
    status, code, message = error_of(house.http.request(method, path, **options))
    assert (status, code) == wanted[:2]
    assert wanted[2] in (None, message)


def test_an_empty_box_is_named(house: Any, patches: Any) -> None:
    box = {"box": '{"x0": 0.5, "y0": 0, "x1": 0.5, "y1": 1}'}
    reply = house.http.post("/v1/search/image", files={"image": patches("red")}, data=box)
    assert error_of(reply) == (
        422,
        "bad_input",
        "box: (0.5, 0.0, 0.5, 1.0) is empty; x0 < x1 and y0 < y1",
    )


@pytest.mark.parametrize(
    ("service", "grpc_status", "wanted"),
    [
        ("detect", grpc.StatusCode.RESOURCE_EXHAUSTED, (429, "overloaded")),
        ("embed", grpc.StatusCode.UNAVAILABLE, (503, "unavailable")),
        ("search", grpc.StatusCode.FAILED_PRECONDITION, (503, "model_mismatch")),
        ("search", grpc.StatusCode.DEADLINE_EXCEEDED, (504, "deadline_passed")),
        ("embed", grpc.StatusCode.INVALID_ARGUMENT, (400, "bad_input")),
    ],
)
def test_a_service_that_fails_is_told_as_what_it_is(
    house: Any, patches: Any, service: str, grpc_status: grpc.StatusCode, wanted: tuple[int, str]
) -> None:
    getattr(house, service).fail = grpc_status
    reply = house.http.post("/v1/search/image", files={"image": patches("red")})
    assert error_of(reply)[:2] == wanted
    if wanted[0] in (429, 503) and wanted[1] != "model_mismatch":
        assert int(reply.headers["retry-after"]) >= 1


def test_a_mistake_of_ours_says_nothing_and_is_logged_once(
    house: Any, patches: Any, caplog: pytest.LogCaptureFixture
) -> None:
    house.search.results = 2  # a reply that breaks the contract: our own code fails on it
    reply = house.http.post("/v1/search/image", files={"image": patches("red")})
    assert error_of(reply) == (
        500,
        "internal",
        "something went wrong on our side; the request id finds it in our logs",
    )
    lines = [line for line in caplog.records if line.levelname == "ERROR"]
    assert [line.getMessage() for line in lines] == [f"request {reply.headers['x-request-id']} failed"]
    assert "Traceback" in caplog.text
    assert re.search(r"JFIF|\\xff\\xd8", caplog.text) is None
