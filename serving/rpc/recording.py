"""Every call gets a request id, a line in the log, a count and a time."""

import logging
import time
from typing import Any

import grpc

from serving import telemetry
from serving.rpc.unary import Behaviour, Context, UnaryInterceptor

log = logging.getLogger(__name__)


class Recording(UnaryInterceptor):
    """The outermost interceptor."""

    def __init__(self, metrics: telemetry.RpcMetrics) -> None:
        self._metrics = metrics

    async def call(self, method: str, behaviour: Behaviour, request: Any, context: Context) -> Any:
        metadata: Any = context.invocation_metadata() or ()
        sent = next((str(value) for key, value in metadata if key == telemetry.REQUEST_ID), None)
        telemetry.request_id.set(telemetry.accepted_id(sent))
        name = method.rsplit("/", 1)[1]
        status, started_s = "CANCELLED", time.monotonic()  # until told otherwise
        try:
            self._metrics.in_work.inc()
            reply = await behaviour(request, context)
            status = "OK"
            return reply
        except grpc.aio.AbortError:
            code: Any = context.code()  # a grpc.StatusCode, whatever the stubs say
            status = code.name
            raise
        finally:
            self._metrics.in_work.dec()
            took_s = time.monotonic() - started_s
            self._metrics.calls.labels(name, status).inc()
            self._metrics.seconds.labels(name).observe(took_s)
            fields = {"method": name, "status": status, "took_ms": round(took_s * 1000, 2)}
            log.info("%s %s", name, status, extra={"fields": fields})
