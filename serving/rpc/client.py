"""Channels to the services, and their errors as ours."""

import json

import grpc

from serving.errors import ImgsearchError
from serving.rpc.errors import from_status

# A reply of 64 queries with 100 products each is some megabytes; gRPC's own bound is four.
MAX_REPLY_BYTES = 32 * 2**20

_SERVICE_CONFIG = {
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
    # When most calls fail, retries stop: they would only add to the load.
    "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
}

_OPTIONS = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
    # A peer that vanished without a word is noticed, and a proxy does not close what looks idle.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # A service that restarts is found again within a second or so, not after two minutes of back-off.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


def channel(address: str) -> grpc.aio.Channel:
    """A channel to ``host:port``; connects when first used. Close it, or use it as ``async with``."""
    return grpc.aio.insecure_channel(address, options=_OPTIONS)


def error_of(error: grpc.aio.AioRpcError) -> ImgsearchError:
    """The ``ImgsearchError`` that a failed call stands for: ``raise error_of(error) from error``."""
    return from_status(error)
