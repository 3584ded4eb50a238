"""What a front and the services leave behind when much goes wrong: nothing of what people sent, no secret."""

import base64
import io
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from PIL import Image
from pydantic import SecretStr

from imgsearch_assets.local.processes import free_port
from serving import reports, telemetry
from serving.errors import ImgsearchError
from serving.proto import detect_pb2, detect_pb2_grpc, embed_pb2, embed_pb2_grpc, search_pb2, search_pb2_grpc
from serving.redaction import Redaction
from serving.settings import Settings
from tests.serving.processes import Start, stopped
from tests.serving.rpc.conftest import open_line
from tests.serving.sinks import Sink, attributes

PASSWORD, KEY, DSN_KEY, TOKEN = "planted-password", "planted-api-key", "planted-dsn-key", "planted-token"
WORDS = "planted words of a shopper"
PICTURE_MARK = b"planted-in-a-picture"


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(out, "JPEG", comment=PICTURE_MARK)
    return out.getvalue()


class Broken(search_pb2_grpc.SearchServicer, detect_pb2_grpc.DetectServicer, embed_pb2_grpc.EmbedServicer):
    """All three services; a search gets two results to its one query, which the front does not expect."""

    def Status(self, request: Any, context: Any) -> search_pb2.StatusReply:
        return search_pb2.StatusReply(
            generation="generation-1", embedder_version="embedder-1", detector_version="detector-1", dim=4
        )

    def GetProducts(self, request: Any, context: Any) -> search_pb2.GetProductsReply:
        products = [search_pb2.Product(product_id=one) for one in request.product_ids]
        return search_pb2.GetProductsReply(products=products, generation="generation-1")

    def Search(self, request: Any, context: Any) -> search_pb2.SearchReply:
        return search_pb2.SearchReply(
            results=[search_pb2.Result()] * 2, generation="generation-1", embedder_version="embedder-1"
        )

    def Detect(self, request: Any, context: Any) -> detect_pb2.DetectReply:
        return detect_pb2.DetectReply(images=[detect_pb2.ImageDetections()], model_version="detector-1")

    def Embed(self, request: Any, context: Any) -> embed_pb2.EmbedReply:
        vectors = bytes(16 * len(request.crops))
        return embed_pb2.EmbedReply(vectors=vectors, dim=4, model_version=request.model_version)

    def EmbedText(self, request: Any, context: Any) -> embed_pb2.EmbedReply:
        return embed_pb2.EmbedReply(vectors=bytes(16), dim=4, model_version=request.model_version)


@pytest.fixture
def broken() -> Iterator[str]:
    with ThreadPoolExecutor(4) as executor:
        server = grpc.server(executor)
        search_pb2_grpc.add_SearchServicer_to_server(Broken(), server)
        detect_pb2_grpc.add_DetectServicer_to_server(Broken(), server)
        embed_pb2_grpc.add_EmbedServicer_to_server(Broken(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait()


def test_a_front_in_trouble_tells_no_secret(tmp_path: Path, start: Start, sink: Sink, broken: str) -> None:
    process, address = start(
        "api",
        IMGSEARCH_SEARCH_ADDRESS=broken,
        IMGSEARCH_DETECT_ADDRESS=broken,
        IMGSEARCH_EMBED_ADDRESS=broken,
        IMGSEARCH_REDIS_URL=f"redis://:{PASSWORD}@127.0.0.1:{free_port()}/0",
        IMGSEARCH_MILVUS_TOKEN=f"root:{TOKEN}",
        IMGSEARCH_SENTRY_DSN=sink.dsn(DSN_KEY),
        IMGSEARCH_OTLP_ENDPOINT=sink.url,
        IMGSEARCH_TRACE_SHARE="1",
    )
    shown = picture()
    encoded = base64.b64encode(shown).decode()
    headers = {"Authorization": f"Bearer {KEY}", "X-Api-Key": KEY, "Cookie": f"session={KEY}"}
    statuses = []
    with httpx.Client(base_url=f"http://{address}", timeout=20, headers=headers) as client:
        for number, asked in enumerate(
            (
                {"files": {"image": (f"{WORDS}.jpg", shown)}},
                {"files": {"image": shown[:100]}},
                {"json": {"image_base64": encoded}},
                {"json": {"image_base64": f"{encoded[:99]}!"}},
                {"json": {"text": WORDS}},
                {"json": {"product_id": "p1"}},
                {"json": {"image_url": f"http://127.0.0.1:1/a.jpg?{KEY}"}},
                {"json": {"k": [encoded]}},
                {"content": shown, "headers": {"Content-Type": "application/json"}},
            )
        ):
            route = "/v1/search/image" if "files" in asked else "/v1/search"
            reply = client.post(f"{route}?planted={KEY}", **asked | {"headers": asked.get("headers", {})})
            statuses.append(reply.status_code)
            assert DSN_KEY not in reply.text, number
    lines = stopped(process, tmp_path / "api.log")

    failed = [line for line in lines if "exception" in line]
    assert statuses.count(500) == len(failed) == len(sink.events) >= 4
    known = {"generation": "generation-1", "embedder": "embedder-1", "detector": "detector-1"}
    for line in failed:
        assert line.items() >= known.items()
        assert line["request_id"]
    by_request = {event["tags"]["request_id"]: event for event in sink.events}
    assert set(by_request) == {line["request_id"] for line in failed}
    for event in sink.events:
        assert event["tags"].items() >= {"service": "api", **known}.items()
    roots = [span for _, span in sink.spans if not span.parent_span_id]
    assert {attributes(span)["imgsearch.request_id"] for span in roots} >= set(by_request)

    log = (tmp_path / "api.log").read_bytes()
    assert b"Redis does not answer" in log
    for what, said in {"log": log, "sent": b"\n".join(body for _, body in sink.posted)}.items():
        for planted in (PASSWORD, KEY, TOKEN, WORDS, PICTURE_MARK.decode(), encoded[:60], repr(shown)[2:60]):
            assert planted.encode() not in said, (what, planted)
        # Sentry's protocol has the key in a header of the request, not in what it carries.
        assert DSN_KEY.encode() not in said, what


async def test_a_service_whose_libraries_say_too_much(sink: Sink) -> None:
    settings = Settings(
        redis_url=SecretStr(f"redis://:{PASSWORD}@redis/0"),
        sentry_dsn=SecretStr(sink.dsn(DSN_KEY)),
        otlp_endpoint=sink.url,  # type: ignore[arg-type]
    )
    shown = picture()
    encoded = base64.b64encode(shown).decode()

    async def behave() -> None:
        said = f"cannot decode {shown!r} or {encoded}; redis://:{PASSWORD}@redis/0 refuses {PASSWORD}"
        raise ValueError(said) from OSError(f"GET https://shop/a.jpg?{KEY} with {sink.dsn(DSN_KEY)}")

    stream = io.StringIO()
    lines = telemetry.JsonLines()
    lines.redaction = Redaction.of(settings)
    handler = telemetry.LinesHandler(stream)
    handler.setFormatter(lines)
    logging.getLogger().addHandler(handler)
    try:
        with reports.sent(settings, "embed"):
            async with open_line(otlp_endpoint=sink.url) as line:
                line.servicer.behave = behave
                traceparent = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
                with pytest.raises(ImgsearchError) as error:
                    await line.call((shown,), metadata=(("traceparent", traceparent),))
    finally:
        logging.getLogger().removeHandler(handler)
    told = {
        "log": stream.getvalue(),
        "sent": b"".join(body for _, body in sink.posted).decode("latin-1"),
        "caller": str(error.value),
    }
    assert "cannot decode [bytes] or [bytes]" in told["log"]
    assert "GET https://shop/a.jpg?[query] with [secret]" in told["sent"]
    for what, said in told.items():
        for planted in (PASSWORD, KEY, DSN_KEY, PICTURE_MARK.decode(), encoded[:60], repr(shown)[2:60]):
            assert planted not in said, (what, planted)
