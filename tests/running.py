"""The platform as it runs: a process a service, each at a port that it keeps when it is started again."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import psutil
import pyarrow as pa
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from imgsearch_assets.index.generation import build_generation
from imgsearch_assets.local.processes import free_port
from imgsearch_assets.local.redis_server import redis_command
from imgsearch_assets.models.shipped import register_detector, register_embedder
from imgsearch_assets.sample.scenes import training_scene
from serving.images.box import Box
from serving.index.generation import ITEMS, PRODUCTS
from serving.index.store import point, read_pointer
from serving.models.embedder import Embedder
from serving.models.preprocess import open_picture
from serving.object_store import LocalObjectStore

SERVICES = ("search", "detect", "embed", "api")
ANOTHER_SEARCH = "search-2"
IDS = tuple(f"p{number}" for number in range(8))


def until(
    ask: Callable[[], object], what: str = "that", timeout_s: float = 60, every_s: float = 0.05
) -> None:
    """Wait for a truthy answer; fails saying that ``what`` did not happen."""
    deadline = time.monotonic() + timeout_s
    while not ask():
        assert time.monotonic() < deadline, f"{what} did not happen in {timeout_s:.0f} s"
        time.sleep(every_s)


class Platform:
    """Drawn products, one picture each, in an installation at ``home``; ``picture_host`` has them too.

    The front asks those of ``searches`` for products, each a search service of its own.
    """

    def __init__(
        self, home: Path, picture_host: str, searches: Sequence[str] = SERVICES[:1], **environment: str
    ) -> None:
        self.home = home
        self.picture_host = picture_host
        self.ports = {name: free_port() for name in (*SERVICES, ANOTHER_SEARCH, "redis")}
        self._metrics_ports = {name: free_port() for name in (*searches, *SERVICES[1:])}
        self.pictures: dict[str, bytes] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {
            **os.environ,
            "IMGSEARCH_SEARCH_ADDRESS": "ipv4:" + ",".join(map(self.address, searches)),
            "IMGSEARCH_DETECT_ADDRESS": self.address("detect"),
            "IMGSEARCH_EMBED_ADDRESS": self.address("embed"),
            "IMGSEARCH_HOME": str(home),
            "IMGSEARCH_POLL_INTERVAL_S": "0.1",
            "IMGSEARCH_FETCH_ALLOW_HOSTS": json.dumps([picture_host.removeprefix("http://")]),
            "IMGSEARCH_REDIS_URL": f"redis://127.0.0.1:{self.ports['redis']}/0",
            **environment,
        }
        self._fill()

    @property
    def url(self) -> str:
        return f"http://{self.address('api')}"

    def address(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name]}"

    def _fill(self) -> None:
        store = LocalObjectStore(self.home / "objects")
        detector, embedder = register_detector(store), register_embedder(store)
        folder = self.home / "pictures"
        folder.mkdir()
        for number, name in enumerate(IDS):
            pixels, _ = training_scene(np.random.default_rng(number))
            sink = io.BytesIO()
            Image.fromarray(pixels).save(sink, "JPEG", quality=90)
            self.pictures[name] = sink.getvalue()
            (folder / f"{name}.jpg").write_bytes(sink.getvalue())
        rows = [
            {
                "product_id": name,
                "name": name,
                "brand": "Nordlys",
                "category": "dress",
                "colour": "red",
                "price": 1000,
                "currency": "EUR",
                "in_stock": True,
                "image_urls": [f"http://shop.example/{name}.jpg"],
            }
            for name in IDS
        ]
        items = [
            {
                "product_id": name,
                "image_url": f"http://shop.example/{name}.jpg",
                "sha256": f"{number:064x}",
                "box": Box.whole().key,
            }
            for number, name in enumerate(IDS)
        ]
        manifest = build_generation(
            store,
            pa.Table.from_pylist(rows, schema=PRODUCTS),
            pa.Table.from_pylist(items, schema=ITEMS),
            Embedder(embedder).embed([open_picture(self.pictures[name]) for name in IDS]),
            embedder=embedder.version,
            preprocessing="p",
            detector=detector.version,
            snapshot="s",
        )
        point(store, "local", manifest, "test", "test", read_pointer(store, "local"))

    def start(self, *names: str) -> None:
        """Start those of these that do not run, at once, and wait until each takes connections."""
        for name in names:
            if name in self._processes:
                continue
            with (self.home / f"{name}.log").open("ab") as log:
                self._processes[name] = subprocess.Popen(
                    self._command(name), stdout=log, stderr=log, env=self._environment
                )
        for name in names:
            until(partial(self._listens, name), f"{name} listening", 90)

    def _command(self, name: str) -> Sequence[str]:
        if name == "redis":
            return redis_command(self.ports[name])
        command = [sys.executable, "-m", "serving", name.partition("-")[0], "--port", str(self.ports[name])]
        if name in self._metrics_ports:
            command += ["--metrics-port", str(self._metrics_ports[name])]
        return command

    def _listens(self, name: str) -> bool:
        assert self._processes[name].poll() is None, self.log(name)
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.ports[name])) == 0

    def kill(self, name: str) -> None:
        """Without a word, as a machine that loses its power."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def end(self, name: str) -> None:
        """Told to, as for an update; returns when it has ended, and well."""
        process = self._processes.pop(name)
        process.terminate()
        assert process.wait(60) == 0, self.log(name)

    @contextmanager
    def hanging(self, name: str) -> Iterator[None]:
        """Its connections stay, and nobody answers."""
        self._processes[name].send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._processes[name].send_signal(signal.SIGCONT)

    def figures(self, name: str) -> str:
        """What Prometheus reads of a service."""
        return httpx.get(f"http://127.0.0.1:{self._metrics_ports[name]}/metrics", timeout=5).text

    def answered(self, name: str) -> float:
        """How many calls a search service answered well since it was started; 0 before it can say so."""
        try:
            text = self.figures(name)
        except httpx.TransportError:
            return 0
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "imgsearch_rpc_calls_total" and sample.labels["status"] == "OK"
        )

    def memory_mb(self, name: str) -> float:
        return psutil.Process(self._processes[name].pid).memory_info().rss / 2**20

    def log(self, name: str) -> str:
        return (self.home / f"{name}.log").read_text(errors="replace")

    def stop(self) -> None:
        for name in list(self._processes):
            self.kill(name)

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def run_platform(
    home: Path, searches: Sequence[str] = SERVICES[:1], **environment: str
) -> Iterator[Platform]:
    """All of it, ready to be asked, and a host of its pictures that may be fetched from."""
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    handler = partial(quiet, directory=str(home / "pictures"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as pictures:
        threading.Thread(target=pictures.serve_forever, daemon=True).start()
        platform = Platform(home, f"http://127.0.0.1:{pictures.server_port}", searches, **environment)
        try:
            platform.start("redis", *searches, *SERVICES[1:])
            until(platform.is_ready, "ready")
            yield platform
        finally:
            platform.stop()
            pictures.shutdown()
