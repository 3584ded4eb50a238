"""A channel to two replicas: who is asked, what is tried again and what is not."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc._cython import cygrpc

from serving.errors import Overloaded, Unavailable
from serving.proto import embed_pb2, embed_pb2_grpc
from serving.rpc import client, server
from serving.settings import Settings


@asynccontextmanager
async def replicas(opened: Any, **settings: Any) -> AsyncIterator[tuple[Any, Any, grpc.aio.Channel]]:
    """Two servers, and a channel to those of them that serve, by which both were asked."""
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(opened(**settings)) for _ in range(2)]
        address = f"ipv4:{one.address},{other.address}"
        channel = await stack.enter_async_context(client.channel(address, serving_alone=True))
        async with asyncio.timeout(10):
            while not (one.servicer.calls and other.servicer.calls):
                await ask(channel)
        yield one, other, channel


class Names(asyncio.DatagramProtocol):
    """A name server for which every name has the IPv4 address ``host`` (RFC 1035)."""

    def __init__(self) -> None:
        self.host = "127.0.0.1"

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.address = "{}:{}".format(*transport.get_extra_info("sockname"))

    def datagram_received(self, data: bytes, address: Any) -> None:
        end = data.index(b"\0", 12) + 5
        found = b""
        if data[end - 4 : end] == struct.pack("!HH", 1, 1):
            found = struct.pack("!HHHIH", 0xC00C, 1, 1, 0, 4) + socket.inet_aton(self.host)
        head = struct.pack("!HHHHH", 0x8580, 1, bool(found), 0, 0)
        self._transport.sendto(data[:2] + head + data[12:end] + found, address)


@pytest.fixture
async def names() -> AsyncIterator[Names]:
    transport, names = await asyncio.get_running_loop().create_datagram_endpoint(Names, ("127.0.0.1", 0))
    yield names
    transport.close()


async def ask(channel: grpc.aio.Channel, times: int = 8) -> None:
    """So many calls at once, of which none may fail."""
    call = embed_pb2_grpc.EmbedStub(channel).Embed
    await asyncio.gather(*(call(embed_pb2.EmbedRequest(), timeout=10) for _ in range(times)))


async def asks_alone(channel: grpc.aio.Channel, line: Any, other: Any) -> None:
    """Return when calls go to ``line`` and none of them to ``other``; none fails before."""
    async with asyncio.timeout(10):
        while True:
            before = line.servicer.calls, other.servicer.calls
            await ask(channel)
            if line.servicer.calls > before[0] and other.servicer.calls == before[1]:
                return
            await asyncio.sleep(0.01)


async def test_a_replica_that_is_not_ready_is_not_asked(opened) -> None:
    async with replicas(opened) as (one, other, channel):
        await other.server.set_ready(False)
        await asks_alone(channel, one, other)
        await other.server.set_ready(True)
        await one.server.set_ready(False)
        await asks_alone(channel, other, one)


async def test_who_watches_leaves_a_replica_while_it_drains(opened) -> None:
    """So that nothing comes any more when it stops: gRPC would cancel that."""
    async with replicas(opened, drain_pause_s=0.5) as (one, other, channel):
        await ask(channel)
        draining = asyncio.create_task(one.server.drain())
        await asks_alone(channel, other, one)
        assert not draining.done()
        while not draining.done():
            await ask(channel)
        await draining


async def test_all_that_a_replica_fails_at_once_is_tried_again(opened) -> None:
    async with replicas(opened, max_concurrency=128) as (one, other, channel):

        async def die() -> None:
            await asyncio.sleep(0.1)
            await one.server.set_ready(False)
            raise Unavailable("I am gone")

        one.servicer.behave = die
        one.servicer.calls = other.servicer.calls = 0
        await ask(channel, 64)
        assert one.servicer.calls >= 32
        assert other.servicer.calls == 64


async def test_a_server_is_found_at_its_new_address(opened, names: Names) -> None:
    async with opened() as line:
        port = line.address.rpartition(":")[2]
        async with client.channel(f"dns://{names.address}/search.internal.:{port}") as channel:
            await ask(channel)
            assert line.servicer.calls == 8
            async with opened(port=int(port), host="127.0.0.2") as elsewhere:
                names.host = "127.0.0.2"
                await line.server.drain()
                async with asyncio.timeout(15):
                    while not elsewhere.servicer.calls:
                        with contextlib.suppress(grpc.aio.AioRpcError):
                            await ask(channel)


async def test_a_large_request_is_tried_again(opened) -> None:
    async with opened() as line:

        async def fail_once() -> None:
            if line.servicer.calls == 1:
                raise Unavailable("just a moment")

        line.servicer.behave = fail_once
        assert await line.call(images=(bytes(8 * 2**20),)) == "done"
        assert line.servicer.calls == 2


async def test_what_is_refused_is_not_tried_again(opened) -> None:
    """It would be more of what is too much already."""
    async with opened() as line:

        async def refuse() -> None:
            raise Overloaded("of my own")

        line.servicer.behave = refuse
        with pytest.raises(Overloaded, match="of my own"):
            await line.call()
        assert line.servicer.calls == 1


async def test_what_grpc_sheds_is_too_much_and_is_not_tried_again(opened) -> None:
    async with opened(max_concurrency=1000) as line:
        assert await line.call() == "done"
        line.servicer.calls = 0
        found = await asyncio.gather(*(line.call() for _ in range(400)), return_exceptions=True)
        refused = [str(error) for error in found if isinstance(error, Exception)]
        assert refused
        assert set(refused) == {"a service behind this one has too much to do"}
        assert line.servicer.calls + len(refused) == 400


def test_every_option_is_one_that_grpc_has() -> None:
    """It takes no notice of others, and says nothing."""
    own = (name for name, _ in (*client._OPTIONS, *server._options(Settings())))
    known = Path(cygrpc.__file__).read_bytes()
    assert [name for name in own if f"{name}\0".encode() not in known] == []
