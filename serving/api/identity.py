"""Who asks: the API key of a request, before anything of the request is read or counted."""

import base64
import binascii
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.api.errors import told
from serving.errors import ImgsearchError
from serving.identity import keys
from serving.identity.following import keys_of
from serving.identity.keys import Key
from serving.identity.rates import Rates
from serving.settings import Settings
from serving.telemetry import caller

# Where the middleware leaves the key that it found.
KEY = "imgsearch.key"

_READING = frozenset({"GET", "HEAD"})
_BODILESS = _READING | {"OPTIONS"}
_ASK = 'Basic realm="imgsearch: an API key as the password", charset="UTF-8"'


class Gate:
    """The keys that are known, and how often each asked. Raises ``BadSettings`` where there can be none."""

    def __init__(self, settings: Settings) -> None:
        self._known = keys_of(settings)
        self._rates = Rates(settings)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """The keys are kept up to date within the block."""
        async with self._known.followed():
            yield
        await self._rates.aclose()

    async def passed(self, sent: str | None, scope: keys.Scope) -> Key:
        """The key that was sent. Raises as ``KnownKeys.holder`` and ``Rates.count``."""
        key = self._known.holder(sent, scope)
        caller.set(key.id)  # every request runs in a context of its own
        await self._rates.count(key)
        return key


class Identity:
    """Middleware: what ``guards`` says of a path needs a key with ``scope``, and counts towards its rate.

    Of ``pages`` people open the address in a browser, which asks them for the key: as the password of RFC
    7617. Nothing but pages may take it so, as a browser sends it along with what any site has it ask for.
    """

    def __init__(
        self,
        app: ASGIApp,
        gate: Gate,
        scope: keys.Scope,
        guards: Callable[[str], bool],
        pages: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._pages = pages
        self._app = app
        self._gate = gate
        self._scope = scope
        self._guards = guards

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._guards(scope["path"]):
            return await self._app(scope, receive, send)
        page = scope["method"] in _READING and self._pages(scope["path"])
        try:
            sent = _sent(scope) or (_password(scope) if page else None)
            scope[KEY] = await self._gate.passed(sent, self._scope)
        except ImgsearchError as error:
            response = told(error)
            if page and "WWW-Authenticate" in response.headers:
                response.headers["WWW-Authenticate"] = _ASK
            if scope["method"] not in _BODILESS:
                response.headers["Connection"] = "close"  # the body is not read
            return await response(scope, receive, send)
        return await self._app(scope, receive, send)


def guards_v1(path: str) -> bool:
    """Of the public application: the page, its files, health and the descriptions are for everybody."""
    return path.startswith("/v1/")


def key_of(scope: Scope) -> Key:
    """The key of a request that ``Identity`` let through."""
    key: Key = scope[KEY]
    return key


def _sent(scope: Scope) -> str | None:
    """RFC 6750's header; or ``X-Api-Key``, for callers whose ``Authorization`` a proxy needs."""
    found = None
    for name, value in scope["headers"]:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return str(value[7:].strip(), "latin-1")
        if name == b"x-api-key":
            found = str(value.strip(), "latin-1")
    return found


def _password(scope: Scope) -> str | None:
    """Of RFC 7617's header; who has no such thing sent nothing."""
    sent = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    if sent[:6].lower() != b"basic ":
        return None
    try:
        return base64.b64decode(sent[6:].strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None


def describe(app: FastAPI, guards: Callable[[str], bool]) -> None:
    """Has ``/openapi.json`` say which routes need a key, for /docs and for made clients."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        known = app.openapi_schema is not None
        schema = plain()
        if not known:
            schemes = schema.setdefault("components", {}).setdefault("securitySchemes", {})
            schemes["key"] = {"type": "http", "scheme": "bearer", "description": "An API key."}
            for path, operations in schema["paths"].items():
                for operation in operations.values() if guards(path) else ():
                    operation["security"] = [{"key": []}]
        return schema

    app.openapi = described  # type: ignore[method-assign]
