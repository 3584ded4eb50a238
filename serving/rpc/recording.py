"""Every call gets a request id, a count and a time; one that failed or took long, a line in the log."""

import logging
import time
from typing import Any

import grpc

from serving import telemetry
from serving.rpc.unary import Behaviour, Context, UnaryInterceptor
from serving.tracing import TRACEPARENT, Tracing

log = logging.getLogger(__name__)

# From here on a call that went well is worth a line. A line of each call took a server of small searches a
# seventh of its time; the front has a line of each request, with the same id.
SLOW_S = 0.5


class Recording(UnaryInterceptor):
    """The outermost interceptor."""

    def __init__(self, metrics: telemetry.RpcMetrics, traces: Tracing | None = None) -> None:
        self._calls = metrics.calls
        self._traces = traces
        self._in_work = 0
        metrics.in_work.set_function(lambda: self._in_work)

    async def call(self, method: str, behaviour: Behaviour, request: Any, context: Context) -> Any:
        metadata: Any = context.invocation_metadata() or ()
        telemetry.request_id.set(telemetry.accepted_id(_first(metadata, telemetry.REQUEST_ID)))
        traced = None
        if self._traces is not None:
            traced = self._traces.call(method, _first(metadata, TRACEPARENT))
        status, started_s = "CANCELLED", time.monotonic()  # until told otherwise
        self._in_work += 1
        try:
            reply = await behaviour(request, context)
            status = "OK"
            return reply
        except grpc.aio.AbortError:
            code: Any = context.code()  # a grpc.StatusCode, whatever the stubs say
            status = code.name
            raise
        finally:
            self._in_work -= 1
            self._record(method.rsplit("/", 1)[1], status, time.monotonic() - started_s)
            if traced is not None:
                traced.replied(status, grpc.StatusCode[status].value[0])

    def _record(self, name: str, status: str, took_s: float) -> None:
        self._calls.count(name, status, took_s)
        level = logging.DEBUG if status == "OK" and took_s < SLOW_S else logging.INFO
        if log.isEnabledFor(level):
            fields = {"method": name, "status": status, "took_ms": round(took_s * 1000, 2)}
            log.log(level, "%s %s", name, status, extra={"fields": fields})


def _first(metadata: Any, name: str) -> str | None:
    for key, value in metadata:
        if key == name:
            return str(value)
    return None
