"""Every call gets a request id, a count and a time; one that failed or took long, a line in the log."""

import logging
import time
from typing import Any

import grpc

from serving import telemetry
from serving.rpc.unary import Behaviour, Context, UnaryInterceptor

log = logging.getLogger(__name__)

# From here on a call that went well is worth a line. A line of each call took a server of small searches a
# seventh of its time; the front has a line of each request, with the same id.
SLOW_S = 0.5


class Recording(UnaryInterceptor):
    """The outermost interceptor."""

    def __init__(self, metrics: telemetry.RpcMetrics) -> None:
        self._calls = metrics.calls
        self._in_work = 0
        metrics.in_work.set_function(lambda: self._in_work)

    async def call(self, method: str, behaviour: Behaviour, request: Any, context: Context) -> Any:
        sent = None
        metadata: Any = context.invocation_metadata() or ()
        for key, value in metadata:
            if key == telemetry.REQUEST_ID:
                sent = str(value)
                break
        telemetry.request_id.set(telemetry.accepted_id(sent))
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

    def _record(self, name: str, status: str, took_s: float) -> None:
        self._calls.count(name, status, took_s)
        level = logging.DEBUG if status == "OK" and took_s < SLOW_S else logging.INFO
        if log.isEnabledFor(level):
            fields = {"method": name, "status": status, "took_ms": round(took_s * 1000, 2)}
            log.log(level, "%s %s", name, status, extra={"fields": fields})
