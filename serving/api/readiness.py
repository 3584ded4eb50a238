"""Whether the shop is open: what each service says of itself, and what is served."""

import asyncio
from typing import Literal

from serving.api.backends import SERVICES, Backends
from serving.api.clock import Clock
from serving.api.schemas import Models, Status, Values
from serving.errors import Unavailable
from serving.proto import search_pb2
from serving.settings import Settings


async def status(backends: Backends, settings: Settings, clock: Clock) -> Status:
    """Never raises for a service that is down: that is its answer."""
    health = dict(zip(SERVICES, await asyncio.gather(*map(backends.health, SERVICES)), strict=True))
    try:
        served = await backends.status(clock)
    except Unavailable:
        served = search_pb2.StatusReply()
    state: Literal["ready", "degraded", "empty", "unavailable"]
    if set(health.values()) == {"serving"}:
        state = "ready" if served.generation else "empty"
    elif served.generation:
        state = "degraded" if health["search"] == "serving" else "unavailable"
    else:
        state = "unavailable" if health["search"] == "unreachable" else "empty"
    text_search = False
    if served.generation and health["embed"] == "serving":
        text_search = await backends.reads_text(served.embedder_version, clock)
    return Status(
        state=state,
        services=health,
        generation=served.generation or None,
        created_at=served.created_at if served.generation else None,
        products=served.products,
        rows=served.rows,
        models=Models(detector=served.detector_version, embedder=served.embedder_version)
        if served.generation
        else None,
        values=Values(
            categories=list(served.categories), brands=list(served.brands), colours=list(served.colours)
        ),
        text_search=text_search,
        stale=served.last_error or None,
        max_k=settings.max_k,
        max_picture_bytes=settings.max_picture_bytes,
    )
