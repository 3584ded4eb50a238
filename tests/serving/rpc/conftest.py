"""A server on a free port whose Embed service does what a test says, and a channel to it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from serving.proto import embed_pb2, embed_pb2_grpc
from serving.rpc import client
from serving.rpc.server import Server
from serving.settings import Settings
from serving.telemetry import RpcMetrics
from serving.tracing import Tracing


class Scripted(embed_pb2_grpc.EmbedServicer):
    """Answers with ``model_version`` "done" after ``behave``; counts what came."""

    def __init__(self) -> None:
        self.calls = 0
        self.cancelled = 0

    async def behave(self) -> None:
        """What a test puts here happens in the call."""

    async def reached(self, calls: int) -> None:
        """Return once so many calls came in."""
        async with asyncio.timeout(10):
            while self.calls < calls:  # noqa: ASYNC110 the calls come from another task
                await asyncio.sleep(0.01)

    async def Embed(self, request: embed_pb2.EmbedRequest, context: Any) -> embed_pb2.EmbedReply:
        self.calls += 1
        try:
            await self.behave()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return embed_pb2.EmbedReply(model_version="done")


class Line:
    """One server and one client."""

    def __init__(self, server: Server, address: str, channel: grpc.aio.Channel, metrics: RpcMetrics) -> None:
        self.server = server
        self.address = address
        self.channel = channel
        self.metrics = metrics
        self.servicer: Scripted

    async def call(self, images: tuple[bytes, ...] = (), **options: Any) -> str:
        """Raises what ``error_of`` makes of a failure."""
        request = embed_pb2.EmbedRequest(images=images)
        try:
            reply = await embed_pb2_grpc.EmbedStub(self.channel).Embed(request, **options)
        except grpc.aio.AioRpcError as error:
            raise client.error_of(error) from error
        return reply.model_version

    def counted(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0


@asynccontextmanager
async def open_line(port: int = 0, **settings: Any) -> AsyncIterator[Line]:
    metrics = RpcMetrics()
    read = Settings(**settings)
    server = Server(read, metrics, traces=Tracing.of(read, "embed"))
    servicer = Scripted()
    service = embed_pb2.DESCRIPTOR.services_by_name["Embed"]
    server.add(service, embed_pb2_grpc.add_EmbedServicer_to_server, servicer)
    address = await server.start(port)
    await server.set_ready(True)
    try:
        async with client.channel(address) as channel:
            line = Line(server, address, channel, metrics)
            line.servicer = servicer
            yield line
    finally:
        await server.drain()


Open = Callable[..., Coroutine[Any, Any, Line]]


@pytest.fixture
def opened():
    """``async with opened(max_concurrency=2) as line``."""
    return open_line
