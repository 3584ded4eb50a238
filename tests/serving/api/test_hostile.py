"""Requests that no program of ours would send: each one clear refusal, and small."""

import gc
import json
from typing import Any

import httpx
import pytest

from tests.serving.api.test_errors import error_of

JSON = "application/json"
FORM = "multipart/form-data; boundary=b"
NAME = b'Content-Disposition: form-data; name="'
IMAGE = NAME + b'image"; filename="a.jpg"\r\n\r\nhello'
UNREADABLE = (400, "bad_input", "the body is no JSON in UTF-8, or nested or long beyond reason")
VALUES = (400, "bad_input", "the body has more than 20,000 values")
NO_FORM = (400, "bad_request", "Invalid multipart data.")
NO_PICTURE = (400, "bad_image", "not a picture; send JPEG, PNG or WebP")
NO_TEXT = "Input should be a valid string, unable to parse raw data as a unicode string"


def product(**more: object) -> bytes:
    return json.dumps({"product_id": "red-dress", **more}).encode()


def form(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b"[" * 15_000, UNREADABLE),
        (b'{"filters":' * 15_000 + b"1" + b"}" * 15_000, UNREADABLE),
        (b"[" * 60_000, VALUES),
        (b"[" * 13_000_000, VALUES),
        (product(filters={"brands": ["x"] * 100_000}), VALUES),
        (b'{"k":' + b"[]," * 100_000 + b"1}", VALUES),
        (product(k=float("nan")), (422, "bad_input", "k: Input should be a valid integer")),
        (product(k=float("inf")), (422, "bad_input", "k: Input should be a valid integer")),
        (b'{"product_id":"red-dress","k":1e400}', (422, "bad_input", "k: Input should be a valid integer")),
        (b'{"product_id":"red-dress","k":' + b"9" * 1_000_000 + b"}", UNREADABLE),
        (
            product(filters={"price_min": 2**64}),
            (422, "bad_input", "filters.price_min: Input should be less than 9223372036854775808"),
        ),
        (
            b'{"product_id":"red-dress","k":1,"k":5000}',
            (422, "bad_input", "k: Input should be less than or equal to 100"),
        ),
        (product(box={"x0": float("nan"), "y0": 0, "x1": 1, "y1": 1}), (422, "bad_input", None)),
        (b'{"product_id":"\\ud800"}', (422, "bad_input", f"product_id: {NO_TEXT}")),
        (b'{"image_url":"http://shop.example/\\udfff"}', (422, "bad_input", f"image_url: {NO_TEXT}")),
        (b'{"\\ud800":1}', (422, "bad_input", NO_TEXT)),
        (
            product(filters={"brands": ["\ud800"]}),
            (422, "bad_input", f"filters.brands.0: {NO_TEXT}"),
        ),
        (b'{"product_id":"\xff"}', UNREADABLE),
        (b'{"product_id":"\xc0\xaf"}', UNREADABLE),
        (b'{"product_id":"\xed\xa0\x80"}', (422, "bad_input", f"product_id: {NO_TEXT}")),
        (b'{"product_id":"\\u0000"}', (404, "not_found", "product '\\x00' is not in the index")),
        (b"\xef\xbb\xbf", (422, "bad_input", "the body is not JSON")),
        (b"null", (422, "bad_input", None)),
        (b" " * 13_000_000, (422, "bad_input", "the body is not JSON")),
        (product(__proto__={"x": 1}), (422, "bad_input", "__proto__: Extra inputs are not permitted")),
        (
            product(filters={"brands": [1] * 1000}),
            (
                422,
                "bad_input",
                "; ".join(f"filters.brands.{n}: Input should be a valid string" for n in range(5))
                + "; and 995 more",
            ),
        ),
        (
            product(**{f"f{n}": 1 for n in range(1000)}),
            (
                422,
                "bad_input",
                "; ".join(f"f{n}: Extra inputs are not permitted" for n in range(5)) + "; and 995 more",
            ),
        ),
        (
            product(filters={"brands": ["x" * 10**6]}),
            (422, "bad_input", "filters.brands.0: String should have at most 256 characters"),
        ),
        (b'{"image_base64":"' + b"A" * 13_900_000 + b'"}', NO_PICTURE),
        (
            b'{"text":"' + b"a" * 10**6 + b'"}',
            (422, "bad_input", "text: String should have at most 200 characters"),
        ),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_json(house: Any, body: bytes, wanted: tuple[int, str, str | None]) -> None:
    refused(house.http.post("/v1/search", content=body, headers={"content-type": JSON}), wanted)


@pytest.mark.parametrize(
    ("kind", "body", "wanted"),
    [
        (FORM, b"rubbish" * 1000, NO_FORM),
        (FORM, b"", (422, "bad_input", "image: Field required")),
        (FORM, b"--b\r\n" + IMAGE, (422, "bad_input", "image: Field required")),
        ("multipart/form-data", form(IMAGE), (400, "bad_request", "Missing boundary in multipart.")),
        ("multipart/form-data; boundary=", form(IMAGE), NO_FORM),
        ("multipart/form-data; boundary=" + "b" * 10_000, form(IMAGE), NO_FORM),
        (
            FORM,
            form(*(NAME + b'f%d"\r\n\r\nx' % n for n in range(5000))),
            (400, "bad_request", "Too many fields. Maximum number of fields is 1000."),
        ),
        (
            FORM,
            form(*(NAME + b'f%d"; filename="a"\r\n\r\nx' % n for n in range(5000))),
            (400, "bad_request", "Too many files. Maximum number of files is 1000."),
        ),
        (FORM, form(*[IMAGE] * 900), NO_PICTURE),
        (FORM, form(NAME + b"x" * 1_000_000 + b'"\r\n\r\nx'), NO_FORM),
        (FORM, form(NAME + b'image"\r\n' + b"X: y\r\n" * 100_000 + b"\r\nx"), NO_FORM),
        (
            FORM,
            form(NAME + b'box"\r\n\r\n' + b"x" * 5_000_000),
            (400, "bad_request", "Part exceeded maximum size of 1024KB."),
        ),
        (
            FORM,
            form(IMAGE, NAME + b'filters"\r\n\r\n{"brands":[' + b"1," * 100_000 + b"1]}"),
            (422, "bad_input", "filters: has 200,014 characters; at most 32,768"),
        ),
        (FORM, form(IMAGE, NAME + b'filters"\r\n\r\n' + b"[" * 30_000), (422, "bad_input", None)),
        (FORM, form(IMAGE, NAME + b'filters"\r\n\r\n{"brands":["\\ud800"]}'), (422, "bad_input", None)),
        (
            FORM,
            form(IMAGE, NAME + b'box"\r\n\r\n{"x0":NaN,"y0":0,"x1":1,"y1":1}'),
            (422, "bad_input", "box.x0: Input should be less than or equal to 1"),
        ),
        (
            FORM,
            form(NAME + b'image"\r\n\r\nhello'),
            (422, "bad_input", "image: send it as a file, with a file name"),
        ),
        (FORM, form(b"X: y\r\n\r\nx"), (400, "bad_request", None)),
        (FORM, form(NAME + b'\xff"\r\n\r\nx', IMAGE), (422, "bad_input", None)),
        (JSON, b"{}", (422, "bad_input", "image: Field required")),
    ],
    ids=lambda value: repr(value)[:50],
)
# Files of a form that was given up are closed when they are collected.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_forms(house: Any, kind: str, body: bytes, wanted: tuple[int, str, str | None]) -> None:
    refused(house.http.post("/v1/search/image", content=body, headers={"content-type": kind}), wanted)
    gc.collect()


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("a/b", (404, "not_found", "product 'a/b' is not in the index")),
        ("a%2Fb", (404, "not_found", "product 'a/b' is not in the index")),
        ("..%2f..%2fetc", (404, "not_found", "product '../../etc' is not in the index")),
        ("%00", (404, "not_found", "product '\\x00' is not in the index")),
        ("%ff", (404, "not_found", "product '\ufffd' is not in the index")),
        ("%zz", (404, "not_found", "product '%zz' is not in the index")),
        ("a%0d%0aX-Evil:1", (404, "not_found", None)),
        ("a" * 50_000, (422, "bad_input", "product_id: String should have at most 256 characters")),
        ("red-dress/similar?k=-1", (422, "bad_input", "k: Input should be greater than or equal to 1")),
        ("red-dress/similar?k=" + "9" * 5000, (422, "bad_input", None)),
        ("red-dress/similar?k=1&k=5000", (422, "bad_input", "k: Input should be less than or equal to 100")),
        ("red-dress/similar?collapse=%ff", (422, "bad_input", None)),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_paths(house: Any, path: str, wanted: tuple[int, str, str | None]) -> None:
    refused(house.http.get(f"/v1/products/{path}"), wanted)


def refused(reply: httpx.Response, wanted: tuple[int, str, str | None]) -> None:
    status, code, message = error_of(reply)
    assert (status, code) == wanted[:2]
    assert wanted[2] in (None, message)
    assert len(reply.content) < 1000
