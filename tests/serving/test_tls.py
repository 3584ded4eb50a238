"""TLS over real sockets: between the services, and in front of them."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from serving import tls
from serving.api.app import create_app
from serving.api.front import Front
from serving.errors import BadSettings, Unavailable
from serving.identity import store as stored
from serving.object_store import LocalObjectStore
from serving.proto import embed_pb2, embed_pb2_grpc
from serving.rpc import client
from serving.rpc.server import Server
from serving.settings import Settings
from serving.telemetry import RpcMetrics
from tests.certificates import Files

REFUSED = "a service behind this one cannot be reached"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls"), "ours")


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls"), "strange")


class Embed(embed_pb2_grpc.EmbedServicer):
    async def Embed(self, request: embed_pb2.EmbedRequest, context: Any) -> embed_pb2.EmbedReply:
        return embed_pb2.EmbedReply(model_version="done")


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[str]:
    server = Server(Settings(**settings), RpcMetrics())
    service = embed_pb2.DESCRIPTOR.services_by_name["Embed"]
    server.add(service, embed_pb2_grpc.add_EmbedServicer_to_server, Embed())
    address = await server.start(0)
    await server.set_ready(True)
    try:
        yield address
    finally:
        await server.drain()


async def asked(address: str, **settings: Any) -> str:
    """What the server at ``address`` answers to a front with ``settings``."""
    caller = client.Caller.of(Settings(**settings))
    async with client.channel(address, caller, serving_alone=True) as channel:
        stub = embed_pb2_grpc.EmbedStub(caller.identified(channel))
        try:
            return (await stub.Embed(embed_pb2.EmbedRequest(), timeout=10)).model_version
        except grpc.aio.AioRpcError as error:
            raise client.error_of(error) from error


async def test_a_server_is_held_to_its_certificate(files: Files, strange: Files) -> None:
    certificate, key = files.server
    async with serving(tls_certificate=certificate, tls_key=key) as address:
        assert await asked(address, tls_ca=files.ca) == "done"
        assert await asked(address, tls_ca=files.ca, tls_server_name="search.internal") == "done"
        for wrong in (
            {},
            {"tls_ca": strange.ca},
            {"tls_ca": files.ca, "tls_server_name": "other.internal"},
        ):
            with pytest.raises(Unavailable, match=REFUSED):
                await asked(address, **wrong)


async def test_a_client_is_held_to_its_certificate(files: Files, strange: Files) -> None:
    certificate, key = files.server
    right = {"tls_ca": files.ca, "tls_client_certificate": files.client[0], "tls_client_key": files.client[1]}
    async with serving(tls_certificate=certificate, tls_key=key, tls_client_ca=files.ca) as address:
        assert await asked(address, **right) == "done"
        for wrong in (
            {"tls_ca": files.ca},
            {**right, "tls_client_certificate": strange.client[0], "tls_client_key": strange.client[1]},
            {**right, "tls_ca": strange.ca},
        ):
            with pytest.raises(Unavailable, match=REFUSED):
                await asked(address, **wrong)


async def test_replicas_are_held_to_the_name_that_they_share(files: Files) -> None:
    certificate, key = files.server
    tls_settings = {"tls_certificate": certificate, "tls_key": key, "tls_client_ca": files.ca}
    right = {"tls_ca": files.ca, "tls_client_certificate": files.client[0], "tls_client_key": files.client[1]}
    async with serving(**tls_settings) as one, serving(**tls_settings) as other:
        replicas = f"ipv4:{one},{other}"
        assert await asked(replicas, **right, tls_server_name="search.internal") == "done"
        with pytest.raises(Unavailable, match=REFUSED):
            await asked(replicas, **right, tls_server_name="other.internal")


async def test_a_certificate_of_a_client_is_no_api_key(files: Files, tmp_path: Path) -> None:
    certificate, key = files.server
    right = {"tls_ca": files.ca, "tls_client_certificate": files.client[0], "tls_client_key": files.client[1]}
    told = stored.create(LocalObjectStore(tmp_path / "objects"), "local", "front", ["search"])[1]
    async with serving(
        tls_certificate=certificate, tls_key=key, tls_client_ca=files.ca, home=tmp_path, open=False
    ) as address:
        with pytest.raises(Unavailable, match="a service behind this one refuses this one's API key"):
            await asked(address, **right)
        assert await asked(address, **right, service_key=told) == "done"


async def test_the_front_speaks_https(files: Files, strange: Files, tmp_path: Path) -> None:
    certificate, key = files.server
    settings = Settings(https_certificate=certificate, https_key=key, home=tmp_path)
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    front = Front(create_app(settings), settings, 0, ready.set_result)
    serving = asyncio.create_task(front.serve(sockets=[front.listener]))
    address = await asyncio.wait_for(ready, 20)
    async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=str(files.ca))) as http:
        assert (await http.get(f"https://{address}/healthz")).json() == {"status": "alive"}
    async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=str(strange.ca))) as http:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await http.get(f"https://{address}/healthz")
    async with httpx.AsyncClient() as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get(f"http://{address}/healthz")
    front.should_exit = True
    await serving


def test_a_file_that_cannot_be_read_is_named(files: Files, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.pem"
    certificate, key = files.server
    for settings, read, name in (
        ({"tls_certificate": nowhere, "tls_key": key}, tls.server_credentials, "TLS_CERTIFICATE"),
        ({"tls_certificate": certificate, "tls_key": nowhere}, tls.server_credentials, "TLS_KEY"),
        (
            {"tls_certificate": certificate, "tls_key": key, "tls_client_ca": nowhere},
            tls.server_credentials,
            "TLS_CLIENT_CA",
        ),
        ({"tls_ca": nowhere}, tls.channel_credentials, "TLS_CA"),
        ({"https_certificate": certificate, "https_key": nowhere}, tls.check_https, "HTTPS_KEY"),
    ):
        with pytest.raises(BadSettings) as error:
            read(Settings(**settings))
        assert error.value.message == (
            f"IMGSEARCH_{name} cannot be read: {nowhere}: No such file or directory"
        )


def test_what_is_no_certificate_is_named(files: Files, strange: Files, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    loaded = load_pem_private_key(files.server[1].read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    ours = files.server[0]
    for certificate, key in ((ours, strange.server[1]), (empty, files.server[1]), (ours, locked)):
        with pytest.raises(BadSettings) as error:
            tls.server_credentials(Settings(tls_certificate=certificate, tls_key=key))
        assert error.value.message == (
            "IMGSEARCH_TLS_CERTIFICATE and IMGSEARCH_TLS_KEY are no certificate and its private key, as PEM "
            "and without a password"
        )
    for data in ("", "hello", "ü"):
        empty.write_text(data)
        with pytest.raises(BadSettings) as error:
            tls.channel_credentials(Settings(tls_ca=empty))
        assert error.value.message == f"IMGSEARCH_TLS_CA holds no certificate as PEM: {empty}"
