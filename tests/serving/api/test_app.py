import tempfile
from typing import Any

import pytest


def test_a_picture_of_several_megabytes_touches_no_disk(
    house: Any, large_picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/folder")
    reply = house.http.post("/v1/search/image", files={"image": large_picture})
    assert reply.status_code == 200
