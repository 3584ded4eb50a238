import asyncio
import socket
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from serving.errors import BadSettings, Unavailable
from serving.rpc.server import LIVE, Server
from serving.settings import Settings
from serving.telemetry import RpcMetrics

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def health(channel: grpc.aio.Channel, service: str = "", wait: bool = False) -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    stub = health_pb2_grpc.HealthStub(channel)
    return (await stub.Check(request, timeout=10, wait_for_ready=wait)).status


async def test_health_says_what_it_was_told(opened) -> None:
    async with opened() as line:
        assert await health(line.channel) == SERVING
        assert await health(line.channel, "imgsearch.v1.Embed") == SERVING
        await line.server.set_ready(False)
        assert await health(line.channel) == NOT_SERVING
        assert await health(line.channel, "imgsearch.v1.Embed") == NOT_SERVING
        assert await health(line.channel, LIVE) == SERVING, "nobody starts it again for that"


async def test_health_answers_when_there_is_no_room_for_calls(opened) -> None:
    async with opened(max_concurrency=1) as line:
        go = asyncio.Event()

        async def wait() -> None:
            await go.wait()

        line.servicer.behave = wait
        call = asyncio.create_task(line.call())
        await line.servicer.reached(1)
        assert await health(line.channel) == SERVING
        go.set()
        await call


async def test_a_drain_finishes_what_is_in_work(opened) -> None:
    async with opened(drain_pause_s=0.3) as line:
        go = asyncio.Event()

        async def wait() -> None:
            await go.wait()

        line.servicer.behave = wait
        in_work = asyncio.create_task(line.call())
        await line.servicer.reached(1)
        draining = asyncio.create_task(line.server.drain())
        await asyncio.sleep(0.05)
        assert await health(line.channel) == NOT_SERVING
        in_the_pause = asyncio.create_task(line.call())
        await asyncio.sleep(0.05)
        assert line.servicer.calls == 2, "who has not noticed yet is still served"
        await asyncio.sleep(0.4)
        go.set()
        assert await asyncio.gather(in_work, in_the_pause) == ["done", "done"]
        await asyncio.wait_for(draining, 5)
        with pytest.raises(Unavailable):
            await line.call(timeout=2)


async def test_a_client_finds_a_server_that_restarts(opened) -> None:
    async with opened() as line:
        assert await line.call() == "done"
        port = int(line.address.rpartition(":")[2])
        await line.server.drain()
        with pytest.raises(Unavailable):
            await line.call(timeout=2)
        again = Server(Settings(), RpcMetrics())
        await again.start(port)
        await again.set_ready(True)
        assert await health(line.channel, wait=True) == SERVING
        await again.drain()


async def test_one_failure_on_the_way_is_tried_again(opened) -> None:
    async with opened() as line:

        async def fail_once() -> None:
            if line.servicer.calls == 1:
                raise Unavailable("just a moment")

        line.servicer.behave = fail_once
        assert await line.call() == "done"
        assert line.servicer.calls == 2


async def test_a_taken_port_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadSettings, match=f"cannot listen on 127.0.0.1:{port}; is it taken?"):
            await Server(Settings(), RpcMetrics()).start(port)


@pytest.mark.parametrize("environment", ["local", "production"])
async def test_only_a_local_server_tells_its_interface(opened, environment: str, tmp_path: Path) -> None:
    async with opened(environment=environment, home=tmp_path) as line:

        def ask() -> list[str]:
            with grpc.insecure_channel(line.address) as channel:
                database = ProtoReflectionDescriptorDatabase(channel)
                names = sorted(database.get_services())
                found = DescriptorPool(database).FindServiceByName("imgsearch.v1.Embed")
                assert [method.name for method in found.methods] == ["Embed", "EmbedText"]
                return names

        if environment == "local":
            names = await asyncio.to_thread(ask)
            assert names == [
                "grpc.health.v1.Health",
                "grpc.reflection.v1alpha.ServerReflection",
                "imgsearch.v1.Embed",
            ]
        else:
            with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):
                await asyncio.to_thread(ask)
