"""The HTTP application: middleware folded round routes, and the backends opened and closed with it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.formparsers import MultiPartParser
from starlette.middleware import Middleware
from starlette.responses import Response

from serving.api import errors, pages, routes
from serving.api.answers import Answers
from serving.api.backends import Backends
from serving.api.limits import Admission, BodyLimit, Pace
from serving.api.telemetry import Metrics, Telemetry
from serving.errors import Unavailable
from serving.settings import Settings
from serving.tracing import Tracing

# How long a phone on a slow line may take to send its picture.
BODY_TIMEOUT_S = 60.0

# A shopper's picture stays in memory: it does not belong on a disk, and a container may have none to write.
MultiPartParser.spool_max_size = 2**40

_probes = APIRouter(tags=["operation"])


@_probes.get("/healthz", summary="The process answers")
async def healthz() -> dict[str, str]:
    return {"status": "alive"}


@_probes.get("/readyz", summary="A generation is served: searches can be answered")
async def readyz(request: Request, backends: routes.BackendsOf, clock: routes.ClockOf) -> dict[str, str]:
    if request.app.state.draining:
        raise Unavailable("this process was told to stop; it takes no new callers")
    return {"status": "ready", "generation": (await backends.served(clock)).generation}


@_probes.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    counted: Metrics = request.app.state.metrics
    return Response(generate_latest(counted.registry), media_type=CONTENT_TYPE_LATEST)


def create_app(settings: Settings) -> FastAPI:
    """An application on ``settings``. Its services need not be up: it says so until they are."""
    counted = Metrics()
    traces = Tracing.of(settings, "api")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with Backends.open(settings) as backends:
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
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        middleware=[  # outermost first
            Middleware(Telemetry, metrics=counted, traces=traces),
            Middleware(pages.SafeHeaders),
            Middleware(Admission, max_concurrency=settings.max_concurrency),
            Middleware(BodyLimit, max_picture_bytes=settings.max_picture_bytes, timeout_s=BODY_TIMEOUT_S),
            Middleware(Pace, target_s=settings.search_target_s, most=settings.max_concurrency),
        ],
    )
    app.state.settings = settings
    app.state.metrics = counted
    app.state.draining = False  # until the process is told to stop
    errors.install(app)
    app.include_router(routes.router)
    app.include_router(_probes)
    pages.install(app)
    return app
