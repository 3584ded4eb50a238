"""``/openapi.json``: what FastAPI knows of the routes, and what only this house does.

Which status an error has is one rule:

    422   the request does not fit this description, whose limits are those of the installation
    400   it fits, but what it brings cannot be used: a picture, an address, a cursor
    4xx   401, 403, 404, 409, 429 as HTTP has them
    5xx   ours; 503 and 504 are worth another try, 501 is not
"""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serving.api import examples
from serving.api.schemas import ErrorAnswer
from serving.settings import Settings

_ABOUT = """
Every error has one shape, `{"error": {"code", "message", "request_id"}}`. 422: the request does not fit this
description. 400: it fits, but what it brings cannot be used (a picture, an address, a cursor). 429 and 503
say in `Retry-After` when to come again; 504 is worth another try, too.

Prices are whole numbers of the currency's smallest unit. Scores are cosines. A generation is a state of the
index: an answer is of exactly one, and names it.
"""

_WHEN = {
    400: "`bad_image`, `bad_address`, `bad_input`: what the request brings cannot be used; see the message.",
    401: "No key, or one that is not known here.",
    403: "The key is not for this.",
    404: "`not_found`: the served generation does not hold that product.",
    409: "`conflict`: the cursor is of a generation that is no longer served.",
    422: "`bad_input`: the request does not fit this description; the message names the field.",
    429: "Too much at once, or more than the key may ask.",
    500: "`internal`: a mistake of ours. It is in our logs under the request id.",
    501: "`text_search_off`: the embedder of the index reads no text; see `/v1/status`.",
    503: "`unavailable`: something behind the API is not there; `model_mismatch`: it is being exchanged.",
    504: "`deadline_passed`: no answer in time.",
}

_HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-Id": {
        "description": "Finds the request in the logs. A caller's own is kept: 1 to 64 of A-Z a-z 0-9 . _ -",
        "schema": {"type": "string"},
        "example": "0b1a4e0f6c2d4a86a35b1c6f0b8f2f2a",
    },
    "Server-Timing": {
        "description": "Milliseconds by stage, as `timings_ms`.",
        "schema": {"type": "string"},
        "example": "search;dur=1.9, total;dur=3.1",
    },
    "ETag": {
        "description": "For `If-None-Match` of the same request.",
        "schema": {"type": "string"},
        "example": 'W/"5f3c1f0a2d8e4b6c9a7d1e2f3a4b5c6d"',
    },
    "Cache-Control": {
        "description": "How long it may be taken as it is without asking.",
        "schema": {"type": "string"},
        "example": "private, max-age=10",
    },
    "Retry-After": {
        "description": "Seconds until another try is worth it; `model_mismatch` has none: try at once.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 1,
    },
}
_RETRIED = ("429", "503")
# Of an answer that a caller may keep.
TAGGED = ("ETag", "Cache-Control")
IF_NONE_MATCH: dict[str, Any] = {
    "parameters": [
        {
            "name": "If-None-Match",
            "in": "header",
            "required": False,
            "description": "The `ETag` of an answer that is at hand; 304 where it is still good.",
            "schema": {"type": "string"},
        }
    ]
}

_KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key. An installation without keys, as on one's own machine, asks for none.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """``responses`` of a route that can give these."""
    return {status: _error(status) for status in statuses}


def _error(status: int) -> dict[str, Any]:
    shown = {
        name: {"value": {"error": {"code": code, "message": message, "request_id": "0b1a4e0f"}}}
        for name, (code, message) in examples.ERRORS[status].items()
    }
    return {
        "model": ErrorAnswer,
        "description": _WHEN[status],
        "content": {"application/json": {"examples": shown}},
    }


def answers(description: str, example: Mapping[str, Any], *headers: str) -> dict[int | str, dict[str, Any]]:
    """``responses`` of a route: the good one. ``headers`` are of ``_HEADERS``."""
    return {
        200: {
            "description": description,
            "content": {"application/json": {"example": example}},
            "headers": {name: _header(name) for name in headers},
        }
    }


UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {
        "description": "The answer with the `ETag` of `If-None-Match` is still good.",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in TAGGED},
    }
}


def body(media_type: str, **content: Any) -> dict[str, Any]:
    """``openapi_extra`` of a route: ``example`` or ``examples`` of what it takes."""
    return {"requestBody": {"content": {media_type: content}}}


def described(app: FastAPI, settings: Settings) -> dict[str, Any]:
    """The whole description, of this installation."""
    found = get_openapi(
        title=app.title, version=app.version, summary=app.summary, description=_ABOUT, routes=app.routes
    )
    components = found["components"]
    components["headers"] = _HEADERS
    components["securitySchemes"] = {"key": _KEY}
    for path, methods in found["paths"].items():
        for operation in methods.values():
            if path.startswith("/v1/"):
                operation["security"] = [{"key": []}, {}] if settings.is_open else [{"key": []}]
            for status, response in operation["responses"].items():
                names = ["X-Request-Id", *(["Retry-After"] if status in _RETRIED else [])]
                response["headers"] = response.get("headers", {}) | {name: _header(name) for name in names}
            for parameter in operation.get("parameters", []):
                parameter["schema"] = _without_null(parameter["schema"])
                if parameter["name"] == "k":
                    parameter["schema"]["maximum"] = settings.max_k
    schemas = components["schemas"]
    form = schemas["PictureForm"]["properties"]
    form |= {name: _without_null(schema) for name, schema in form.items()}
    form["filters"]["default"] = "{}"
    form["image"]["format"] = "binary"  # of OpenAPI 3.0, and still what generators of clients look for
    for name in ("SearchBody", "PictureForm"):
        schemas[name]["properties"]["k"]["maximum"] = settings.max_k
    for name in ("categories", "brands", "colours"):
        schemas["Filters"]["properties"][name]["maxItems"] = settings.max_filter_values
    return found


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Of a parameter or a field of a form, which is left out and never null."""
    options = [option for option in schema.get("anyOf", []) if option != {"type": "null"}]
    if len(options) != 1:
        return schema
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return {**rest, **options[0]}


def _header(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}
