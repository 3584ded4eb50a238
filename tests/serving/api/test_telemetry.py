import logging
import re
import time
from typing import Any

import pytest


def test_an_id_is_kept_when_it_is_a_plain_word_and_reaches_the_services(house: Any, patches: Any) -> None:
    reply = house.http.post(
        "/v1/search/image", files={"image": patches("red")}, headers={"X-Request-Id": "till-7.check_3"}
    )
    assert reply.headers["x-request-id"] == "till-7.check_3"
    for service in (house.detect, house.embed, house.search):
        assert service.metadata["x-request-id"] == "till-7.check_3"


@pytest.mark.parametrize("hostile", ["", "a b", "x" * 65, "a\tERROR b"])
def test_any_other_id_is_replaced(house: Any, hostile: str) -> None:
    reply = house.http.get("/healthz", headers={"X-Request-Id": hostile})
    assert re.fullmatch("[0-9a-f]{32}", reply.headers["x-request-id"])


def test_one_line_a_request_and_no_bytes_of_it(
    house: Any, patches: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="serving.api"):
        house.http.post("/v1/search/image?secret=1", files={"image": ("my-name.jpg", patches("red"))})
        for _ in range(200):  # it is written when the answer is on its way
            if any(line.name == "serving.api.access" for line in caplog.records):
                break
            time.sleep(0.02)
    (line,) = [line for line in caplog.records if line.name == "serving.api.access"]
    assert line.getMessage() == "POST /v1/search/image 200"
    assert line.fields["took_ms"] > 0
    assert "my-name" not in caplog.text


def test_counts_and_times_by_route_template(house: Any, patches: Any) -> None:
    house.http.post("/v1/search/image", files={"image": patches("red")})
    house.http.get("/v1/products/red-dress")
    house.http.get("/no/such/thing")
    house.http.request("PROPFIND", "/no/such/thing")
    text = house.http.get("/metrics").text
    assert 'imgsearch_api_requests_total{method="GET",route="/v1/products/{product_id}",status="200"}' in text
    assert 'imgsearch_api_requests_total{method="GET",route="unmatched",status="404"}' in text
    assert 'imgsearch_api_stage_seconds_count{stage="detect"}' in text
    assert 'imgsearch_api_features_total{source="computed"}' in text
    assert 'method="other"' in text
    assert "red-dress" not in text
    assert "PROPFIND" not in text
