import re
from typing import Any

import pytest

from serving.api.pages import FOLDER


@pytest.mark.parametrize("path", ["/", "/docs", "/healthz", "/v1/status", "/no"])
def test_every_answer_carries_the_safe_headers(house: Any, path: str) -> None:
    headers = house.http.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "script-src 'self';" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_pictures_may_come_from_the_catalogue_and_the_shopper(house: Any) -> None:
    policy = house.http.get("/").headers["content-security-policy"]
    assert "img-src 'self' http: https: blob: data:" in policy
    assert "unsafe" not in policy


def test_every_file_the_page_names_is_there_and_is_ours(house: Any) -> None:
    for file in FOLDER.iterdir():
        text = file.read_text()
        for address in re.findall(r"""(?:href|src|from|import)\s*=?\s*["'](/[^"'#]*)""", text):
            assert house.http.get(address).status_code == 200, address
        outside = set(re.findall(r"https?://[\w.]+", text)) - {"http://www.w3.org"}
        assert outside == set(), file


@pytest.mark.parametrize("path", ["/", "/docs", "/page/main.js"])
def test_files_are_revalidated_not_sent_again(house: Any, path: str) -> None:
    first = house.http.get(path)
    assert first.headers["cache-control"] == "no-cache"
    again = house.http.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/healthz", "/v1/status", "/v1/products/red-dress"])
def test_head_says_what_get_would_and_sends_nothing(house: Any, path: str) -> None:
    got, head = house.http.get(path), house.http.head(path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length", "content-security-policy"):
        assert head.headers[name] == got.headers[name]


def test_head_of_what_is_not_there(house: Any) -> None:
    assert house.http.head("/no").status_code == 404
    assert house.http.head("/v1/search").status_code == 405
