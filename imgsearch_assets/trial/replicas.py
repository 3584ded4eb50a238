"""Every replica of a search service: where each is, and waiting until all serve one generation."""

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TypeAlias

import grpc

from serving.errors import Unverified
from serving.proto import search_pb2, search_pb2_grpc
from serving.rpc import client

_LOOK_S = 0.25
_ANSWER_S = 2.0
# Replicas that a sentence names; it is for a person.
_NAMED = 3


_Status: TypeAlias = grpc.aio.UnaryUnaryMultiCallable[search_pb2.StatusRequest, search_pb2.StatusReply]


def host_of(address: str) -> str | None:
    """The name that certificates of ``address`` have, None for a list: that has none."""
    if address.startswith(("ipv4:", "ipv6:")):
        return None
    return address.removeprefix("dns:").rpartition("/")[2].rpartition(":")[0]


async def find(address: str) -> list[str]:
    """The ``host:port`` of each replica that gRPC's ``address`` names now; none while a name is unknown."""
    host = host_of(address)
    if host is None:
        return address.partition(":")[2].split(",")
    port = int(address.rpartition(":")[2])
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    hosts = sorted({str(where[4][0]) for where in found})
    return [f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}" for ip in hosts]


async def wait(
    address: str,
    generation: str,
    deadline_s: float,
    caller: client.Caller,
    look: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Return when every replica serves ``generation``; the seconds after which each was first seen to.

    A name is resolved anew each time, as replicas come and go. ``look`` is called each time as well, and ends
    the waiting by what it raises. Raises ``Unverified`` after ``deadline_s``, naming those that do not.
    """
    if caller.credentials is not None and caller.server_name is None:
        caller = replace(caller, server_name=host_of(address))
    started, seconds = time.monotonic(), dict[str, float]()
    calls: dict[str, _Status] = {}
    async with AsyncExitStack() as stack:
        while True:
            look()
            replicas = await find(address)
            for replica in replicas:
                if replica not in calls:
                    channel = await stack.enter_async_context(client.channel(replica, caller))
                    calls[replica] = search_pb2_grpc.SearchStub(caller.identified(channel)).Status
            said = await asyncio.gather(*(_not_yet(calls[one], generation) for one in replicas))
            passed = time.monotonic() - started
            for replica, reason in zip(replicas, said, strict=True):
                if reason is None:
                    seconds.setdefault(replica, round(passed, 2))
            late = {one: reason for one, reason in zip(replicas, said, strict=True) if reason is not None}
            if replicas and not late:
                return {replica: seconds[replica] for replica in replicas}
            if passed > deadline_s:
                raise Unverified(_sentence(address, len(replicas), late, deadline_s))
            await asyncio.sleep(_LOOK_S)


async def _not_yet(call: _Status, generation: str) -> str | None:
    """Why a replica does not serve ``generation``, None when it does."""
    try:
        reply = await call(search_pb2.StatusRequest(), timeout=_ANSWER_S)
    except grpc.aio.AioRpcError as error:
        return client.error_of(error).message
    if reply.last_error:
        return reply.last_error
    return None if reply.generation == generation else f"it serves {reply.generation or 'nothing'}"


def _sentence(address: str, replicas: int, late: dict[str, str], deadline_s: float) -> str:
    if not replicas:
        return f"{address} names no search service"
    which = "; ".join(f"{replica}: {reason}" for replica, reason in list(late.items())[:_NAMED])
    return f"{len(late)} of {replicas} search services do not serve it after {deadline_s:g} s ({which})"
