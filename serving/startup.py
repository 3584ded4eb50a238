"""What a process needs before it starts: all that is missing is said at once, and what it waits for too."""

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Literal

from redis.asyncio import Redis
from redis.exceptions import RedisError

from serving import tls
from serving.cache.troubles import Trouble, trouble, wrong
from serving.errors import BadSettings, ImgsearchError
from serving.location import open_store, place
from serving.object_store import ObjectStore
from serving.rpc.client import Caller
from serving.settings import Settings

log = logging.getLogger(__name__)

Service = Literal["search", "detect", "embed", "api"]

# How long a service or Redis has to take a connection, to count as there.
_CONNECT_S = 0.5

_MODELS = {"detect": "detector", "embed": "embedder"}


def check(service: Service, settings: Settings, port: int, metrics_port: int | None = None) -> None:
    """Raise ``BadSettings`` with a line for each thing that ``service`` cannot start without.

    What may still come is a warning: the process starts, and goes on without or waits for it.
    """
    missing = [*_held(service, settings), *_port(settings.host, port)]
    if metrics_port is not None:
        missing += _port(settings.host, metrics_port, " for metrics")
    if service in ("api", "search"):
        missing += _redis(settings)
        if settings.admin_port is not None:
            missing += _port(settings.host, settings.admin_port, " for admin calls")
    missing += _identity(service, settings)
    if missing:
        raise BadSettings("\n".join(missing))
    if service == "api":
        asyncio.run(_wait_for(settings))


def _port(host: str, port: int, what: str = "") -> Iterator[str]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            yield f"cannot listen on {host}:{port}{what}: {error.strerror or error}"


def _identity(service: Service, settings: Settings) -> Iterator[str]:
    """What is wrong with what ``service`` shows of itself, or asks of others."""
    checks: list[Callable[[Settings], object]] = [tls.server_credentials]
    if service == "api":
        checks = [tls.check_https, Caller.of]
    for each in checks:
        try:
            each(settings)
        except BadSettings as error:
            yield error.message


def _held(service: Service, settings: Settings) -> Iterator[str]:
    """What is wrong with the objects that a service serves."""
    if service == "api" and settings.is_open:
        return
    if service == "search" and settings.search_backend == "milvus":
        if find_spec("pymilvus") is None:
            yield "IMGSEARCH_SEARCH_BACKEND is milvus: install its client, the extra `milvus`"
        return
    if settings.objects is None and not settings.home.is_dir():
        yield f"IMGSEARCH_HOME: there is no folder {settings.home}; name the installation's"
        return
    try:
        store = open_store(settings)
        if service in _MODELS:
            _model(store, _MODELS[service])
    except ImgsearchError as error:
        yield error.message
    except OSError as error:
        yield f"the object store {place(settings)} cannot be read: {error.strerror or error}"


def _model(store: ObjectStore, name: str) -> None:
    """Raise where the live version has no card that can be read, or not the weights that it names."""
    from serving.models.bundle import load_card

    card = load_card(store, name)
    store.size(f"models/{name}/{card.version}/weights.safetensors")


def _redis(settings: Settings) -> Iterator[str]:
    if settings.redis_url is not None:
        said = wrong(settings.redis_url.get_secret_value())
        if said is not None:
            yield said


async def _wait_for(settings: Settings) -> None:
    """Say of what the front stands on what does not answer yet."""
    names = ("search", "detect", "embed")
    addresses: dict[str, str] = {name: getattr(settings, f"{name}_address") for name in names}
    there = await asyncio.gather(*map(_takes_connections, addresses.values()))
    for (name, address), answers in zip(addresses.items(), there, strict=True):
        if not answers:
            log.warning("the %s service does not answer at %s yet; this process waits for it", name, address)
    if settings.redis_url is not None:
        found = await _trouble(settings.redis_url.get_secret_value())
        if found is not None:
            log.warning("%s; until then everything is computed anew", found.said)


async def _takes_connections(address: str) -> bool:
    """Whether anybody does at host:port, or where gRPC's names say (dns:///host:port, ipv4:host:port,...)."""
    listed = re.sub("^ipv[46]:", "", address.rpartition("/")[2]).split(",")
    return any(await asyncio.gather(*map(_takes_connection, listed)))


async def _takes_connection(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_CONNECT_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def _trouble(redis_url: str) -> Trouble | None:
    """Of Redis, None where it answers."""
    client = Redis.from_url(redis_url, socket_timeout=_CONNECT_S, socket_connect_timeout=_CONNECT_S)
    try:
        async with client, asyncio.timeout(_CONNECT_S):
            await client.ping()
    except (RedisError, OSError, TimeoutError) as error:
        return trouble(error)
    return None
