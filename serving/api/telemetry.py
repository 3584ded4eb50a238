"""What a request leaves behind: an id, a line in the log, counts and times. Never its bytes."""

import logging
import time
from collections.abc import Iterable, Mapping

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import tracing
from serving.api.answer import Answered
from serving.api.backends import Backends
from serving.api.errors import ERROR_CODE, unknown
from serving.api.schemas import Origin
from serving.telemetry import REQUEST_ID, accepted_id, process_registry, request_id

access = logging.getLogger("serving.api.access")

# A label takes no word that a caller can make up.
_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)


class Metrics:
    """The API's own Prometheus registry, one per application."""

    def __init__(self) -> None:
        self.registry = process_registry()
        self.requests = Counter(
            "imgsearch_api_requests",
            "Requests answered, by route template.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "imgsearch_api_request_seconds",
            "Time from a request's first byte to the last of its answer.",
            ("route",),
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.stage_seconds = Histogram(
            "imgsearch_api_stage_seconds",
            "Time of each stage of a search.",
            ("stage",),
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.features = Counter(
            "imgsearch_api_features",
            "Searches by where their vectors came from: stored, computed, or the index itself.",
            ("source",),
            registry=self.registry,
        )
        self.answers = Counter(
            "imgsearch_api_answers",
            "Searches by where the answer came from: made, kept from before, or shared with one under way.",
            ("origin",),
            registry=self.registry,
        )
        self.errors = Counter(
            "imgsearch_api_errors",
            "Requests answered with an error, by its code.",
            ("code",),
            registry=self.registry,
        )
        self.in_work = Gauge(
            "imgsearch_api_requests_in_work", "Requests being answered now.", registry=self.registry
        )

    def watch(self, backends: Backends) -> None:
        """Tell of ``backends`` too. Once an application."""
        self.registry.register(Behind(backends))

    def searched(self, answer: Answered, origin: Origin, timings_ms: Mapping[str, float]) -> None:
        """Counts one search; where it was made for it, by where its vectors came from, and each stage."""
        self.answers.labels(origin).inc()
        tracing.note(origin=origin, generation=answer.generation, features=answer.features)
        if origin == "made":
            self.features.labels(answer.features).inc()
            for stage, took_ms in timings_ms.items():
                self.stage_seconds.labels(stage).observe(took_ms / 1000)


class Behind(Collector):
    """What the front saw of what it stands on, read from ``backends`` when Prometheus asks."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends

    def collect(self) -> Iterable[Metric]:
        seen = self._backends
        yield CounterMetricFamily(
            "imgsearch_api_empty_answers", "Searches made that found nothing.", seen.empty_answers
        )
        yield CounterMetricFamily(
            "imgsearch_api_short_answers",
            "Searches made that found less than was asked for, though more fits.",
            seen.short_answers,
        )
        reads = CounterMetricFamily(
            "imgsearch_api_feature_reads",
            "Looks into the feature store, by what they found.",
            labels=("found",),
        )
        for found, count in seen.feature_reads.items():
            reads.add_metric((found,), count)
        yield reads
        yield GaugeMetricFamily(
            "imgsearch_api_generation_created_timestamp_seconds",
            "When the generation that the front saw last was made, seconds since 1970; 0 before the first.",
            seen.lately.created_at,
        )
        what = {
            "generation": seen.lately.generation,
            "embedder": seen.lately.embedder_version,
            "detector": seen.lately.detector_version,
        }
        yield InfoMetricFamily("imgsearch_api_generation", "The generation that the front saw last.", what)


class Telemetry:
    """The outermost middleware: gives the request its id, answers for unknown errors, counts and logs.

    A caller's own ``X-Request-Id`` is kept where ``accepted_id`` takes it, so that one id can follow a
    request through several services.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, traces: tracing.Tracing | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        number = accepted_id(headers.get(REQUEST_ID))
        request_id.set(number)  # every request runs in a context of its own
        method = scope["method"] if scope["method"] in _METHODS else "other"
        traced = None
        if self._traces is not None:
            traced = self._traces.request(method, headers.get(tracing.TRACEPARENT))
            tracing.current.set(traced)
        status = 0  # until the answer starts
        start_s = time.monotonic()

        async def numbered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", number.encode())]
                if scope["app"].state.draining:  # its next request finds another front
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        with self._metrics.in_work.track_inprogress():
            try:
                await self._app(scope, receive, numbered)
            except Exception as error:
                if status:  # half an answer is out; uvicorn logs, and closes the connection
                    raise
                await unknown(error)(scope, receive, numbered)
            finally:
                took_s = time.monotonic() - start_s
                route = _route(scope)
                self._metrics.requests.labels(method, route, str(status)).inc()
                if code := scope.get(ERROR_CODE):
                    self._metrics.errors.labels(code).inc()
                self._metrics.request_seconds.labels(route).observe(took_s)
                if traced is not None:
                    traced.answered(method, route, status)
                access.info(
                    "%s %s %d",
                    scope["method"],
                    scope["path"],
                    status,
                    extra={"fields": {"took_ms": round(took_s * 1000, 1)}},
                )


def _route(scope: Scope) -> str:
    """The template that a request was for; also of one that was refused before it was looked for."""
    found: str | None = getattr(scope.get("route"), "path_format", None)
    if found is not None:
        return found
    if scope["path"] in getattr(scope["app"].state, "plain_paths", ()):
        return str(scope["path"])
    return scope.get("root_path") or "unmatched"  # a folder of files
