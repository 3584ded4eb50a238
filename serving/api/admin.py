"""What only administrators may do, an application of its own on a port of its own.

Every route but health needs a key of scope ``admin``, in the local environment too. A generation is named by
its id, never by a path or an address.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, closing
from functools import partial
from typing import Annotated, Any, Concatenate, Literal, ParamSpec, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse

from serving.api import errors
from serving.api.identity import Gate, Identity, describe, key_of
from serving.api.journey import JOURNEY
from serving.api.limits import BodyLimit
from serving.api.pages import SafeHeaders
from serving.api.routes import ProductIdOf
from serving.api.schemas import ErrorAnswer
from serving.api.telemetry import Metrics, Telemetry
from serving.cache.stock_log import StockLog
from serving.errors import Unsupported, Unverified
from serving.identity import store as stored_keys
from serving.identity.keys import Key, Name, Rate, Scope, Scopes
from serving.index import release, replays
from serving.index.store import Pointer, Release, environments, generations, read_pointer
from serving.ledger.explained import explain
from serving.ledger.journey import Journey
from serving.location import open_store
from serving.object_store import ObjectStore
from serving.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")

_BODY_TIMEOUT_S = 10.0
_A_YEAR_S = 366 * 86_400.0

_ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorAnswer, "description": "It cannot be done; the message says why."},
    "5XX": {"model": ErrorAnswer, "description": "Something behind the API is not there, or damaged."},
}
router = APIRouter(prefix="/v1/admin", tags=["admin"], responses=_ERRORS)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewKey(_Body):
    name: Name
    scopes: Scopes
    rate: Rate | None = Field(None, description="As in `10/second`; `0` for no limit, null for the default.")
    expires_in_s: float | None = Field(None, gt=0, le=100 * _A_YEAR_S)


class Rotation(_Body):
    grace_s: float = Field(stored_keys.GRACE_S, ge=0, le=_A_YEAR_S, description="How long the old one works.")


Why = Annotated[str, Field(min_length=1, max_length=500, description="Kept with the release.")]
GenerationId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class Promotion(_Body):
    generation: GenerationId
    why: Why


class Rollback(_Body):
    why: Why
    to: GenerationId | None = Field(None, description="A generation that was live; else the last good one.")


class KeyAnswer(BaseModel):
    """A key, but for its secret. Times are seconds since 1970."""

    id: str
    name: str
    scopes: list[Scope]
    rate: str | None
    state: Literal["active", "revoked", "expired"]
    created_at: float
    expires_at: float | None
    revoked_at: float | None

    @classmethod
    def of(cls, key: Key) -> "KeyAnswer":
        values = key.model_dump(include=set(cls.model_fields) - {"scopes"})
        return cls(**values, scopes=sorted(key.scopes), state=key.state(time.time()))


class KeysAnswer(BaseModel):
    keys: list[KeyAnswer]


class NewKeyAnswer(BaseModel):
    key: KeyAnswer
    secret: str = Field(description="What its holder sends. It is shown this once.")


class GenerationAnswer(BaseModel):
    id: str
    created_at: float | None = None
    products: int | None = None
    rows: int | None = None
    size_bytes: int | None = None
    live_in: list[str]
    unreadable: str | None = Field(default=None, description="Why it cannot be served.")


class GenerationsAnswer(BaseModel):
    generations: list[GenerationAnswer] = Field(description="The one made last first.")


class ReleaseAnswer(BaseModel):
    live: Release | None
    earlier: list[Release] = Field(default=[], description="The latest first.")


class _Admin:
    """The store and the environment that a request works on, and who asks."""

    def __init__(self, request: Request) -> None:
        self.settings: Settings = request.app.state.settings
        self._store: ObjectStore = request.app.state.store
        key = key_of(request.scope)
        self.who = f"{key.name} (API key {key.id})"

    async def call(
        self, change: Callable[Concatenate[ObjectStore, P], R], *arguments: P.args, **options: P.kwargs
    ) -> R:
        """Beside the event loop: a store may be slow."""
        return await asyncio.to_thread(partial(change, self._store, *arguments, **options))


AdminOf = Annotated[_Admin, Depends()]
KeyIdOf = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$")]


@router.get("/keys", summary="Every API key of the environment")
async def list_keys(admin: AdminOf) -> KeysAnswer:
    known = await admin.call(stored_keys.read_keys, admin.settings.environment)
    return KeysAnswer(keys=[KeyAnswer.of(key) for key in known.keys])


@router.post("/keys", status_code=201, summary="Make an API key; its secret is shown this once")
async def create_key(body: NewKey, admin: AdminOf) -> NewKeyAnswer:
    expires_at = None if body.expires_in_s is None else time.time() + body.expires_in_s
    key, secret = await admin.call(
        stored_keys.create, admin.settings.environment, body.name, body.scopes, body.rate, expires_at
    )
    return NewKeyAnswer(key=KeyAnswer.of(key), secret=secret)


@router.post("/keys/{key_id}/revoke", summary="Make an API key nobody's, within seconds")
async def revoke_key(key_id: KeyIdOf, admin: AdminOf) -> KeyAnswer:
    return KeyAnswer.of(await admin.call(stored_keys.revoke, admin.settings.environment, key_id))


@router.post("/keys/{key_id}/rotate", summary="Give an API key a new secret; the old one works for a while")
async def rotate_key(key_id: KeyIdOf, body: Rotation, admin: AdminOf) -> NewKeyAnswer:
    key, secret = await admin.call(
        stored_keys.rotate, admin.settings.environment, key_id, grace_s=body.grace_s
    )
    return NewKeyAnswer(key=KeyAnswer.of(key), secret=secret)


@router.get("/generations", summary="Every generation there is, and where it is live")
async def list_generations(admin: AdminOf) -> GenerationsAnswer:
    return GenerationsAnswer(generations=await admin.call(_generations))


@router.get("/release", summary="What is live, since when, by whom and why, and what was before")
async def read_release(admin: AdminOf) -> ReleaseAnswer:
    pointer = (await admin.call(read_pointer, admin.settings.environment)).pointer
    return _answer(pointer.history if pointer else ())


@router.post("/release/promote", summary="Make a generation live that passed its gates elsewhere")
async def promote(body: Promotion, admin: AdminOf) -> ReleaseAnswer:
    _memory_only(admin.settings)
    pointer = await admin.call(
        release.promote, admin.settings.environment, body.generation, admin.who, body.why
    )
    return _answer(pointer.history)


@router.post("/release/rollback", summary="Make an earlier generation live again")
async def rollback(body: Rollback, admin: AdminOf) -> ReleaseAnswer:
    _memory_only(admin.settings)
    pointer = await admin.call(_rollback, admin.settings.environment, admin.who, body.why, body.to)
    return _answer(pointer.history)


@router.get(
    "/products/{product_id:path}/journey",
    summary="Why a product is, or is not, searchable: every stage with its time and reason",
    responses=JOURNEY,
)
async def journey(product_id: ProductIdOf, admin: AdminOf) -> Journey:
    """What it tells is not for a key of scope `search`, which a shop's pages hold: products that are not on
    sale yet, rows of the catalogue, and who released what and why."""
    return await admin.call(_explained, admin.settings, product_id)


GenerationOf = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]


@router.get(
    "/replays/{after}/{before}",
    summary="The page of what generation `after` changes in what is shown by `before`",
    response_class=HTMLResponse,
    responses={200: {"description": "A page that needs nothing else, of 5 MiB at most."}},
)
async def replay(after: GenerationOf, before: GenerationOf, admin: AdminOf) -> HTMLResponse:
    """For whoever approves a release. A browser asks for the API key: as the password, under any name."""
    return HTMLResponse(await admin.call(replays.read_page, before, after))


def _explained(store: ObjectStore, settings: Settings, product_id: str) -> Journey:
    with ExitStack() as stack:
        stock = None
        if settings.redis_url is not None:
            log = StockLog(settings.redis_url.get_secret_value(), settings.environment)
            stock = stack.enter_context(closing(log))
        return explain(store, settings.environment, product_id, stock, settings.request_timeout_s)


def _rollback(store: ObjectStore, environment: str, who: str, why: str, to: str | None) -> Pointer:
    return release.rollback(store, environment, who, why, to, partial(release.verify_files, store))


def _memory_only(settings: Settings) -> None:
    if settings.search_backend == "milvus":
        raise Unsupported("Milvus has to follow; release with `imgsearch release promote` or `rollback`")


def _answer(history: tuple[Release, ...]) -> ReleaseAnswer:
    return ReleaseAnswer(live=history[0] if history else None, earlier=list(history[1:]))


def _generations(store: ObjectStore) -> list[GenerationAnswer]:
    live_in: dict[str, list[str]] = {}
    for environment in environments(store):
        try:
            pointer = read_pointer(store, environment).pointer
        except Unverified:
            continue  # said by /release of that environment
        if pointer is not None:
            live_in.setdefault(pointer.live.generation, []).append(environment)
    found, unreadable = generations(store)
    answers = [
        GenerationAnswer(
            id=manifest.id,
            created_at=manifest.created_at,
            products=manifest.products,
            rows=manifest.rows,
            size_bytes=sum(segment.size_bytes for segment in manifest.files),
            live_in=live_in.get(manifest.id, []),
        )
        for manifest in found
    ]
    return answers + [
        GenerationAnswer(id=generation, live_in=live_in.get(generation, []), unreadable=str(error))
        for generation, error in unreadable.items()
    ]


_probes = APIRouter(tags=["operation"])


@_probes.get("/healthz", summary="The process answers")
async def healthz() -> dict[str, str]:
    return {"status": "alive"}


def _guards(path: str) -> bool:
    return path != "/healthz"


def create_admin(settings: Settings, metrics: Metrics) -> FastAPI:
    """The application on ``settings``; ``metrics`` are those of the public one. Raises ``BadSettings``."""
    gate = Gate(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with gate.opened():
            yield

    app = FastAPI(
        title="imgsearch admin",
        summary="API keys, which generation is live, and where a product is.",
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        middleware=[  # outermost first
            Middleware(Telemetry, metrics=metrics),
            Middleware(SafeHeaders),
            Middleware(
                Identity,
                gate=gate,
                scope="admin",
                guards=_guards,
                pages=lambda path: path.startswith(replays.PATH),
            ),
            Middleware(BodyLimit, max_picture_bytes=0, timeout_s=_BODY_TIMEOUT_S),
        ],
    )
    app.state.settings = settings
    app.state.draining = False  # until the process is told to stop
    app.state.store = open_store(settings)
    errors.install(app, "/openapi.json")
    app.include_router(router)
    app.include_router(_probes)
    describe(app, _guards)
    return app
