"""What each process of the search platform is made of, from its settings to its last reply.

Every function listens, calls ``ready`` with ``host:port``, and returns after SIGTERM or SIGINT, when what was
in work is done. Heavy modules are imported by the process that needs them.
"""

import asyncio
import gc
import logging
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor

from serving.errors import BadSettings
from serving.location import open_store
from serving.rpc.server import Server, until_told_to_stop
from serving.settings import Settings
from serving.telemetry import (
    FolderMetrics,
    IndexMetrics,
    ModelMetrics,
    PassMetrics,
    RpcMetrics,
    StockMetrics,
    show,
)
from serving.tracing import Tracing

Ready = Callable[[str], None]

log = logging.getLogger(__name__)


async def search(settings: Settings, port: int, metrics_port: int | None, ready: Ready) -> None:
    """The search service. Ready for searches, as its health says, from the first generation on."""
    if settings.search_backend == "milvus":
        await _search_in_milvus(settings, port, metrics_port, ready)
    else:
        await _search_in_memory(settings, port, metrics_port, ready)


async def _search_in_memory(settings: Settings, port: int, metrics_port: int | None, ready: Ready) -> None:
    import faiss

    from serving.cache.stock_log import StockLog
    from serving.index.holder import Holder
    from serving.proto import search_pb2, search_pb2_grpc
    from serving.services.in_memory import InMemory
    from serving.services.search import SearchServicer
    from serving.services.stock import Stock

    metrics = RpcMetrics()
    server = Server(settings, metrics, settings.max_searches, Tracing.of(settings, "search"))
    url = settings.redis_url
    stock_log = None if url is None else StockLog(url.get_secret_value(), settings.environment)
    stock = Stock(stock_log, StockMetrics(metrics.registry))
    holder = Holder(
        open_store(settings),
        settings.environment,
        IndexMetrics(metrics.registry),
        on_swap=lambda: server.set_ready(True),
        prepare=lambda generation: InMemory(generation, stock.shelf(generation)),
    )
    # A core a search: threads inside FAISS would fight over the same cores. How many it may use is a
    # property of each thread that calls it.
    faiss.omp_set_num_threads(1)
    with ThreadPoolExecutor(_cores(), "search", partial(faiss.omp_set_num_threads, 1)) as executor:
        server.add(
            search_pb2.DESCRIPTOR.services_by_name["Search"],
            search_pb2_grpc.add_SearchServicer_to_server,
            SearchServicer(holder, settings, executor),
        )
        address = await _listen(server, settings, port, metrics, metrics_port)
        await stock.look()  # so that the first generation knows it
        await holder.look()
        # What is there by now stays, and need not be looked through after each swap: that stops all calls
        # for as long as fifty searches take. (Arrow imports pandas with the first column it reads.)
        gc.freeze()
        ready(address)
        following = _both(holder.follow(settings.poll_interval_s), stock.follow(settings.stock_poll_s))
        await _until_stopped(server, following)


async def _search_in_milvus(settings: Settings, port: int, metrics_port: int | None, ready: Ready) -> None:
    from serving.milvus.client import client_of
    from serving.milvus.holder import Holder
    from serving.proto import search_pb2, search_pb2_grpc
    from serving.services.search import SearchServicer

    metrics = RpcMetrics()
    server = Server(settings, metrics, traces=Tracing.of(settings, "search"))
    client = client_of(settings)
    holder = Holder(
        client, settings.environment, IndexMetrics(metrics.registry), on_swap=lambda: server.set_ready(True)
    )
    # Its searches wait for another machine, so a thread for each call that is let in.
    with closing(client), ThreadPoolExecutor(settings.max_concurrency, "search") as executor:
        server.add(
            search_pb2.DESCRIPTOR.services_by_name["Search"],
            search_pb2_grpc.add_SearchServicer_to_server,
            SearchServicer(holder, settings, executor),
        )
        address = await _listen(server, settings, port, metrics, metrics_port)
        await holder.look()
        ready(address)
        await _until_stopped(server, holder.follow(settings.poll_interval_s))


async def detect(settings: Settings, port: int, metrics_port: int | None, ready: Ready) -> None:
    """The detect service, with the live detector."""
    from serving.models import detector
    from serving.proto import detect_pb2, detect_pb2_grpc
    from serving.services.detect import DetectServicer

    service = detect_pb2.DESCRIPTOR.services_by_name["Detect"]
    register = detect_pb2_grpc.add_DetectServicer_to_server
    kind = _ModelService(detector.NAME, detector.Detector, service, register, DetectServicer)
    await _serve_models(kind, settings, port, metrics_port, ready)


async def embed(settings: Settings, port: int, metrics_port: int | None, ready: Ready) -> None:
    """The embed service, with the live embedder and those that are asked for."""
    from serving.models import embedder
    from serving.proto import embed_pb2, embed_pb2_grpc
    from serving.services.embed import EmbedServicer

    service = embed_pb2.DESCRIPTOR.services_by_name["Embed"]
    register = embed_pb2_grpc.add_EmbedServicer_to_server
    kind = _ModelService(embedder.NAME, embedder.Embedder, service, register, EmbedServicer)
    await _serve_models(kind, settings, port, metrics_port, ready)


@dataclass(frozen=True)
class _ModelService:
    """What differs between the services that run a network."""

    name: str  # of the model
    make: Callable[..., Any]  # a bundle to the model
    service: ServiceDescriptor
    register: Callable[[Any, Any], None]
    servicer: Callable[..., object]  # of holder, settings, executor and passes


async def _serve_models(
    kind: _ModelService, settings: Settings, port: int, metrics_port: int | None, ready: Ready
) -> None:
    from serving.models import runtime
    from serving.models.holder import ModelHolder
    from serving.services.passes import Bounds, Passes

    runtime.tune(settings.torch_threads)
    metrics = RpcMetrics()
    server = Server(settings, metrics, traces=Tracing.of(settings, kind.service.name.lower()))
    holder = ModelHolder(open_store(settings), kind.name, kind.make, ModelMetrics(metrics.registry))
    await holder.start()
    bounds = Bounds.of(settings)
    with (
        ThreadPoolExecutor(_cores(), "open") as opening,
        ThreadPoolExecutor(bounds.at_once, kind.name) as running,
    ):
        passes: Passes[Any] = Passes(bounds, running, PassMetrics(metrics))
        server.add(kind.service, kind.register, kind.servicer(holder, settings, opening, passes))
        address = await _listen(server, settings, port, metrics, metrics_port)
        await server.set_ready(True)
        ready(address)
        await _until_stopped(server, holder.follow(settings.poll_interval_s))


async def api(settings: Settings, port: int, metrics_port: int | None, ready: Ready) -> None:
    """The HTTP front, and on a port of its own what only administrators may do."""
    from serving.api.app import create_app
    from serving.api.front import Front

    _say_if_open(settings)
    public = create_app(settings)
    fronts = [Front(public, settings, port, ready)]
    if metrics_port is not None:
        show(public.state.metrics.registry, settings.host, metrics_port)
    if settings.admin_port is not None:
        from serving.api.admin import create_admin

        admin = create_admin(settings, public.state.metrics)
        fronts.append(Front(admin, settings, settings.admin_port, lambda _: None))
    serving = [asyncio.create_task(front.serve(sockets=[front.listener])) for front in fronts]
    stop = asyncio.create_task(until_told_to_stop())
    await asyncio.wait({stop, *serving}, return_when=asyncio.FIRST_COMPLETED)
    for front in fronts:
        front.app.state.draining = True
    await asyncio.wait(serving, timeout=settings.drain_pause_s, return_when=asyncio.FIRST_COMPLETED)
    for front in fronts:
        front.should_exit = True
    await asyncio.gather(*serving)


def _say_if_open(settings: Settings) -> None:
    if settings.is_open:
        log.warning("open to everybody who reaches %s; IMGSEARCH_OPEN=false asks for API keys", settings.host)


async def _listen(
    server: Server, settings: Settings, port: int, metrics: RpcMetrics, metrics_port: int | None
) -> str:
    _say_if_open(settings)
    address = await server.start(port)
    FolderMetrics(metrics.registry, settings.home.absolute())
    try:
        if metrics_port is not None:
            show(metrics.registry, settings.host, metrics_port)
    except BadSettings:
        await server.drain()
        raise
    return address


async def _until_stopped(server: Server, follow: Coroutine[Any, Any, None]) -> None:
    """Run ``follow`` until the process is told to stop, then drain."""
    following = asyncio.create_task(follow)
    stop = asyncio.create_task(until_told_to_stop())
    await asyncio.wait({stop, following}, return_when=asyncio.FIRST_COMPLETED)
    await server.drain()
    if following.done():
        await following  # raises what ended it: without it nothing new would ever be taken again
    following.cancel()


async def _both(one: Coroutine[Any, Any, None], other: Coroutine[Any, Any, None]) -> None:
    await asyncio.gather(one, other)


def _cores() -> int:
    """Cores this process may use, which in a container are fewer than the machine's."""
    return len(os.sched_getaffinity(0))
