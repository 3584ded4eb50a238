"""Traces: where the time of a request went, over all processes, sent by OTLP to where the settings say.

The front decides, by its share alone, which requests are traced; the services trace the calls of those. A
caller's ``traceparent`` (W3C Trace Context) names the trace that ours belongs to, and its sampled flag is not
heard: else a caller could have everything traced. Where nothing is traced this module costs one look at a
context variable.
"""

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from serving import telemetry
from serving.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

TRACEPARENT = "traceparent"

# What the end of a process waits for, and one sending of spans.
FLUSH_S, EXPORT_S = 2.0, 5.0
# Spans that wait to be sent; more are dropped, the oldest first.
_QUEUE, _BATCH, _EVERY_MS = 2048, 512, 1000
# Of version 00, the only one there is. What is longer would have OpenTelemetry write a warning.
_TRACEPARENT_CHARS = 55

Attribute = str | int | bool


@dataclass(frozen=True, slots=True)
class Traced:
    """An open span, and how those below it begin."""

    tracer: "Tracer"
    span: "Span"

    def note(self, **attributes: Attribute) -> None:
        """Say more of it, as ``imgsearch.<name>``; what is empty says nothing."""
        for name, value in attributes.items():
            if value != "":
                self.span.set_attribute(f"imgsearch.{name}", value)

    @contextmanager
    def below(self, name: str) -> Iterator[None]:
        """A span of what happens in the block, and the current one meanwhile."""
        span = self.tracer.start_span(name, context=self._context())
        token = current.set(Traced(self.tracer, span))
        try:
            yield
        except BaseException as error:
            _fail(span, type(error).__qualname__)  # its words may be a person's
            raise
        finally:
            current.reset(token)
            span.end()

    def answered(self, method: str, route: str, status: int) -> None:
        """The end of a request, by the template of its route; 0 where there was no answer."""
        self.span.update_name(f"{method} {route}")
        self.span.set_attributes({"http.route": route, "http.response.status_code": status})
        if status == 0 or status >= 500:
            _fail(self.span, str(status))
        self.span.end()

    def replied(self, status: str, number: int) -> None:
        """The end of a call, by the name and number of its gRPC status."""
        self.span.set_attribute("rpc.grpc.status_code", number)
        self.note(**telemetry.versions)
        if number:
            _fail(self.span, status)
        self.span.end()

    @property
    def traceparent(self) -> str:
        """What a service is told, so that its spans come below this one."""
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier, self._context())
        return carrier[TRACEPARENT]

    def _context(self) -> "Context":
        from opentelemetry.trace import set_span_in_context

        return set_span_in_context(self.span)


current: ContextVar[Traced | None] = ContextVar("traced", default=None)

_NOTHING = nullcontext()


def stage(name: str) -> AbstractContextManager[None]:
    """A span below the current one, around the block; nothing where nothing is traced."""
    traced = current.get()
    return _NOTHING if traced is None else traced.below(name)


def note(**attributes: Attribute) -> None:
    """Say more of the current span. For where there is little to say, and seldom."""
    if (traced := current.get()) is not None:
        traced.note(**attributes)


class Tracing:
    """The spans of one process. ``aclose`` sends what waits."""

    def __init__(self, provider: "TracerProvider", share: float) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("imgsearch")
        self._share = share

    @classmethod
    def of(cls, settings: Settings, service: str) -> Self | None:
        """None where the settings name nobody who takes them."""
        if settings.otlp_endpoint is None:
            return None
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        about = {
            "service.name": f"imgsearch-{service}",
            "deployment.environment.name": settings.environment,
        }
        # Which are begun is decided before, so the sampler takes them all.
        provider = TracerProvider(sampler=ALWAYS_ON, resource=Resource.create(about), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(f"{str(settings.otlp_endpoint).rstrip('/')}/v1/traces", timeout=EXPORT_S)
        provider.add_span_processor(
            BatchSpanProcessor(exporter, _QUEUE, _EVERY_MS, _BATCH)  # in a thread of its own
        )
        return cls(provider, settings.trace_share)

    def request(self, method: str, traceparent: str | None) -> Traced | None:
        """The span of a person's request, where it is one of the share."""
        if random.random() >= self._share:
            return None
        return self._begun(method, _parent(traceparent), {"http.request.method": method})

    def call(self, method: str, traceparent: str | None) -> Traced | None:
        """The span of a call ``/package.Service/Method``, where its caller traces."""
        from opentelemetry.trace import get_current_span

        parent = _parent(traceparent)
        if parent is None or not get_current_span(parent).get_span_context().trace_flags.sampled:
            return None
        service, _, name = method[1:].partition("/")
        about = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}
        return self._begun(method[1:], parent, about)

    def _begun(self, name: str, parent: "Context | None", about: dict[str, str]) -> Traced:
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind

        parent = Context() if parent is None else parent
        span = self._tracer.start_span(name, parent, SpanKind.SERVER, about)
        traced = Traced(self._tracer, span)
        traced.note(request_id=telemetry.request_id.get())
        return traced

    async def aclose(self) -> None:
        """Send what waits, for ``FLUSH_S`` at most."""
        closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, FLUSH_S)


def _fail(span: "Span", error: str) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", error)
    span.set_status(StatusCode.ERROR)


def _parent(traceparent: str | None) -> "Context | None":
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if traceparent is None or len(traceparent) != _TRACEPARENT_CHARS:
        return None
    return TraceContextTextMapPropagator().extract({TRACEPARENT: traceparent}, Context())
