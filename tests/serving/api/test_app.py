import tempfile
from typing import Any

import pytest

from serving.api.app import create_app
from serving.settings import Settings


def test_the_description_shows_every_route_and_the_one_error_shape() -> None:
    described = create_app(Settings()).openapi()
    assert sorted(described["paths"]) == [
        "/healthz",
        "/readyz",
        "/v1/products/{product_id}",
        "/v1/products/{product_id}/similar",
        "/v1/search",
        "/v1/search/image",
        "/v1/status",
    ]
    for path, methods in described["paths"].items():
        for operation in methods.values():
            assert operation["summary"]
            if path.startswith("/v1/"):
                for status in ("4XX", "5XX"):
                    schema = operation["responses"][status]["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}
                assert "422" not in operation["responses"]


def test_a_picture_of_several_megabytes_touches_no_disk(
    house: Any, large_picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/folder")
    reply = house.http.post("/v1/search/image", files={"image": large_picture})
    assert reply.status_code == 200
