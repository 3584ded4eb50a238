"""The HTTP application: middleware folded round routes, and the backends opened and closed with it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache

import orjson
from fastapi import APIRouter, FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.formparsers import MultiPartParser
from starlette.middleware import Middleware
from starlette.responses import Response

from serving.api import description, errors, etag, pages, routes
from serving.api.answers import Answers
from serving.api.backends import Backends
from serving.api.identity import Gate, Identity, guards_v1
from serving.api.limits import Admission, BodyLimit
from serving.api.telemetry import Metrics, Telemetry
from serving.errors import Unavailable
from serving.rpc.client import Caller
from serving.settings import Settings
from serving.tracing import Tracing

# How long a phone on a slow line may take to send its picture.
BODY_TIMEOUT_S = 60.0

# A shopper's picture stays in memory: it does not belong on a disk, and a container may have none to write.
MultiPartParser.spool_max_size = 2**40

_probes = APIRouter(tags=["operation"])


@_probes.get("/healthz", operation_id="healthz", summary="The process answers")
async def healthz() -> dict[str, str]:
    return {"status": "alive"}


@_probes.get(
    "/readyz",
    operation_id="readyz",
    summary="A generation is served: searches can be answered",
    responses=description.errors(500, 503, 504),
)
async def readyz(request: Request, backends: routes.BackendsOf, clock: routes.ClockOf) -> dict[str, str]:
    if request.app.state.draining:
        raise Unavailable("this process was told to stop; it takes no new callers")
    return {"status": "ready", "generation": (await backends.served(clock)).generation}


async def metrics(request: Request) -> Response:
    counted: Metrics = request.app.state.metrics
    return Response(generate_latest(counted.registry), media_type=CONTENT_TYPE_LATEST)


@_probes.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    content, tag = request.app.state.description()
    unchanged = etag.unchanged(request.headers, tag)
    return unchanged or Response(content, media_type="application/json", headers=etag.headers(tag))


def create_app(settings: Settings) -> FastAPI:
    """An application on ``settings``. Its services need not be up: it says so until they are.

    Raises ``BadSettings``.
    """
    counted = Metrics()
    traces = Tracing.of(settings, "api")
    caller = Caller.of(settings)
    gate = None if settings.is_open else Gate(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if gate is not None:
                await stack.enter_async_context(gate.opened())
            backends = await stack.enter_async_context(Backends.open(settings, caller))
            app.state.backends = backends
            app.state.answers = Answers(backends, settings.result_ttl_s)
            counted.watch(backends)
            yield
        if traces is not None:
            await traces.aclose()

    app = FastAPI(
        title="imgsearch",
        summary="Photograph a garment, find it in the shop.",
        version="1",
        openapi_url=None,  # is a route of ours, whose bytes are made once
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        middleware=[  # outermost first
            Middleware(pages.HeadAsGet),
            Middleware(Telemetry, metrics=counted, traces=traces),
            Middleware(pages.SafeHeaders),
            *([] if gate is None else [Middleware(Identity, gate=gate, scope="search", guards=guards_v1)]),
            Middleware(BodyLimit, max_picture_bytes=settings.max_picture_bytes, timeout_s=BODY_TIMEOUT_S),
            Middleware(Admission, max_concurrency=settings.max_concurrency),
        ],
    )
    app.state.settings = settings
    app.state.metrics = counted
    app.state.draining = False  # until the process is told to stop
    app.state.plain_paths = frozenset(
        path
        for router in (routes.router, _probes, pages.router)
        for route in router.routes
        if "{" not in (path := getattr(route, "path", "{"))
    )
    errors.install(app)
    app.include_router(routes.router)
    app.include_router(_probes)
    if settings.is_open:  # else whoever reaches the front would know its business: ``--metrics-port``
        app.add_api_route("/metrics", metrics, include_in_schema=False)
    pages.install(app)
    app.openapi = cache(lambda: description.described(app, settings))  # type: ignore[method-assign]
    app.state.description = cache(lambda: _tagged(orjson.dumps(app.openapi())))
    return app


def _tagged(content: bytes) -> tuple[bytes, str]:
    return content, etag.strong(content)
