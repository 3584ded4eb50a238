"""The routes under ``/v1/``: read what was asked, run the query, answer."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from serving.api import etag, examples, query, readiness
from serving.api.answer import Answered, whole
from serving.api.answers import Answers
from serving.api.backends import Backends
from serving.api.clock import Clock, server_timing
from serving.api.description import IF_NONE_MATCH, TAGGED, UNCHANGED, answers, body, errors
from serving.api.explanation import LIKE, Explanation
from serving.api.paging import Page, fingerprint
from serving.api.schemas import (
    COLLAPSE,
    CURSOR,
    DEFAULT_K,
    Answer,
    BoxFields,
    Cursor,
    Filters,
    K,
    PictureForm,
    Product,
    ProductAnswer,
    SearchBody,
    Status,
)
from serving.api.stock import looked_after, stocked
from serving.api.telemetry import Metrics
from serving.errors import NotFound
from serving.index.collapse import Collapse
from serving.proto import search_pb2
from serving.settings import Settings

router = APIRouter(prefix="/v1", tags=["search"], responses=errors(401, 403, 429, 500))

_FOUND = "Products, best first."
_USUAL = Filters()
_OF_SIMILAR = {"k", "collapse", "cursor"}


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
# An id may have slashes in it, so the routes that end in a word stand before the one that ends in an id.
ProductIdOf = Annotated[str, Path(min_length=1, max_length=256, examples=[examples.PRODUCT_ID])]


def _wanted(
    settings: Settings,
    asked: tuple[str, str | bytes],
    k: int,
    collapse: Collapse | None,
    cursor: str | None,
    filters: Filters = _USUAL,
    box: BoxFields | None = None,
) -> query.Wanted:
    """Holds a request to this installation's limits, which are in its description. ``asked``: kind, and what.

    Raises ``RequestValidationError``, as what else of a request is not as described, and ``BadInput``.
    """
    if k > settings.max_k:
        raise _undescribed(("k",), f"Input should be less than or equal to {settings.max_k}")
    for name in ("categories", "brands", "colours"):
        if len(getattr(filters, name)) > settings.max_filter_values:
            most = settings.max_filter_values
            raise _undescribed(("filters", name), f"List should have at most {most} items")
    wanted = search_pb2.Filter(**filters.model_dump(exclude_none=True))
    chosen, shown_once = None if box is None else box.box(), collapse or settings.collapse
    page = Page.of(fingerprint(*asked, wanted, chosen, shown_once), cursor, settings.max_depth)
    return query.Wanted(wanted, page.held(k), chosen, shown_once, page)


def _undescribed(where: tuple[str, ...], message: str) -> RequestValidationError:
    return RequestValidationError([{"type": "undescribed", "loc": where, "msg": message}])


async def _answer(
    request: Request,
    what: str | bytes,
    wanted: query.Wanted,
    make: Callable[..., Awaitable[Answered]],
) -> Response:
    """What ``make`` makes of ``what`` was asked, or what is known of it."""
    state = request.app.state
    clock = Clock(state.settings.request_timeout_s)

    def made() -> Awaitable[Answered]:
        return make(state.backends, what, wanted, clock)

    answers: Answers = state.answers
    answer, origin = await answers.answer(wanted, made, clock)
    answer = await looked_after(answer, wanted.filter.in_stock_only, state.backends, clock)
    timings_ms = clock.timings_ms
    metrics: Metrics = state.metrics
    metrics.searched(answer, origin, timings_ms)
    headers = {"Server-Timing": server_timing(timings_ms)}
    if request.method == "GET":
        stock = answer.stock if answer.followed else None
        headers |= etag.headers(etag.weak(answer.generation, stock, wanted.key))
    return Response(
        whole(answer.body, origin == "kept", timings_ms), media_type="application/json", headers=headers
    )


# Searches take the request as it is: what FastAPI calls for a route of several dependencies takes longer than
# to find a product's neighbours.


@router.post(
    "/search",
    operation_id="search",
    summary="Search by a picture's address, a product, a picture as base64 or words",
    response_model=Answer,
    responses=answers(_FOUND, examples.ANSWER, "Server-Timing") | errors(400, 404, 409, 422, 501, 503, 504),
    openapi_extra=body("application/json", examples=examples.SEARCHES),
)
async def search(request: Request, asked: SearchBody) -> Response:
    kind, what, make = _source(asked)
    wanted = _wanted(
        request.app.state.settings,
        (kind, what),
        asked.k,
        asked.collapse,
        asked.cursor,
        asked.filters,
        asked.box,
    )
    return await _answer(request, what, wanted, make)


def _source(asked: SearchBody) -> tuple[str, str | bytes, Callable[..., Awaitable[Answered]]]:
    """What is searched with: its kind, itself, and by what it is answered."""
    if asked.product_id is not None:
        return "product", asked.product_id, query.by_product
    if asked.image_url is not None:
        return "url", asked.image_url, query.by_url
    if asked.text is not None:
        return "text", asked.text, query.by_text
    return "picture", asked.image_base64 or b"", query.by_picture


@router.post(
    "/search/image",
    operation_id="search_image",
    summary="Search by a picture",
    response_model=Answer,
    responses=answers(_FOUND, examples.ANSWER, "Server-Timing") | errors(400, 409, 422, 503, 504),
    openapi_extra=body("multipart/form-data", example=examples.UPLOAD),
)
async def search_image(
    request: Request, form: Annotated[PictureForm, Form(media_type="multipart/form-data")]
) -> Response:
    data, settings = await form.image.read(), request.app.state.settings
    wanted = _wanted(settings, ("picture", data), form.k, form.collapse, form.cursor, form.filters, form.box)
    return await _answer(request, data, wanted, query.by_picture)


@router.get(
    "/products/{product_id:path}/similar",
    operation_id="similar_products",
    summary="Products that look like this one",
    response_model=Answer,
    responses=answers(_FOUND, examples.SIMILAR, "Server-Timing", *TAGGED)
    | UNCHANGED
    | errors(400, 404, 409, 422, 503, 504),
    openapi_extra=IF_NONE_MATCH,
)
async def similar(
    request: Request,
    product_id: ProductIdOf,
    k: Annotated[int, Query(ge=1, description=K)] = DEFAULT_K,
    collapse: Annotated[Collapse | None, Query(description=COLLAPSE)] = None,
    cursor: Annotated[Cursor | None, Query(description=CURSOR)] = None,
) -> Response:
    state = request.app.state
    if (
        not request.query_params.keys() <= _OF_SIMILAR
    ):  # a filter that is not taken must not look as if it were
        unknown = sorted(request.query_params.keys() - _OF_SIMILAR)[0]
        raise _undescribed((unknown,), f"Only {', '.join(sorted(_OF_SIMILAR))} are taken here")
    wanted = _wanted(state.settings, ("product", product_id), k, collapse, cursor)
    clock = Clock(state.settings.request_timeout_s)
    if "if-none-match" in request.headers:
        tag = await etag.of_now(state.backends, clock, wanted.key)
        if unchanged := etag.unchanged(request.headers, tag):
            return unchanged
    return await _answer(request, product_id, wanted, query.by_product)


@router.get(
    "/products/{product_id:path}/explain",
    operation_id="explain_product",
    summary="Why a product is found: its pictures, their parts, the products of its groups",
    response_model=Explanation,
    responses=answers("What the served generation holds of it.", examples.EXPLANATION, *TAGGED)
    | UNCHANGED
    | errors(404, 422, 503, 504),
    openapi_extra=IF_NONE_MATCH,
)
async def explain(
    request: Request,
    response: Response,
    product_id: ProductIdOf,
    backends: BackendsOf,
    clock: ClockOf,
    like: Annotated[str | None, Query(min_length=1, max_length=256, description=LIKE)] = None,
) -> Explanation | Response:
    asked = "explain", product_id, like or ""
    if unchanged := etag.unchanged(request.headers, await etag.of_now(backends, clock, *asked)):
        return unchanged
    reply = await backends.explain(product_id, like, clock)
    await stocked(reply.product, reply.stock_followed, backends)
    response.headers.update(etag.headers(etag.of_reply(reply, *asked)))
    return Explanation.of(reply, like)


@router.get(
    "/products/{product_id:path}",
    operation_id="get_product",
    summary="A product of the served generation",
    response_model=ProductAnswer,
    responses=answers("The product.", examples.PRODUCT, *TAGGED) | UNCHANGED | errors(404, 422, 503, 504),
    openapi_extra=IF_NONE_MATCH,
)
async def product(
    request: Request, response: Response, product_id: ProductIdOf, backends: BackendsOf, clock: ClockOf
) -> ProductAnswer | Response:
    asked = "product", product_id
    if unchanged := etag.unchanged(request.headers, await etag.of_now(backends, clock, *asked)):
        return unchanged
    reply = await backends.products([product_id], clock)
    if not reply.products:
        raise NotFound(f"product {product_id!r} is not in the index")
    await stocked(reply.products[0], reply.stock_followed, backends)
    response.headers.update(etag.headers(etag.of_reply(reply, *asked)))
    return ProductAnswer(product=Product.of(reply.products[0]), generation=reply.generation)


@router.get(
    "/status",
    operation_id="get_status",
    summary="What is served now, and what the filters can be set to",
    responses=answers("The state of the installation.", examples.STATUS) | errors(504),
)
async def status(settings: SettingsOf, backends: BackendsOf, clock: ClockOf) -> Status:
    return await readiness.status(backends, settings, clock)
