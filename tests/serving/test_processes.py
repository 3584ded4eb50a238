"""Every service as its own process: started, asked, told to stop."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import SecretStr

from imgsearch_assets.local.processes import free_port
from imgsearch_assets.models.shipped import register_detector, register_embedder
from imgsearch_assets.release.publish import follow_in_milvus
from serving.identity.store import create
from serving.index.store import point, read_pointer
from serving.object_store import LocalObjectStore
from serving.proto import search_pb2, search_pb2_grpc
from serving.settings import Settings
from tests.serving.processes import Start, stopped

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def health(address: str, service: str = "") -> int:
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status


def test_search_picks_up_a_generation_while_it_runs(shop, tmp_path: Path, start: Start) -> None:
    assert shop.store.root == tmp_path / "objects"
    metrics_port = free_port()
    process, address = start("search", "--metrics-port", str(metrics_port))
    assert health(address, "imgsearch.v1.Search") == NOT_SERVING
    manifest = shop.build()
    point(shop.store, "local", manifest, "test", "test", read_pointer(shop.store, "local"))
    with grpc.insecure_channel(address) as channel:
        stub = search_pb2_grpc.SearchStub(channel)
        request = search_pb2.SearchRequest(queries=[search_pb2.Query(product_id="p00001", k=3)])
        while not stub.Status(search_pb2.StatusRequest(), timeout=10).generation:
            time.sleep(0.05)
        reply = stub.Search(request, timeout=10)
        request.queries[0].product_id = "none"
        with pytest.raises(grpc.RpcError, match="'none' is not in the index"):
            stub.Search(request, timeout=10, metadata=(("x-request-id", "my-own-id"),))
    assert reply.generation == manifest.id
    assert len(reply.results[0].hits) == 3
    assert health(address) == SERVING
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics") as page:
        figures = page.read().decode()
    assert 'imgsearch_rpc_calls_total{method="Search",status="OK"} 1.0' in figures
    assert "imgsearch_generation_products 60.0" in figures
    lines = stopped(process, tmp_path / "search.log")
    assert any(line.get("generation") == manifest.id for line in lines)
    assert [line["request_id"] for line in lines if line.get("method") == "Search"] == ["my-own-id"]


def test_search_in_milvus_waits_for_it(shop, tmp_path: Path, start: Start) -> None:
    from milvus_lite.adapter.grpc.server import start_server_in_thread

    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    process, address = start("search", IMGSEARCH_SEARCH_BACKEND="milvus", IMGSEARCH_MILVUS_URI=uri)
    assert health(address, "imgsearch.v1.Search") == NOT_SERVING
    manifest = shop.build()
    point(shop.store, "local", manifest, "test", "test", read_pointer(shop.store, "local"))
    with grpc.insecure_channel(address) as channel:
        stub = search_pb2_grpc.SearchStub(channel)
        status = stub.Status(search_pb2.StatusRequest(), timeout=10)
        assert (status.generation, status.last_error) == ("", "Milvus does not answer: describe alias")
        milvus, database, _ = start_server_in_thread(str(tmp_path / "milvus"), port=port)
        settings = Settings(search_backend="milvus", milvus_uri=SecretStr(uri))
        follow_in_milvus(shop.store, "local", settings, keep=3)
        while not stub.Status(search_pb2.StatusRequest(), timeout=10).generation:
            time.sleep(0.05)
        request = search_pb2.SearchRequest(queries=[search_pb2.Query(product_id="p00001", k=3)])
        reply = stub.Search(request, timeout=10)
        assert (reply.generation, len(reply.results[0].hits)) == (manifest.id, 3)
        assert health(address) == SERVING
        milvus.stop(grace=0).wait()
        database.close()
        with pytest.raises(grpc.RpcError, match="Milvus does not answer: query") as error:
            stub.Search(request, timeout=10)
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    stopped(process, tmp_path / "search.log")


def test_the_model_services_serve_the_live_models(tmp_path: Path, start: Start) -> None:
    store = LocalObjectStore(tmp_path / "objects")
    register_detector(store)
    register_embedder(store)
    for name, service in (("detect", "imgsearch.v1.Detect"), ("embed", "imgsearch.v1.Embed")):
        process, address = start(name)
        assert health(address, service) == SERVING
        stopped(process, tmp_path / f"{name}.log")


def test_the_front_starts_alone_and_stops(tmp_path: Path, start: Start) -> None:
    process, address = start("api")
    with urllib.request.urlopen(f"http://{address}/healthz") as page:
        assert page.status == 200
    stopped(process, tmp_path / "api.log", signal.SIGINT)


def test_a_closed_front_with_its_services_and_admin_calls(shop, tmp_path: Path, start: Start) -> None:
    manifest = shop.build()
    point(shop.store, "production", manifest, "test", "test", read_pointer(shop.store, "production"))
    front, admin = (create(shop.store, "production", name, [name])[1] for name in ("search", "admin"))
    closed = {"IMGSEARCH_ENVIRONMENT": "production"}
    search, address = start("search", **closed)
    admin_port, metrics_port = free_port(), free_port()
    api, url = start(
        "api",
        *("--metrics-port", str(metrics_port)),
        **closed,
        IMGSEARCH_SEARCH_ADDRESS=address,
        IMGSEARCH_SERVICE_KEY=front,
        IMGSEARCH_ADMIN_PORT=str(admin_port),
    )

    def ask(where: str, key: str) -> httpx.Response:
        return httpx.get(f"http://{where}", headers={"Authorization": f"Bearer {key}"}, timeout=20)

    assert ask(f"{url}/v1/products/p00001", front).json()["generation"] == manifest.id
    (generation,) = ask(f"127.0.0.1:{admin_port}/v1/admin/generations", admin).json()["generations"]
    assert (generation["id"], generation["live_in"]) == (manifest.id, ["production"])
    for where, key in ((f"{url}/v1/status", admin), (f"127.0.0.1:{admin_port}/v1/admin/keys", front)):
        assert ask(where, key).status_code == 403
    # What it counts is nobody's business who reaches the front.
    assert ask(f"{url}/metrics", front).status_code == 404
    assert 'route="/v1/products/{product_id}",status="200"' in ask(f"127.0.0.1:{metrics_port}", front).text
    lines = stopped(api, tmp_path / "api.log")
    keys = [line.get("key") for line in lines if line["logger"] == "serving.api.access"]
    assert keys == [front[5:17], admin[5:17], None, None, None]
    assert not [line for line in lines if line["logger"] == "serving.processes"]
    stopped(search, tmp_path / "search.log")


@pytest.mark.parametrize("name", ["api", "search"])
def test_an_open_process_says_so_once(tmp_path: Path, start: Start, name: str) -> None:
    process, address = start(name)
    if name == "api":
        assert httpx.get(f"http://{address}/healthz", timeout=20).status_code == 200
    else:
        assert health(address) == NOT_SERVING
    lines = stopped(process, tmp_path / f"{name}.log")
    said = [line["message"] for line in lines if line["logger"] == "serving.processes"]
    assert said == ["open to everybody who reaches 127.0.0.1; IMGSEARCH_OPEN=false asks for API keys"]


@pytest.mark.parametrize("name", ["api", "search"])
def test_a_taken_port_for_metrics_is_one_sentence(tmp_path: Path, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = (sys.executable, "-m", "serving", name, "--port", "0", "--metrics-port", str(port))
        done = subprocess.run(
            command,
            env=os.environ | {"IMGSEARCH_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    said = done.stderr.splitlines()[-1]
    assert (done.returncode, said) == (
        1,
        f"imgsearch: cannot listen on 127.0.0.1:{port} for metrics: Address already in use",
    )


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "imgsearch: no model named 'detector' is registered in this object store\n"),
        (
            {"IMGSEARCH_MAX_K": "0"},
            "imgsearch: IMGSEARCH_MAX_K: Input should be greater than or equal to 1\n",
        ),
    ],
)
def test_what_a_person_can_mend_is_one_sentence(
    tmp_path: Path, environment: dict[str, str], said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "serving", "detect", "--port", "0"],
        env=os.environ | {"IMGSEARCH_HOME": str(tmp_path)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(said)
    assert "Traceback" not in done.stderr


def test_all_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("no folder")
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [str(one.getsockname()[1]) for one in (taken, other)]
        done = subprocess.run(
            [sys.executable, "-m", "serving", "search", "--port", ports[0], "--metrics-port", ports[1]],
            env=os.environ | {"IMGSEARCH_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"imgsearch: IMGSEARCH_HOME: there is no folder {tmp_path}/home; name the installation's",
        f"imgsearch: cannot listen on 127.0.0.1:{ports[0]}: Address already in use",
        f"imgsearch: cannot listen on 127.0.0.1:{ports[1]} for metrics: Address already in use",
    ]


def test_the_front_says_what_it_waits_for(tmp_path: Path, start: Start) -> None:
    ports = [free_port() for _ in range(4)]
    names = ("SEARCH", "DETECT", "EMBED")
    addresses = {
        f"IMGSEARCH_{name}_ADDRESS": f"127.0.0.1:{port}" for name, port in zip(names, ports, strict=False)
    }
    process, _ = start("api", **addresses, IMGSEARCH_REDIS_URL=f"redis://:hunter2@127.0.0.1:{ports[3]}/0")
    lines = stopped(process, tmp_path / "api.log")
    assert [line["message"] for line in lines if line["logger"] == "serving.startup"] == [
        f"the search service does not answer at 127.0.0.1:{ports[0]} yet; this process waits for it",
        f"the detect service does not answer at 127.0.0.1:{ports[1]} yet; this process waits for it",
        f"the embed service does not answer at 127.0.0.1:{ports[2]} yet; this process waits for it",
        "Redis does not answer (ConnectionError); until then everything is computed anew",
    ]


def test_the_front_drains(shop, tmp_path: Path, start: Start) -> None:
    manifest = shop.build()
    point(shop.store, "local", manifest, "test", "test", read_pointer(shop.store, "local"))
    _, search = start("search")
    process, address = start("api", IMGSEARCH_SEARCH_ADDRESS=search, IMGSEARCH_DRAIN_PAUSE_S="2")
    host, _, port = address.rpartition(":")
    with httpx.Client(base_url=f"http://{address}", timeout=10) as client:
        while client.get("/readyz").status_code != 200:
            time.sleep(0.05)
        assert "connection" not in client.get("/readyz").headers
        # A picture that is on its way: its last bytes come when nobody new is let in any more.
        with socket.create_connection((host, int(port)), timeout=20) as slow:
            body = json.dumps({"product_id": "p00001", "k": 3}).encode()
            head = f"POST /v1/search HTTP/1.1\r\nHost: shop\r\nContent-Length: {len(body)}\r\n"
            slow.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body[:5])
            process.send_signal(signal.SIGTERM)
            while (ready := client.get("/readyz")).status_code == 200:
                time.sleep(0.02)
            assert (
                ready.json()["error"]["message"] == "this process was told to stop; it takes no new callers"
            )
            assert ready.headers["connection"] == "close"
            assert client.get("/healthz").status_code == 200
            similar = client.get("/v1/products/p00001/similar")
            assert (similar.status_code, similar.json()["generation"]) == (200, manifest.id)
            with pytest.raises(httpx.ConnectError):
                while True:
                    # Who waited to be let in when the port was closed is hung up on, once.
                    with contextlib.suppress(httpx.ReadError):
                        client.get("/healthz")
                    time.sleep(0.02)
            slow.sendall(body[5:])
            assert slow.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
    assert process.wait(30) == 0
