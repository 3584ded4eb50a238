"""The routes under ``/v1/``: read what was asked, run the query, answer."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Path, Query, Request, Response

from serving.api import query, readiness
from serving.api.answer import Answered, whole
from serving.api.answers import Answers
from serving.api.backends import Backends
from serving.api.clock import Clock, server_timing
from serving.api.schemas import (
    COLLAPSE,
    DEFAULT_K,
    Answer,
    BoxFields,
    ErrorAnswer,
    Filters,
    PictureForm,
    Product,
    ProductAnswer,
    SearchBody,
    Status,
)
from serving.api.stock import looked_after
from serving.api.telemetry import Metrics
from serving.errors import BadInput, NotFound
from serving.index.collapse import Collapse
from serving.proto import search_pb2
from serving.settings import Settings

_ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorAnswer, "description": "The request cannot be answered; the message says why."},
    501: {"model": ErrorAnswer, "description": "`text_search_off`: the embedder reads no text."},
    "5XX": {"model": ErrorAnswer, "description": "Something behind the API is not there, or slow."},
}

router = APIRouter(prefix="/v1", tags=["search"], responses=_ERRORS)


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _backends(request: Request) -> Backends:
    backends: Backends = request.app.state.backends
    return backends


async def _clock(request: Request) -> Clock:
    return Clock(request.app.state.settings.request_timeout_s)


SettingsOf = Annotated[Settings, Depends(_settings)]
BackendsOf = Annotated[Backends, Depends(_backends)]
ClockOf = Annotated[Clock, Depends(_clock)]
ProductIdOf = Annotated[str, Path(min_length=1, max_length=256)]


def _wanted(
    filters: Filters, k: int, box: BoxFields | None, collapse: Collapse | None, settings: Settings
) -> query.Wanted:
    """Holds a request to the server's limits. Raises ``BadInput``."""
    if k > settings.max_k:
        raise BadInput(f"k is {k}; at most {settings.max_k}")
    for name in ("categories", "brands", "colours"):
        number = len(getattr(filters, name))
        if number > settings.max_filter_values:
            raise BadInput(f"{name} has {number} values; at most {settings.max_filter_values}")
    wanted = search_pb2.Filter(**filters.model_dump(exclude_none=True))
    return query.Wanted(
        filter=wanted, k=k, box=None if box is None else box.box(), collapse=collapse or settings.collapse
    )


async def _answer(
    request: Request,
    asked: tuple[str, str | bytes],
    wanted: query.Wanted,
    make: Callable[..., Awaitable[Answered]],
) -> Response:
    """What ``make`` makes of what was ``asked`` (its kind, and what it is), or what is known of it."""
    state = request.app.state
    clock = Clock(state.settings.request_timeout_s)

    def made() -> Awaitable[Answered]:
        return make(state.backends, asked[1], wanted, clock)

    answers: Answers = state.answers
    answer, origin = await answers.answer(asked, wanted, made, clock)
    answer = await looked_after(answer, wanted.filter.in_stock_only, state.backends)
    timings_ms = clock.timings_ms
    metrics: Metrics = state.metrics
    metrics.searched(answer, origin, timings_ms)
    return Response(
        whole(answer.body, origin == "kept", timings_ms),
        media_type="application/json",
        headers={"Server-Timing": server_timing(timings_ms)},
    )


# Searches take the request as it is: what FastAPI calls for a route of several dependencies takes longer than
# to find a product's neighbours.


@router.post(
    "/search",
    summary="Search by a picture's address, a product, a picture as base64 or words",
    response_model=Answer,
)
async def search(request: Request, body: SearchBody) -> Response:
    wanted = _wanted(body.filters, body.k, body.box, body.collapse, request.app.state.settings)
    if body.product_id is not None:
        return await _answer(request, ("product", body.product_id), wanted, query.by_product)
    if body.image_url is not None:
        return await _answer(request, ("url", body.image_url), wanted, query.by_url)
    if body.text is not None:
        return await _answer(request, ("text", body.text), wanted, query.by_text)
    return await _answer(request, ("picture", body.image_base64 or b""), wanted, query.by_picture)


@router.post("/search/image", summary="Search by a picture", response_model=Answer)
async def search_image(
    request: Request, form: Annotated[PictureForm, Form(media_type="multipart/form-data")]
) -> Response:
    wanted = _wanted(form.filters, form.k, form.box, form.collapse, request.app.state.settings)
    return await _answer(request, ("picture", await form.image.read()), wanted, query.by_picture)


@router.get("/products/{product_id}", summary="A product of the served generation")
async def product(product_id: ProductIdOf, backends: BackendsOf, clock: ClockOf) -> ProductAnswer:
    reply = await backends.products([product_id], clock)
    if not reply.products:
        raise NotFound(f"product {product_id!r} is not in the index")
    return ProductAnswer(product=Product.of(reply.products[0]), generation=reply.generation)


@router.get(
    "/products/{product_id}/similar", summary="Products that look like this one", response_model=Answer
)
async def similar(
    request: Request,
    product_id: ProductIdOf,
    k: Annotated[int, Query(ge=1)] = DEFAULT_K,
    collapse: Annotated[Collapse | None, Query(description=COLLAPSE)] = None,
) -> Response:
    wanted = _wanted(Filters(), k, None, collapse, request.app.state.settings)
    return await _answer(request, ("product", product_id), wanted, query.by_product)


@router.get("/status", summary="What is served now, and what the filters can be set to")
async def status(settings: SettingsOf, backends: BackendsOf, clock: ClockOf) -> Status:
    return await readiness.status(backends, settings, clock)
