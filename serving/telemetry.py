"""What a process leaves behind: a log of JSON lines, each with the id of its request, and figures.

A request keeps its id through every service: the front sends it along as ``x-request-id``.
"""

import json
import logging
import random
import re
import shutil
import sys
import threading
import time
from bisect import bisect_left
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Iterable
from contextvars import ContextVar
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from typing import TextIO

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    start_http_server,
)
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from serving.errors import BadSettings
from serving.redaction import Redaction

REQUEST_ID = "x-request-id"
VERSION = version("imgsearch")

request_id: ContextVar[str] = ContextVar("request_id", default="")
# What this process answers with now, as it knows it: generation, embedder, detector. Whatever goes wrong
# unexpectedly is told with them.
versions: dict[str, str] = {}
# The id of the API key that asks; empty where none was needed.
caller: ContextVar[str] = ContextVar("caller", default="")

_OUTSIDE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode
# Log records of this process that somebody may have to look at, by level.
_records = Counts({"warning": 0, "error": 0, "critical": 0})
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def accepted_id(outside: str | None) -> str:
    """The caller's id where it is a plain short word (it ends up in logs), a new one otherwise."""
    if outside is not None and _OUTSIDE_ID.fullmatch(outside):
        return outside
    return f"{random.getrandbits(128):032x}"  # no secret, so the kernel need not be asked for it


class JsonLines(logging.Formatter):
    """A record as one JSON object: at (seconds since 1970), level, logger, message, and more.

    Of a request its request_id and, where it needed one, the id of its API key. What a call logs as
    ``extra={"fields": {...}}`` is added as it is. An exception comes with ``versions``. From a warning on,
    words may be a library's, so they go through ``redaction``.
    """

    redaction = Redaction()

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.levelno >= logging.WARNING:
            line["message"] = self.redaction(record.getMessage())
        if found := request_id.get():
            line["request_id"] = found
        if key := caller.get():
            line["key"] = key
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line |= versions | {"exception": self.redaction(self.formatException(record.exc_info))}
        return _encode(line)


class LinesHandler(logging.Handler):
    """Writes records to ``stream``: a warning, and what came before it, at once; others by and by.

    A line of each failure, each written by itself, would hold up what goes well. Up to
    ``_WAIT_S`` of lines are lost where a process is killed outright.
    """

    _WAIT_S = 0.1

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: list[str] = []
        self._some = threading.Event()
        self._writer: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.append(self.format(record))
            if record.levelno >= logging.WARNING:
                _records[record.levelname.lower()] += 1
                self.flush()
            elif not self._some.is_set():
                self._some.set()
                self._start_writer()
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        with self.lock or threading.Lock():
            lines, self._lines = self._lines, []
            if lines:
                self._stream.write("\n".join(lines) + "\n")
                self._stream.flush()

    def _start_writer(self) -> None:
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_by_and_by, name="log", daemon=True)
            self._writer.start()

    def _write_by_and_by(self) -> None:
        while True:
            self._some.wait()
            time.sleep(self._WAIT_S)
            self._some.clear()
            self.flush()


def log_json(stream: TextIO = sys.stderr, level: int = logging.INFO) -> JsonLines:
    """Send every log record of this process to ``stream`` as JSON lines."""
    handler, lines = LinesHandler(stream), JsonLines()
    handler.setFormatter(lines)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # It tells of every kind of processor that it was not built for.
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    return lines


class CallFigures(Collector):
    """How many calls were answered, and in what time: counted by one thread, without a lock.

    The library's own counters took one part in twenty of the event loop's time (by a sampling profiler).
    """

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], int] = defaultdict(int)
        # By method, how many took no longer than each of _SECONDS but longer than the one before, and longer.
        self._times: dict[str, list[int]] = defaultdict(lambda: [0] * (len(_SECONDS) + 1))
        self._seconds: dict[str, float] = defaultdict(float)

    def count(self, method: str, status: str, took_s: float) -> None:
        self._calls[method, status] += 1
        self._times[method][bisect_left(_SECONDS, took_s)] += 1
        self._seconds[method] += took_s

    def collect(self) -> Iterable[Metric]:
        calls = CounterMetricFamily(
            "imgsearch_rpc_calls", "Calls answered, by status.", labels=("method", "status")
        )
        for labels, count in list(self._calls.items()):
            calls.add_metric(labels, count)
        seconds = HistogramMetricFamily(
            "imgsearch_rpc_seconds", "Time from a request to its reply.", labels=("method",)
        )
        for method, times in list(self._times.items()):
            names = [*map(floatToGoString, _SECONDS), "+Inf"]
            buckets = list(zip(names, accumulate(times), strict=True))
            seconds.add_metric((method,), buckets, self._seconds[method])
        return calls, seconds


class RecordFigures(Collector):
    """How much this process had to warn of: one that does so again and again is not well."""

    def collect(self) -> Iterable[Metric]:
        records = CounterMetricFamily(
            "imgsearch_log_records", "Records of the log, from a warning on.", labels=("level",)
        )
        for level, count in list(_records.items()):
            records.add_metric((level,), count)
        return [records]


def process_registry() -> CollectorRegistry:
    """A registry that says what the process takes and warned of, and which release it is."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(RecordFigures())
    Info("imgsearch_build", "Which release this is.", registry=registry).info({"version": VERSION})
    return registry


def show(registry: CollectorRegistry, host: str, port: int) -> None:
    """What ``registry`` counts, to Prometheus. Raises ``BadSettings`` where it cannot listen."""
    try:
        start_http_server(port, host, registry)
    except OSError as error:
        raise BadSettings(f"cannot listen on {host}:{port} for metrics: {error.strerror}") from None


class RpcMetrics:
    """The figures of one gRPC server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = process_registry()
        self.calls = CallFigures()
        self.registry.register(self.calls)
        self.in_work = Gauge("imgsearch_rpc_in_work", "Calls in work now.", registry=self.registry)
        self.refused = Counter(
            "imgsearch_rpc_refused", "Calls refused because of too many in work.", registry=self.registry
        )


class FolderMetrics:
    """How full the disk is on which a service keeps its copies of generations and models."""

    def __init__(self, registry: CollectorRegistry, folder: Path) -> None:
        size = Gauge("imgsearch_home_size_bytes", "Of the disk of the service's folder.", registry=registry)
        free = Gauge("imgsearch_home_free_bytes", "What of it can be written.", registry=registry)
        size.set_function(lambda: shutil.disk_usage(_there(folder)).total)
        free.set_function(lambda: shutil.disk_usage(_there(folder)).free)


def _there(folder: Path) -> Path:
    """It, or the nearest folder above that there is: on that disk it will be."""
    return next(one for one in (folder, *folder.parents) if one.exists())


class PassMetrics:
    """How pictures of several calls go through a network together, in the registry of their server."""

    def __init__(self, rpc: RpcMetrics) -> None:
        registry = rpc.registry
        self.refused = rpc.refused
        self.pictures = Histogram(
            "imgsearch_pass_pictures",
            "Pictures of a forward pass.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=registry,
        )
        self.waited = Histogram(
            "imgsearch_pass_wait_seconds",
            "Time from a picture opened to the begin of its pass.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.waiting = Gauge("imgsearch_pass_waiting", "Pictures that wait for a pass.", registry=registry)
        self.placed = Gauge(
            "imgsearch_pass_placed", "Pictures of all calls in work, opened or not.", registry=registry
        )


class IndexMetrics:
    """What the search service serves, beside its calls."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.created = Gauge(
            "imgsearch_generation_created_timestamp_seconds",
            "When the served generation was made, seconds since 1970; 0 while there is none.",
            registry=registry,
        )
        self.stale = Gauge(
            "imgsearch_generation_stale",
            "1 while the newest generation cannot be served, the pointer cannot be read, or there is none.",
            registry=registry,
        )
        self.generation = Info("imgsearch_generation", "Which generation is served.", registry=registry)
        self.failure = Info(
            "imgsearch_generation_failure",
            "The newest generation and why it is not served; both empty while it is.",
            registry=registry,
        )
        self.products = Gauge("imgsearch_generation_products", "Products served.", registry=registry)
        self.rows = Gauge("imgsearch_generation_rows", "Vectors served.", registry=registry)
        self.swaps = Counter("imgsearch_generation_swaps", "Generations taken into use.", registry=registry)
        self.failures = Counter(
            "imgsearch_generation_failures", "Loads of a generation that failed.", registry=registry
        )


class StockMetrics:
    """How well the search service knows what is in stock."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.read = Gauge(
            "imgsearch_stock_read_timestamp_seconds",
            "When the stock was last read from Redis, seconds since 1970; 0 while it never was.",
            registry=registry,
        )
        self.compared = Gauge(
            "imgsearch_stock_compared_timestamp_seconds",
            "When the feed last held the stock against the catalogue, seconds since 1970; 0 while unknown.",
            registry=registry,
        )
        self.sold_out = Gauge(
            "imgsearch_stock_sold_out",
            "Products of the newest generation that are sold out.",
            registry=registry,
        )


class ModelMetrics:
    """Which models a service answers with, beside its calls."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.loaded = Gauge("imgsearch_models_loaded", "Versions of the model in memory.", registry=registry)
        self.swaps = Counter("imgsearch_model_swaps", "Live versions taken into use.", registry=registry)
        self.failures = Counter(
            "imgsearch_model_failures", "Live versions that could not be taken into use.", registry=registry
        )
