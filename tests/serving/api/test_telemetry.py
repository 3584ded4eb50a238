import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from imgsearch_assets.trial.probe import ProbeMetrics
from serving.api.telemetry import Metrics
from serving.telemetry import FolderMetrics, IndexMetrics, ModelMetrics, RpcMetrics


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
    house.http.get("/page/main.js")
    house.http.post("/v1/search/image", content=bytes(20 * 2**20))
    house.http.request("PROPFIND", "/no/such/thing")
    text = house.http.get("/metrics").text
    assert 'imgsearch_api_requests_total{method="GET",route="/v1/products/{product_id}",status="200"}' in text
    assert 'imgsearch_api_requests_total{method="GET",route="unmatched",status="404"}' in text
    assert 'imgsearch_api_requests_total{method="GET",route="/page",status="200"}' in text
    assert 'imgsearch_api_requests_total{method="POST",route="/v1/search/image",status="400"}' in text
    assert 'imgsearch_api_stage_seconds_count{stage="detect"}' in text
    assert 'imgsearch_api_features_total{source="computed"}' in text
    assert 'method="other"' in text
    assert "red-dress" not in text
    assert "PROPFIND" not in text


def figure(house: Any, name: str) -> float:
    """The value of a line of /metrics, 0 while there is none."""
    lines = house.http.get("/metrics").text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name), 0.0)


@pytest.mark.parametrize(
    ("code", "ask"),
    [
        ("not_found", lambda http: http.get("/no/such/thing")),
        ("method_not_allowed", lambda http: http.delete("/v1/search")),
        ("bad_image", lambda http: http.post("/v1/search/image", files={"image": b"none"})),
    ],
)
def test_errors_are_counted_by_their_code(house: Any, code: str, ask: Callable[[Any], Any]) -> None:
    name = f'imgsearch_api_errors_total{{code="{code}"}}'
    before = figure(house, name)
    assert ask(house.http).json()["error"]["code"] == code
    assert figure(house, name) == before + 1


def test_what_is_unexpected_is_counted_as_internal(house: Any, patches: Any) -> None:
    name = 'imgsearch_api_errors_total{code="internal"}'
    before = figure(house, name)
    house.search.results = 2
    assert house.http.get("/v1/products/red-dress/similar").status_code == 500
    assert figure(house, name) == before + 1


def test_searches_that_find_nothing_are_counted(house: Any) -> None:
    before = figure(house, "imgsearch_api_empty_answers_total")
    for brands in (["Nordlys"], ["nobody"]):
        asked = {"product_id": "red-dress", "filters": {"brands": brands}}
        assert house.http.post("/v1/search", json=asked).status_code == 200
    assert figure(house, "imgsearch_api_empty_answers_total") == before + 1


def test_searches_that_find_less_than_fits_are_counted(house: Any) -> None:
    before = figure(house, "imgsearch_api_short_answers_total")
    for k, starves in ((3, False), (100, False), (4, True)):
        house.search.starves = starves
        assert house.http.post("/v1/search", json={"product_id": "red-dress", "k": k}).status_code == 200
    assert figure(house, "imgsearch_api_short_answers_total") == before + 1


def test_looks_into_the_feature_store_are_counted(house: Any) -> None:
    def reads() -> list[float]:
        return [
            figure(house, f'imgsearch_api_feature_reads_total{{found="{one}"}}') for one in ("hit", "miss")
        ]

    hits, misses = reads()
    asked = {"image_url": f"{house.picture_host}/yellow.jpg"}
    assert house.http.post("/v1/search", json=asked).status_code == 200
    assert reads() == [hits, misses + 1]
    deadline = time.monotonic() + 20
    while reads()[0] == hits:  # what was computed is stored beside the answer
        assert time.monotonic() < deadline
        house.http.post("/v1/search", json=asked)


def test_the_front_says_what_it_saw_served(house: Any) -> None:
    house.http.get("/v1/products/red-dress/similar")
    text = house.http.get("/metrics").text
    what = 'detector="detector-1",embedder="embedder-1",generation="generation-1"'
    assert f"imgsearch_api_generation_info{{{what}}} 1.0" in text
    assert "imgsearch_api_generation_created_timestamp_seconds 1.0" in text
    assert re.search(r'imgsearch_build_info\{version="[^"]+"\} 1.0', text)


def test_names_are_as_prometheus_wants_them_and_documented(house: Any) -> None:
    """Its naming conventions: a prefix, base units, `_total` of what only grows, `_info` of what is 1."""
    registries = [Metrics().registry, RpcMetrics().registry, ProbeMetrics().registry]
    for made in (IndexMetrics, ModelMetrics):
        made(registries[1])
    FolderMetrics(registries[1], Path(__file__).parent)
    texts = [generate_latest(one).decode() for one in registries] + [house.http.get("/metrics").text]
    families = [one for text in texts for one in text_string_to_metric_families(text)]
    # A client of Prometheus adds a gauge of when each counter was made.
    ours = [
        one for one in families if not one.name.startswith("process_") and not one.name.endswith("_created")
    ]
    assert len(ours) > 20
    page = (Path(__file__).parents[3] / "docs/telemetry.md").read_text()
    for family in ours:
        assert re.fullmatch("imgsearch_[a-z_]+", family.name), family.name
        assert family.documentation, family.name
        name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
        assert re.search(rf"`{name}[`{{]", page), f"docs/telemetry.md lacks {name}"
        assert not re.search("_(ms|milliseconds|minutes|kb|count|sum|bucket)$", family.name), family.name
        for sample in family.samples:
            assert (family.type == "counter") == sample.name.endswith("_total"), sample.name
            assert len(sample.labels) <= 4, sample.name
        if family.type == "histogram":
            assert family.name.endswith("_seconds"), family.name
