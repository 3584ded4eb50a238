"""One gRPC server: services behind an ordered list of interceptors, health, a drain at the end."""

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from serving import tls
from serving.errors import BadSettings
from serving.identity.following import keys_of
from serving.rpc.admission import Admission, Deadline
from serving.rpc.errors import Errors
from serving.rpc.identity import Identity
from serving.rpc.recording import Recording
from serving.rpc.unary import Interceptors
from serving.settings import Settings
from serving.telemetry import RpcMetrics
from serving.tracing import Tracing

log = logging.getLogger(__name__)

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

# What the health service calls the process itself, which lives while it is not ready: for who would start it
# again.
LIVE = "live"

# Calls of a method that have come and that Python has not looked at yet. Those beyond are cancelled by gRPC
# itself, for far less than a refusal in Python takes: were each refused with our own words, three times
# capacity would leave no time for any answer. Fewer would not outlast a swap on a busy machine, when nothing
# is looked at for a moment; behind more, all would wait too long: ADR 7. Our clients take it for what it is:
# ``errors.from_status``.
_MOST_PENDING = 96
# Connections are closed after a while, politely, so that clients spread over new replicas.
_MAX_CONNECTION_AGE_MS, _CONNECTION_GRACE_MS = 600_000, 30_000


def _options(settings: Settings) -> tuple[tuple[str, int], ...]:
    return (
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_connection_age_ms", _MAX_CONNECTION_AGE_MS),
        ("grpc.max_connection_age_grace_ms", _CONNECTION_GRACE_MS),
        # The channels of ``client`` ask every 30 s whether we are there; by default that is an attack.
        ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # Two processes on one port must be meant; by default the second would quietly take half the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.server.max_pending_requests", _MOST_PENDING),
        ("grpc.server.max_pending_requests_hard_limit", _MOST_PENDING),
    )


class Server:
    """A server of one process. ``add`` what it serves, ``start`` it, ``drain`` it.

    ``limit`` is how many calls may be in work at once, unless it is that of the settings. ``traces`` are sent
    when it has drained.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: RpcMetrics,
        limit: int | None = None,
        traces: Tracing | None = None,
    ) -> None:
        self._settings = settings
        self._traces = traces
        self._names: list[str] = []
        self._known = None if settings.is_open else keys_of(settings)
        self._until_drained = AsyncExitStack()
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            interceptors=[
                Interceptors(
                    [
                        Recording(metrics, traces),
                        Errors(),
                        *(() if self._known is None else (Identity(self._known),)),
                        Admission(limit or settings.max_concurrency, metrics.refused),
                        Deadline(settings.request_timeout_s),
                    ]
                )
            ],
            options=_options(settings),
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    def add(
        self,
        service: ServiceDescriptor,
        register: Callable[[Any, grpc.aio.Server], None],
        servicer: object,
    ) -> None:
        """Serve ``service`` by ``servicer``; ``register`` is the generated ``add_..._to_server``."""
        register(servicer, self._server)
        self._names.append(service.full_name)

    async def start(self, port: int) -> str:
        """Listen; the address, ``host:port``. Not yet ready: see ``set_ready``.

        Raises ``BadSettings`` when the port cannot be had, or a certificate cannot be used.
        """
        if self._settings.is_open:
            names = (*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)
        host = self._settings.host
        try:
            if (credentials := tls.server_credentials(self._settings)) is None:
                port = self._server.add_insecure_port(f"{host}:{port}")
            else:
                port = self._server.add_secure_port(f"{host}:{port}", credentials)
        except RuntimeError:
            raise BadSettings(f"cannot listen on {host}:{port}; is it taken?") from None
        await self.set_ready(False)
        await self._health.set(LIVE, _SERVING)
        if self._known is not None:
            await self._until_drained.enter_async_context(self._known.followed())
        await self._server.start()
        return f"{host}:{port}"

    async def set_ready(self, ready: bool) -> None:
        """What the health service says of this process and of each of its services."""
        for name in ("", *self._names):
            await self._health.set(name, _SERVING if ready else _NOT_SERVING)

    async def drain(self) -> None:
        """Not ready any more; after a pause in which callers notice, finish what is in work and stop.

        Without the pause gRPC would cancel what comes while it stops, which looks as if it were too much.
        """
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(self._settings.drain_pause_s)
        await self._server.stop(self._settings.request_timeout_s)
        if self._traces is not None:
            await self._traces.aclose()
        await self._until_drained.aclose()


async def until_told_to_stop() -> None:
    """Return on SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    await stop.wait()
    log.info("told to stop")
