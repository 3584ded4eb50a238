"""The page for shoppers and the one for programmers, both from files that lie beside this one."""

from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from swagger_ui_bundle import swagger_ui_path

from serving.index import replays

FOLDER = Path(__file__).parent / "page"
_FILES = StaticFiles(directory=FOLDER)

# Nothing runs or loads but our own files; pictures also come from the catalogue's hosts, and as what a
# shopper chose (blob:). https://www.w3.org/TR/CSP3/
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' http: https: blob: data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
_DOCS_POLICY = {**_POLICY, "style-src": "'self' 'unsafe-inline'"}  # Swagger UI styles its own elements
# A page of the pipeline's, which is whole in one file.
_REPORT_POLICY = {
    "default-src": "'none'",
    "style-src": "'unsafe-inline'",
    "img-src": "data:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}


def _policy(rules: dict[str, str]) -> str:
    return "; ".join(f"{name} {sources}" for name, sources in rules.items())


_SAFE = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
_REVALIDATE = (b"cache-control", b"no-cache")  # files do it by their ETag


class HeadAsGet:
    """Middleware: HEAD is answered as GET would be (RFC 9110, 9.3.2); the server leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The server looks at its own scope for the method, so that one stays as it is.
        asked = {**scope, "method": "GET"} if scope.get("method") == "HEAD" else scope
        await self._app(asked, receive, send)


class SafeHeaders:
    """Middleware: the headers that keep a browser from running, guessing or framing anything."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._usual, self._docs, self._reports = (
            [(b"content-security-policy", _policy(rules).encode()), *_SAFE]
            for rules in (_POLICY, _DOCS_POLICY, _REPORT_POLICY)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        added = self._docs if scope["path"].startswith("/docs") else self._usual
        if scope["path"].startswith(replays.PATH):
            added = self._reports

        async def safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"] = [*message.get("headers", ()), *added]
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append(_REVALIDATE)
            await send(message)

        return await self._app(scope, receive, safe)


router = APIRouter(include_in_schema=False)


@router.get("/")
async def shop(request: Request) -> Response:
    return await _FILES.get_response("index.html", request.scope)


@router.get("/docs")
async def docs(request: Request) -> Response:
    return await _FILES.get_response("docs.html", request.scope)


def install(app: FastAPI) -> None:
    app.include_router(router)
    app.mount("/page", _FILES)
    app.mount("/docs/assets", StaticFiles(directory=Path(str(swagger_ui_path))))
