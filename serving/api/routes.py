"""The routes under ``/v1/``: read what was asked, run the query, answer."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Path, Query, Request, Response

from serving.api import query, readiness
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


def _sent(answer: Answer, request: Request, response: Response) -> Answer:
    response.headers["Server-Timing"] = server_timing(answer.timings_ms)
    metrics: Metrics = request.app.state.metrics
    metrics.searched(answer.features, answer.timings_ms)
    return answer


@router.post("/search", summary="Search by a picture's address, a product, a picture as base64 or words")
async def search(
    body: SearchBody,
    request: Request,
    response: Response,
    settings: SettingsOf,
    backends: BackendsOf,
    clock: ClockOf,
) -> Answer:
    wanted = _wanted(body.filters, body.k, body.box, body.collapse, settings)
    if body.product_id is not None:
        answer = await query.by_product(backends, body.product_id, wanted, clock)
    elif body.image_url is not None:
        answer = await query.by_url(backends, body.image_url, wanted, clock)
    elif body.text is not None:
        answer = await query.by_text(backends, body.text, wanted, clock)
    else:
        answer = await query.by_picture(backends, body.image_base64 or b"", wanted, clock)
    return _sent(answer, request, response)


@router.post("/search/image", summary="Search by a picture")
async def search_image(
    form: Annotated[PictureForm, Form(media_type="multipart/form-data")],
    request: Request,
    response: Response,
    settings: SettingsOf,
    backends: BackendsOf,
    clock: ClockOf,
) -> Answer:
    wanted = _wanted(form.filters, form.k, form.box, form.collapse, settings)
    answer = await query.by_picture(backends, await form.image.read(), wanted, clock)
    return _sent(answer, request, response)


@router.get("/products/{product_id}", summary="A product of the served generation")
async def product(product_id: ProductIdOf, backends: BackendsOf, clock: ClockOf) -> ProductAnswer:
    reply = await backends.products([product_id], clock)
    if not reply.products:
        raise NotFound(f"product {product_id!r} is not in the index")
    return ProductAnswer(product=Product.of(reply.products[0]), generation=reply.generation)


@router.get("/products/{product_id}/similar", summary="Products that look like this one")
async def similar(
    product_id: ProductIdOf,
    request: Request,
    response: Response,
    settings: SettingsOf,
    backends: BackendsOf,
    clock: ClockOf,
    k: Annotated[int, Query(ge=1)] = DEFAULT_K,
    collapse: Annotated[Collapse | None, Query(description=COLLAPSE)] = None,
) -> Answer:
    wanted = _wanted(Filters(), k, None, collapse, settings)
    return _sent(await query.by_product(backends, product_id, wanted, clock), request, response)


@router.get("/status", summary="What is served now, and what the filters can be set to")
async def status(settings: SettingsOf, backends: BackendsOf, clock: ClockOf) -> Status:
    return await readiness.status(backends, settings, clock)
