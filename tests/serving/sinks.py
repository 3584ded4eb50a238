"""What telemetry is sent to, on loopback: a collector of traces and a tracker of errors."""

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Sink:
    """Keeps what is posted to it, by path; with ``hang`` set it takes a request and says nothing."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.posted: list[tuple[str, bytes]] = []
        self.hang = threading.Event()
        self.hung = threading.Event()

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def dsn(self, key: str = "public-key-of-a-dsn") -> str:
        return f"http://{key}@{self.address}/42"

    @property
    def spans(self) -> list[tuple[str, Span]]:
        """Each with the name of its service."""
        found = []
        for path, body in self.posted:
            if path != "/v1/traces":
                continue
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                about = {one.key: one.value.string_value for one in resource.resource.attributes}
                for scope in resource.scope_spans:
                    found += [(about["service.name"], span) for span in scope.spans]
        return found

    @property
    def events(self) -> list[dict[str, Any]]:
        """Of Sentry's envelopes, each a line of JSON a header and an item."""
        found = []
        for path, body in self.posted:
            if path == "/api/42/envelope/":
                lines = body.splitlines()[1:]
                heads, items = map(json.loads, lines[::2]), map(json.loads, lines[1::2])
                found += [item for head, item in zip(heads, items, strict=True) if head["type"] == "event"]
        return found

    def wait(self, ready: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while not ready():
            assert time.monotonic() < deadline, [path for path, _ in self.posted]
            time.sleep(0.02)


@contextmanager
def listening() -> Iterator[Sink]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            sink.posted.append((self.path, body))
            if sink.hang.is_set():
                sink.hung.set()
                while sink.hang.wait(0.05) and sink.hang.is_set():
                    time.sleep(0.05)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sink = Sink(f"127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield sink
    finally:
        sink.hang.clear()
        server.shutdown()
        server.server_close()
        thread.join(10)


def attributes(span: Span) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}
