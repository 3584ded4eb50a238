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
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import SecretStr

from imgsearch_assets.models import register_detector, register_embedder
from imgsearch_assets.processes import free_port
from imgsearch_assets.release import follow_in_milvus
from serving.index.store import point, read_pointer
from serving.object_store import LocalObjectStore
from serving.proto import search_pb2, search_pb2_grpc
from serving.settings import Settings

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING

Start = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start ``python -m serving ...`` on a free port; the process and its address."""
    started = []

    def run(*arguments: str, **environment: str) -> tuple[subprocess.Popen[str], str]:
        with (tmp_path / f"{arguments[0]}.log").open("w") as log:  # a pipe that nobody reads fills up
            process = subprocess.Popen(
                [sys.executable, "-m", "serving", *arguments, "--port", "0"],
                env=os.environ
                | {"IMGSEARCH_HOME": str(tmp_path), "IMGSEARCH_POLL_INTERVAL_S": "0.05"}
                | environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        started.append(process)
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("listening on 127.0.0.1:"), (tmp_path / f"{arguments[0]}.log").read_text()
        return process, said.split()[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def stopped(process: subprocess.Popen[str], log: Path, signum: int = signal.SIGTERM) -> list[dict]:
    """Tell a process to stop, see that it ends well; the lines of its log."""
    process.send_signal(signum)
    said, _ = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, ""), log.read_text()
    return [json.loads(line) for line in log.read_text().splitlines()]


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


def test_a_taken_port_for_metrics_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = (sys.executable, "-m", "serving", "search", "--port", "0", "--metrics-port", str(port))
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


def test_the_front_refuses_endless_headers(tmp_path: Path, start: Start) -> None:
    process, address = start("api")
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: shop\r\n")
        with contextlib.suppress(ConnectionError):  # it may have hung up already
            for _ in range(40):
                client.sendall(b"X-More: " + 60_000 * b"a" + b"\r\n")
        with contextlib.suppress(ConnectionError):
            assert client.recv(100).startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    stopped(process, tmp_path / "api.log")


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
