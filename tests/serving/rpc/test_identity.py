"""Who may call: every RPC of every service, with every kind of key."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving import telemetry
from serving.errors import Unavailable
from serving.identity import store as stored
from serving.object_store import LocalObjectStore
from serving.proto import (
    detect_pb2,
    detect_pb2_grpc,
    embed_pb2,
    embed_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
)
from serving.rpc.client import Caller, error_of
from serving.rpc.server import Server
from serving.settings import Settings
from serving.telemetry import RpcMetrics

SERVICES = (
    (detect_pb2, detect_pb2_grpc.add_DetectServicer_to_server),
    (embed_pb2, embed_pb2_grpc.add_EmbedServicer_to_server),
    (search_pb2, search_pb2_grpc.add_SearchServicer_to_server),
)


def every_method() -> Iterator[MethodDescriptor]:
    for module, _ in SERVICES:
        for service in module.DESCRIPTOR.services_by_name.values():
            yield from service.methods


class Answering:
    """An empty reply to every method of a service; ``heard`` is who called what."""

    heard: list[tuple[str, str]]

    def __getattribute__(self, name: str) -> Any:
        method = next((found for found in every_method() if found.name == name), None)
        if method is None:
            return super().__getattribute__(name)

        async def answer(request: Any, context: Any) -> Any:
            self.heard.append((name, telemetry.caller.get()))
            return message_factory.GetMessageClass(method.output_type)()

        return answer


@pytest.fixture
def kinds(tmp_path: Path) -> dict[str, str | None]:
    store = LocalObjectStore(tmp_path / "objects")
    told = {name: stored.create(store, "production", name, ["search"]) for name in ("right", "revoked")}
    stored.revoke(store, "production", told["revoked"][0].id)
    expired = stored.create(store, "production", "old", ["search"], expires_at=time.time() + 0.01)[1]
    time.sleep(0.02)
    return {
        "none": None,
        "unknown": f"imgs_{told['right'][0].id}_{'0' * 64}",
        "revoked": told["revoked"][1],
        "expired": expired,
        "wrong scope": stored.create(store, "production", "admin", ["admin"])[1],
        "right": told["right"][1],
    }


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[tuple[grpc.aio.Channel, Answering]]:
    server, answering = Server(Settings(**settings), RpcMetrics()), Answering()
    answering.heard = []
    for module, register in SERVICES:
        for service in module.DESCRIPTOR.services_by_name.values():
            server.add(service, register, answering)
    address = await server.start(0)
    await server.set_ready(True)
    async with grpc.aio.insecure_channel(address) as channel:
        yield channel, answering
    await server.drain()


async def knock(channel: grpc.aio.Channel, method: MethodDescriptor, key: str | None) -> str:
    call = channel.unary_unary(f"/{method.containing_service.full_name}/{method.name}")
    metadata = () if key is None else (("authorization", f"Bearer {key}"),)
    try:
        await call(b"", metadata=metadata, timeout=10)
    except grpc.aio.AioRpcError as error:
        return f"{error.code().name}: {error.details()}"
    return "OK"


async def test_every_rpc_with_every_kind_of_key(tmp_path: Path, kinds: dict[str, str | None]) -> None:
    methods = list(every_method())
    assert len(methods) == 7
    async with serving(home=tmp_path, environment="production") as (channel, answering):
        for method in methods:
            said = {kind: await knock(channel, method, key) for kind, key in kinds.items()}
            revoked, expired, wrong = (
                str(kinds[kind])[5:17] for kind in ("revoked", "expired", "wrong scope")
            )
            assert said == {
                "none": "UNAUTHENTICATED: an API key is needed; send it as Authorization: Bearer KEY",
                "unknown": "UNAUTHENTICATED: this API key is not known here",
                "revoked": f"UNAUTHENTICATED: API key {revoked} was revoked",
                "expired": f"UNAUTHENTICATED: API key {expired} has expired",
                "wrong scope": f"PERMISSION_DENIED: API key {wrong} has no scope search",
                "right": "OK",
            }
        right = str(kinds["right"])[5:17]
        assert answering.heard == [(method.name, right) for method in methods]
        health = health_pb2_grpc.HealthStub(channel)
        reply = await health.Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING


async def test_an_open_server_asks_nobody(tmp_path: Path) -> None:
    async with serving(home=tmp_path) as (channel, answering):
        for method in every_method():
            assert await knock(channel, method, None) == "OK"
        assert {caller for _, caller in answering.heard} == {""}
    assert not (tmp_path / "objects").exists()


async def test_the_key_of_the_front_goes_with_its_calls(tmp_path: Path, kinds: dict[str, str | None]) -> None:
    async with serving(home=tmp_path, environment="production") as (channel, answering):
        right = Caller(key=kinds["right"]).identified(channel)
        stub = search_pb2_grpc.SearchStub(right)
        await stub.Status(search_pb2.StatusRequest(), timeout=10, metadata=(("x-request-id", "a"),))
        assert answering.heard == [("Status", str(kinds["right"])[5:17])]
        stub = search_pb2_grpc.SearchStub(Caller(key=kinds["revoked"]).identified(channel))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Status(search_pb2.StatusRequest(), timeout=10)
        told = error_of(refused.value)
        assert isinstance(told, Unavailable)
        assert str(told) == "a service behind this one refuses this one's API key"
    assert Caller().identified(channel) is channel
    assert str(kinds["right"]) not in repr(Caller(key=kinds["right"]))
