import asyncio
import logging
import time
from pathlib import Path

import httpx
import pytest

from serving import tracing
from serving.index.store import point, read_pointer
from serving.settings import Settings
from serving.telemetry import request_id
from serving.tracing import Tracing
from tests.serving.processes import Start, stopped
from tests.serving.sinks import Sink, attributes

OURS = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
NOT_SAMPLED = f"{OURS[:-1]}0"


def traces(sink: Sink, share: float = 1.0) -> Tracing:
    found = Tracing.of(Settings(otlp_endpoint=sink.url, trace_share=share), "test")
    assert found is not None
    return found


def test_without_an_endpoint_there_is_nothing() -> None:
    assert Tracing.of(Settings(trace_share=1.0), "test") is None
    assert tracing.current.get() is None
    with tracing.stage("search"):
        assert tracing.current.get() is None
    tracing.note(k=3)


def test_a_trace_from_the_page_to_the_index(shop, tmp_path: Path, start: Start, sink: Sink) -> None:
    """Of a product query, through real processes: what each says of it, and that it is one trace."""
    manifest = shop.build()
    point(shop.store, "local", manifest, "test", "test", read_pointer(shop.store, "local"))
    settings = {"IMGSEARCH_OTLP_ENDPOINT": f"{sink.url}/", "IMGSEARCH_TRACE_SHARE": "1"}
    search, at = start("search", **settings)
    front, address = start("api", IMGSEARCH_SEARCH_ADDRESS=at, **settings)
    while httpx.get(f"http://{address}/readyz").status_code != 200:
        time.sleep(0.05)
    reply = httpx.get(
        f"http://{address}/v1/products/p00001/similar?k=3",
        headers={"traceparent": NOT_SAMPLED, "X-Request-Id": "till-7", "Cookie": "planted"},
    )
    assert reply.status_code == 200
    for process, name in ((front, "api"), (search, "search")):
        stopped(process, tmp_path / f"{name}.log")  # which sends what waits

    mine = [(by, span) for by, span in sink.spans if span.trace_id.hex() == OURS[3:35]]
    (root,) = [span for _, span in mine if span.parent_span_id.hex() == OURS[36:52]]
    assert root.name == "GET /v1/products/{product_id}/similar"
    assert attributes(root) == {
        "http.request.method": "GET",
        "http.route": "/v1/products/{product_id}/similar",
        "http.response.status_code": 200,
        "imgsearch.request_id": "till-7",
        "imgsearch.origin": "made",
        "imgsearch.generation": manifest.id,
        "imgsearch.features": "index",
    }
    by_id = {span.span_id: (by, span) for by, span in mine}
    (call,) = [span for _, span in mine if span.name == "imgsearch.v1.Search/Search"]
    assert attributes(call) == {
        "rpc.system": "grpc",
        "rpc.service": "imgsearch.v1.Search",
        "rpc.method": "Search",
        "rpc.grpc.status_code": 0,
        "imgsearch.request_id": "till-7",
        "imgsearch.generation": manifest.id,
        "imgsearch.embedder": manifest.embedder,
        "imgsearch.detector": manifest.detector,
    }
    assert by_id[call.span_id][0] == "imgsearch-search"
    by, stage = by_id[call.parent_span_id]
    assert (by, stage.name) == ("imgsearch-api", "search")
    assert stage.parent_span_id == root.span_id
    said = attributes(stage)
    assert (said["imgsearch.k"], said["imgsearch.results"]) == (3, 3)
    assert said["imgsearch.plan"]
    assert "planted" not in str(sink.posted)


@pytest.mark.parametrize("sent", [OURS, NOT_SAMPLED, None, "", "00-zz", f"{OURS}-more", OURS.upper()])
async def test_the_share_alone_decides_and_a_caller_gives_no_more_than_an_id(
    sink: Sink, sent: str | None
) -> None:
    none, everything = traces(sink, share=0.0), traces(sink)
    assert none.request("GET", sent) is None
    traced = everything.request("GET", sent)
    assert traced is not None
    trace_id = traced.traceparent[3:35]
    assert (trace_id == OURS[3:35]) == (sent in (OURS, NOT_SAMPLED))
    assert int(traced.traceparent[-2:], 16) & 1, "sampled"
    traced.answered("GET", "/", 200)
    await everything.aclose()
    await none.aclose()
    assert [span.trace_id.hex() for _, span in sink.spans] == [trace_id]


async def test_a_share_is_about_that_many(sink: Sink) -> None:
    found = traces(sink, share=0.2)
    number = sum(found.request("GET", OURS) is not None for _ in range(2000))
    assert 250 < number < 550  # nine standard deviations
    await found.aclose()


async def test_stages_lie_below_their_request_and_say_what_failed_but_not_its_words(sink: Sink) -> None:
    found = traces(sink)
    token = request_id.set("one")
    traced = found.request("POST", None)
    request_id.reset(token)
    assert traced is not None
    tracing.current.set(traced)
    with pytest.raises(ValueError):
        with tracing.stage("outer"):
            with tracing.stage("inner"):
                raise ValueError("a person's words")
    assert tracing.current.get() is traced
    traced.answered("POST", "/v1/search", 500)
    await found.aclose()
    tracing.current.set(None)
    spans = {span.name: span for _, span in sink.spans}
    assert spans["inner"].parent_span_id == spans["outer"].span_id
    assert spans["outer"].parent_span_id == spans["POST /v1/search"].span_id
    assert attributes(spans["inner"]) == {"error.type": "ValueError"}
    assert attributes(spans["POST /v1/search"])["error.type"] == "500"
    assert "words" not in str(sink.posted)


async def test_a_collector_that_hangs_holds_up_nobody(sink: Sink) -> None:
    sink.hang.set()
    found = traces(sink)
    for _ in range(5000):  # more than are kept
        traced = found.request("GET", None)
        assert traced is not None
        traced.answered("GET", "/", 200)
    assert await asyncio.to_thread(sink.hung.wait, 10)
    started_s = time.monotonic()
    await found.aclose()
    assert time.monotonic() - started_s < tracing.FLUSH_S + 5


async def test_nobody_collecting_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    found = Tracing.of(Settings(otlp_endpoint="http://127.0.0.1:1", trace_share=1.0), "test")
    assert found is not None
    traced = found.request("GET", None)
    assert traced is not None
    traced.answered("GET", "/", 200)
    with caplog.at_level(logging.WARNING, "opentelemetry"):
        await found.aclose()
    assert "encountered while exporting spans batch" in caplog.text
