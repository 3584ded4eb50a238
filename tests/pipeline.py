"""The pipeline on a small shop: a catalogue, its picture host, a Redis, a Dagster home, and its daemon."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from imgsearch_assets.catalogue.contract import PRODUCTS as CONTRACT
from imgsearch_assets.catalogue.snapshot import live_products
from imgsearch_assets.local.services import ROOT, dagster_home
from imgsearch_assets.release.publish import history
from imgsearch_assets.sample.scenes import training_scene
from serving.index.artifact import load
from serving.index.store import read_manifest
from serving.object_store import LocalObjectStore
from tests.forked import start_server
from tests.redis_process import RedisProcess
from tests.running import until

# Enough that one product more is a delta.
PRODUCTS = 30
STEPS = (
    "product_snapshot",
    "catalogue_diff",
    "product_images",
    "item_detections",
    "item_embeddings",
    "ann_index",
    "feature_store",
    "staging_release",
)
# dagster-postgres is a patch behind dagster, and says so.
MISMATCH = "ignore:Found version mismatch"


class PictureHost:
    """Draws ``/NUMBER.jpg``. ``requests`` counts by number; answers wait until it is ``open``."""

    def __init__(self) -> None:
        self.requests: Counter[int] = Counter()
        self.open = threading.Event()
        self.open.set()
        self.away = False
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                number = int(Path(self.path).stem)
                host.requests[number] += 1
                host.open.wait(60)
                if host.away:  # as when a connection is cut
                    return
                data = _picture(number)
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                with contextlib.suppress(OSError):  # whoever asked was killed
                    self.wfile.write(data)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.open.set()
        self._server.shutdown()
        self._server.server_close()


def _picture(number: int) -> bytes:
    pixels, _ = training_scene(np.random.default_rng(number))
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "JPEG", quality=85)
    return sink.getvalue()


class Shop:
    """An installation at ``home``; ``environment`` is what its processes are told."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.host = PictureHost()
        self.redis = RedisProcess()
        self.catalogue = home / "catalogue.parquet"
        self.dagster = dagster_home(home)  # also sets this process's own
        self.environment = {
            "IMGSEARCH_HOME": str(home),
            "IMGSEARCH_CATALOGUE": str(self.catalogue),
            "IMGSEARCH_CATALOGUE_POLL_S": "1",
            "IMGSEARCH_REDIS_URL": self.redis.url,
            "IMGSEARCH_FETCH_ALLOW_HOSTS": json.dumps([self.host.address]),
            "DAGSTER_HOME": str(self.dagster),
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": MISMATCH,
            **({"DAGSTER_POSTGRES_URL": url} if (url := os.environ.get("DAGSTER_POSTGRES_URL")) else {}),
        }
        self._daemon: subprocess.Popen[bytes] | None = None

    def write(self, numbers: Iterable[int], price: int = 1000) -> None:
        """The catalogue has these products."""
        rows = [
            {
                "product_id": f"p{number}",
                "name": f"garment {number}",
                "brand": "Nordlys",
                "category": "dress",
                "colour": "red",
                "price": price,
                "currency": "EUR",
                "in_stock": True,
                "image_urls": [f"http://{self.host.address}/{number}.jpg"],
                "updated_at": None,
            }
            for number in numbers
        ]
        new = self.catalogue.with_suffix(".new")
        pq.write_table(pa.Table.from_pylist(rows, schema=CONTRACT), new)
        new.replace(self.catalogue)

    @property
    def store(self) -> LocalObjectStore:
        return LocalObjectStore(self.home / "objects")

    @property
    def live(self) -> set[int]:
        """The products that are searchable; the generation is verified, and loaded as a replica would."""
        found = live_products(self.store, "local")
        if found is None:
            return set()
        released = history(self.store, "local")[0]
        load(self.store, read_manifest(self.store, released.generation, released.manifest_sha256))
        return {int(str(name)[1:]) for name in found["product_id"].to_pylist()}

    @property
    def released(self) -> list[str]:
        """Every generation that went live, the latest first."""
        return [release.generation for release in history(self.store, "local")]

    def rows_twice(self) -> list[str]:
        """Tables of features in which a row was made more than once."""
        found = []
        for path in sorted((self.store.root / "tables").glob("*/*/")):
            if path.parent.name in ("detections", "embeddings"):
                key = ["sha256", "box"] if path.parent.name == "embeddings" else ["sha256"]
                rows = pa.concat_tables(pq.read_table(part, columns=key) for part in path.glob("*.parquet"))
                if rows.group_by(key).aggregate([]).num_rows != rows.num_rows:
                    found.append(path.parent.name)
        return found

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.dagster))

    def start(self) -> None:
        """The daemon, with its code server."""
        with (self.home / "daemon.log").open("ab") as log:
            self._daemon = subprocess.Popen(
                [sys.executable, "-m", "dagster._daemon", "run", "-w", str(ROOT / "workspace.yaml")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )

    def kill(self) -> None:
        """The daemon alone: what it had started lives on."""
        assert self._daemon is not None
        self._daemon.kill()
        self._daemon.wait()

    def kill_everything(self) -> None:
        """As the machine's end would: the daemon and all that it or one before it had started."""
        for process in psutil.process_iter(["environ"]):
            environment = process.info["environ"] or {}
            if environment.get("DAGSTER_HOME") == str(self.dagster) and process.pid != os.getpid():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
        if self._daemon is not None:
            self._daemon.wait()

    def close(self) -> None:
        self.host.close()
        self.kill_everything()
        self.redis.kill()


@contextlib.contextmanager
def shop_at(home: Path) -> Iterator[Shop]:
    """A shop whose environment this process has, too, with its first products in the catalogue."""
    start_server()  # else it would have that environment, too, and be killed with everything
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "")  # so that it is what it was afterwards
        shop = Shop(home)
        try:
            for name, value in shop.environment.items():
                patch.setenv(name, value)
            shop.write(range(PRODUCTS))
            yield shop
        finally:
            shop.close()


class Records:
    """What the instance of a shop has on record."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance

    def runs(self) -> list[dg.DagsterRun]:
        """The last first."""
        return list(self.instance.get_runs())

    def settled(self) -> bool:
        return all(run.is_finished for run in self.instance.get_runs())

    def metadata(self, asset: str) -> dict[str, Any]:
        event = self.instance.get_latest_materialization_event(dg.AssetKey(asset))
        assert event is not None
        assert event.asset_materialization is not None
        return {name: value.value for name, value in event.asset_materialization.metadata.items()}

    def events(self, run_id: str, kind: dg.DagsterEventType) -> list[tuple[str, float]]:
        """(step, time) of each of a kind."""
        return [
            (str(entry.dagster_event.step_key), entry.timestamp)
            for entry in self.instance.all_logs(run_id, of_type=kind)
            if entry.dagster_event is not None
        ]

    def in_step(self, step: str, timeout_s: float = 90) -> tuple[str, int]:
        """Wait until the latest run is in ``step``; the run and its process."""

        def there() -> bool:
            run = next(iter(self.runs()), None)
            if run is None or run.is_finished:
                return False
            started = self.events(run.run_id, dg.DagsterEventType.STEP_START)
            return bool(started) and started[-1][0] == step

        until(there, f"a run in {step}", timeout_s)
        run_id = self.runs()[0].run_id
        entries = self.instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
        pids = [
            int(str(entry.dagster_event.engine_event_data.metadata["pid"].value))
            for entry in entries
            if entry.dagster_event is not None and "pid" in entry.dagster_event.engine_event_data.metadata
        ]
        return run_id, pids[-1]
