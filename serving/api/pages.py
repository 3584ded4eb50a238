"""The page for shoppers and the one for programmers, both from files that lie beside this one."""

from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.datastructures import MutableHeaders
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from swagger_ui_bundle import swagger_ui_path

FOLDER = Path(__file__).parent / "page"

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


def _policy(rules: dict[str, str]) -> str:
    return "; ".join(f"{name} {sources}" for name, sources in rules.items())


class SafeHeaders:
    """Middleware: the headers that keep a browser from running, guessing or framing anything."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        policy = _policy(_DOCS_POLICY if scope["path"].startswith("/docs") else _POLICY)

        async def safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = policy
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                headers.setdefault("Cache-Control", "no-cache")  # files revalidate by their ETag
            await send(message)

        return await self._app(scope, receive, safe)


router = APIRouter(include_in_schema=False)


@router.get("/")
async def shop() -> FileResponse:
    return FileResponse(FOLDER / "index.html")


@router.get("/docs")
async def docs() -> FileResponse:
    return FileResponse(FOLDER / "docs.html")


def install(app: FastAPI) -> None:
    app.include_router(router)
    app.mount("/page", StaticFiles(directory=FOLDER))
    app.mount("/docs/assets", StaticFiles(directory=Path(str(swagger_ui_path))))
