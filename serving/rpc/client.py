"""Channels to the services, the key that calls carry, and their errors as ours."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import grpc

from serving import tls
from serving.errors import BadSettings, ImgsearchError
from serving.rpc.errors import from_status
from serving.rpc.identity import AUTHORIZATION
from serving.settings import Settings

# A reply of 64 queries with 100 products each is some megabytes; gRPC's own bound is four.
MAX_REPLY_BYTES = 32 * 2**20
# Of a request that can be tried again. By default 256 KiB, which a photo has.
_RETRIED_BYTES = 32 * 2**20

_SERVICE_CONFIG: dict[str, Any] = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.05s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    # When most calls fail, retries stop: they would only add to the load. All that a replica had in work when
    # it died must be tried again, though, so gRPC's largest count.
    "retryThrottling": {"maxTokens": 1000, "tokenRatio": 1},
}
# Replicas of which the health service says that they do not serve are left out, so one that starts or drains
# is not asked.
_SERVING_ALONE = {"healthCheckConfig": {"serviceName": ""}}

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
    ("grpc.per_rpc_retry_buffer_size", _RETRIED_BYTES),
    # A peer that vanished without a word is noticed, and a proxy does not close what looks idle.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # A service that restarts is found again within a second or so, not after two minutes of back-off, nor,
    # where it has another address then, after half a minute.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
)


@dataclass(frozen=True)
class Caller:
    """How a process shows who it is: in the clear, and to services that are open, by nothing."""

    credentials: grpc.ChannelCredentials | None = None
    server_name: str | None = None
    key: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, settings: Settings) -> "Caller":
        """Raises ``BadSettings``, also where the services ask for a key and there is none."""
        key = settings.service_key
        if key is None and not settings.is_open:
            raise BadSettings(
                f"IMGSEARCH_SERVICE_KEY must be set in {settings.environment}; `imgsearch keys create "
                "--scope search` makes one"
            )
        secret = None if key is None else key.get_secret_value()
        return cls(tls.channel_credentials(settings), settings.tls_server_name, secret)

    def identified(self, channel: grpc.aio.Channel) -> grpc.aio.Channel:
        """The same for stubs of our services, whose unary calls carry the key."""
        if self.key is None:
            return channel
        return cast(grpc.aio.Channel, _Identified(channel, (AUTHORIZATION, f"Bearer {self.key}")))


class _Identified:
    """Not one of gRPC's interceptors: those make a task of every call."""

    def __init__(self, channel: grpc.aio.Channel, mark: tuple[str, str]) -> None:
        self._channel = channel
        self._mark = mark

    def unary_unary(self, *arguments: Any, **options: Any) -> Callable[..., Any]:
        call = self._channel.unary_unary(*arguments, **options)

        def marked(request: Any, *, metadata: tuple[tuple[str, str], ...] = (), **options: Any) -> Any:
            return call(request, metadata=(*metadata, self._mark), **options)

        return marked


IN_THE_CLEAR = Caller()


def channel(address: str, caller: Caller = IN_THE_CLEAR, *, serving_alone: bool = False) -> grpc.aio.Channel:
    """A channel to ``host:port``, or to all replicas that ``address`` names; connects when first used.

    With ``serving_alone`` to those that say that they serve. Close it, or use it as ``async with``.
    """
    config = _SERVICE_CONFIG | _SERVING_ALONE if serving_alone else _SERVICE_CONFIG
    options: tuple[tuple[str, Any], ...] = (*_OPTIONS, ("grpc.service_config", json.dumps(config)))
    if caller.credentials is None:
        return grpc.aio.insecure_channel(address, options=options)
    if (name := caller.server_name) is not None:
        options = (*options, ("grpc.ssl_target_name_override", name))
    return grpc.aio.secure_channel(address, caller.credentials, options=options)


def error_of(error: grpc.aio.AioRpcError) -> ImgsearchError:
    """The ``ImgsearchError`` that a failed call stands for: ``raise error_of(error) from error``."""
    return from_status(error)
