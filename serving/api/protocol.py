"""HTTP/1.1 on a connection: uvicorn's fast reader, held to a size and a time for what precedes a body."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.api.errors import error_response
from serving.errors import BadInput
from serving.telemetry import accepted_id, request_id

MAX_HEAD_BYTES = 64 * 1024
# Requests that wait on one connection for the answer before theirs; who does not read answers adds no more.
MAX_WAITING = 32
# How long a caller may take from the connection, or its request's first byte, to the end of the headers.
HEAD_TIMEOUT_S = 20.0


class BoundedHttp(HttpToolsProtocol):
    """The reader itself keeps whatever comes: headers or trailers without end would fill the memory, and so
    would requests whose answers nobody reads.

    What is no HTTP is answered in the one shape of errors, and the connection closed.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._around_bytes = 0  # that came since the last of a body
        self._in_head = True
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._around_bytes += len(data)
        super().data_received(data)
        if self._around_bytes > MAX_HEAD_BYTES:
            self._refuse(431, f"the headers or trailers are longer than {MAX_HEAD_BYTES:,} bytes")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._around_bytes = True, 0  # what comes with these bytes is counted at its end
        self._wait_for_head()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_came()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD_BYTES or len(self.pipeline) >= MAX_WAITING:
            raise BadInput("too long")  # reaches ``send_400_response`` by way of the parser
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._around_bytes = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "the request is not HTTP/1.1 as RFC 9112 has it, or its headers are too long")

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._late)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _late(self) -> None:
        self._head_timer = None
        self._refuse(408, f"the headers did not arrive within {HEAD_TIMEOUT_S:g} s")

    def _refuse(self, status: int, message: str) -> None:
        if self.transport.is_closing():
            return
        under_way = self.cycle is not None and not self.cycle.response_complete
        if self.pipeline or (under_way and (self._in_head or self.cycle.response_started)):
            self.transport.close()  # an error here would be taken for the answer to another request
            return
        token = request_id.set(accepted_id(None))
        response = error_response(status, "bad_request", message, {"Connection": "close"})
        request_id.reset(token)
        lines = b"".join(b"%s: %s\r\n" % header for header in response.raw_headers)
        self.transport.write(b"%s%s\r\n%s" % (STATUS_LINE[status], lines, response.body))
        self.transport.close()
