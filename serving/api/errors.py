"""Every error a caller sees, in one shape: ``{"error": {"code", "message", "request_id"}}``."""

import logging
import math
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from serving.errors import ImgsearchError, Overloaded, Unauthenticated, Unavailable, status_of
from serving.telemetry import request_id

log = logging.getLogger(__name__)

# Where an answer leaves its code for the outermost middleware, in the request's scope.
ERROR_CODE = "imgsearch.error_code"

UNKNOWN = "something went wrong on our side; the request id finds it in our logs"

# What a route that nobody serves, or serves by another method, says; other codes keep Starlette's words.
_HTTP_CODES = {404: "not_found", 405: "method_not_allowed"}


class ErrorResponse(JSONResponse):
    """Leaves its ``code`` where the outermost middleware counts it."""

    code = ImgsearchError.code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ERROR_CODE] = self.code
        await super().__call__(scope, receive, send)


# FastAPI's words for a body that is JSON no further than its first bytes.
_UNREADABLE = "There was an error parsing the body"
_MOST_COMPLAINTS = 5
_MOST_NAMED = 100  # characters of a field's name, which may be a caller's own


def error_response(
    status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """The one place that builds the shape."""
    error = {"code": code, "message": message, "request_id": request_id.get()}
    response = ErrorResponse({"error": error}, status_code=status, headers=headers)
    response.code = code
    return response


def told(error: ImgsearchError) -> JSONResponse:
    """The answer for an error whose message may be shown."""
    status, _ = status_of(error)
    headers = {}
    if isinstance(error, Overloaded | Unavailable):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return error_response(status, error.code, error.message, headers)


def unknown(error: Exception) -> JSONResponse:
    """The answer for a mistake of ours: a fixed text; the traceback goes to the log, once."""
    log.error("request %s failed", request_id.get(), exc_info=error)
    return error_response(500, "internal", UNKNOWN)


async def _known(_: Request, error: ImgsearchError) -> Response:
    return told(error)


async def _http(request: Request, error: HTTPException) -> Response:
    if error.detail == _UNREADABLE:
        return error_response(
            400, "bad_input", "the body is no JSON in UTF-8, or nested or long beyond reason"
        )
    path = request.url.path
    words = {
        404: f"there is nothing at {path}; {request.app.state.listing} lists what there is",
        405: f"{path} does not take {request.method}; {request.app.state.listing} lists what it takes",
    }
    code = _HTTP_CODES.get(error.status_code, HTTPStatus(error.status_code).phrase.lower().replace(" ", "_"))
    message = words.get(error.status_code, str(error.detail))
    headers = dict(error.headers) if error.headers else None
    return error_response(error.status_code, code, message, headers)


async def _invalid(_: Request, error: RequestValidationError) -> Response:
    items = error.errors()
    said = [sentence(item) for item in items[:_MOST_COMPLAINTS]]
    if len(items) > len(said):
        said.append(f"and {len(items) - len(said):,} more")
    return error_response(422, "bad_input", "; ".join(said))


def sentence(item: dict[str, Any]) -> str:
    """One pydantic complaint as ``where: what``; never the value itself, which may be a whole picture."""
    match item["loc"]:
        case ("body", int()):  # where the parser stopped
            return "the body is not JSON"
        case ("body",) if item["type"] == "model_attributes_type":
            return "the body must be a JSON object, sent as Content-Type: application/json"
    if str(item["msg"]).startswith("Value error, Expected UploadFile"):
        return f"{item['loc'][-1]}: send it as a file, with a file name"
    where = ".".join(str(part)[:_MOST_NAMED] for part in item["loc"] if part not in ("body", "query", "path"))
    what = str(item["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}" if where else what


def install(app: FastAPI, listing: str = "/docs") -> None:
    """Hangs the handlers on the application, whose routes are listed at ``listing``.

    Unknown errors are ``telemetry.Telemetry``'s, outside of it.
    """
    app.state.listing = listing
    # Starlette types a handler by the widest exception; each is called with its own.
    app.add_exception_handler(ImgsearchError, _known)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _http)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _invalid)  # type: ignore[arg-type]
