import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgsearch_assets.local.redis_server import redis_command
from tests.gcs_process import GcsProcess
from tests.serving.processes import Start, starting
from tests.serving.sinks import Sink, listening


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with starting(tmp_path) as start:
        yield start


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening() as sink:
        yield sink


@pytest.fixture(scope="session")
def gcs() -> Iterator[GcsProcess]:
    """A Google Cloud Storage of our own."""
    process = GcsProcess()
    yield process
    process.kill()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis server of our own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(redis_command(port), stdout=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(10)
