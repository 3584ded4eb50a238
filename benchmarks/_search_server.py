"""A search server of its own process, as ``imgsearch serve search`` starts it, and a catalogue for it."""

import os
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import psutil
import pyarrow as pa
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

from benchmarks._peers import ROOT
from imgsearch_assets.index.generation import build_generation
from imgsearch_assets.local.processes import free_port
from serving.images.box import Box
from serving.index.generation import GRAPH, ITEMS, PRODUCTS, Manifest
from serving.object_store import LocalObjectStore, ObjectStore
from serving.proto import search_pb2

EMBEDDER = "made"
K = 10
_STOP_LIMIT_S = 30
# A product lies about as far from the middle of its cluster as another picture of it would.
_ROWS_PER_CLUSTER = 200
_SPREAD = 0.8
# A shopper's picture of a product, against the shop's own.
_DISTURBANCE = 0.3


@dataclass(frozen=True)
class Catalogue:
    """``xb`` float32 (n, dim), unit rows in ascending order of their products' ids: one picture a product."""

    prefix: str  # of every product id
    xb: NDArray[np.float32]

    @classmethod
    def made(cls, prefix: str, n: int, dim: int, seed: int) -> Self:
        """Clusters, as embeddings of garments form: ``n`` rows of ``dim`` about ``n / 200`` middles."""
        rng = np.random.default_rng(seed)
        middles = _unit(rng.normal(size=(max(1, n // _ROWS_PER_CLUSTER), dim)))
        noise = rng.normal(size=(n, dim)).astype(np.float32) * np.float32(_SPREAD / np.sqrt(dim))
        return cls(prefix, _unit(middles[rng.integers(len(middles), size=n)] + noise))

    def queries(self, count: int, seed: int, disturbance: float = _DISTURBANCE) -> NDArray[np.float32]:
        """Unit rows float32 (count, dim): products of the catalogue, each disturbed."""
        rng = np.random.default_rng(seed)
        rows = self.xb[rng.choice(len(self.xb), count, replace=count > len(self.xb))]
        noise = rng.normal(size=rows.shape).astype(np.float32)
        return _unit(rows + noise * np.float32(disturbance / np.sqrt(rows.shape[1])))

    def id(self, row: int) -> str:
        return f"{self.prefix}{row:08d}"

    def _ids(self) -> list[str]:
        return [self.id(row) for row in range(len(self.xb))]

    def products(self) -> pa.Table:
        """As ``generation.PRODUCTS``."""
        n, ids = len(self.xb), self._ids()
        products = {
            "product_id": ids,
            "name": [f"garment {name} of a shop" for name in ids],
            "brand": [f"brand {row % 97}" for row in range(n)],
            "category": [f"category {row % 11}" for row in range(n)],
            "colour": [f"colour {row % 13}" for row in range(n)],
            "price": [1_000 + row % 20_000 for row in range(n)],
            "currency": ["EUR"] * n,
            "in_stock": [row % 10 > 0 for row in range(n)],
            "image_urls": [[_url(name)] for name in ids],
        }
        return pa.table(products, schema=PRODUCTS)

    def items(self) -> pa.Table:
        """As ``generation.ITEMS``: each product's only picture, whole."""
        n, ids = len(self.xb), self._ids()
        items = {
            "product_id": ids,
            "image_url": [_url(name) for name in ids],
            "sha256": [f"{row:064x}" for row in range(n)],
            "box": [Box.whole().key] * n,
        }
        return pa.table(items, schema=ITEMS)

    def build(self, store: ObjectStore, graph: str = GRAPH) -> Manifest:
        """Its generation in ``store``."""
        return build_generation(
            store,
            self.products(),
            self.items(),
            self.xb,
            embedder=EMBEDDER,
            preprocessing="none",
            detector="none",
            snapshot=self.prefix,
            graph=graph,
        )


def _url(name: str) -> str:
    return f"https://shop.example/{name}.jpg"


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def search_request(xq: NDArray[np.float32]) -> search_pb2.SearchRequest:
    """A query for the ``K`` best products for each row of ``xq`` float32 (n, dim)."""
    queries = [search_pb2.Query(vectors=row.astype("<f4").tobytes(), k=K) for row in xq]
    return search_pb2.SearchRequest(queries=queries, dim=xq.shape[1], embedder_version=EMBEDDER)


class SearchServer:
    """The server over the object store in ``home``; ends with the block. ``settings`` are ``IMGSEARCH_*``."""

    def __init__(self, home: Path, **settings: object) -> None:
        self._home = home
        self._settings = {f"IMGSEARCH_{name.upper()}": str(value) for name, value in settings.items()}

    def __enter__(self) -> Self:
        self._metrics_port = free_port()
        options = ("--port", "0", "--metrics-port", str(self._metrics_port))
        self._log = (self._home / "search.log").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "serving", "search", *options],
            env=os.environ | self._settings | {"IMGSEARCH_HOME": str(self._home)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if not said.startswith("listening on "):
            self.__exit__(None, None, None)
            raise SystemExit(f"the server did not start:\n{(self._home / 'search.log').read_text()}")
        self.address = said.split()[-1]
        self.process = psutil.Process(self._process.pid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()

    def samples(self) -> dict[tuple[str, ...], float]:
        """What its Prometheus page says, by name and label values in the order of the label names."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=10) as page:
            text = page.read().decode()
        return {
            (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def processor_s(self) -> float:
        """Seconds of processor that it has used."""
        used = self.process.cpu_times()
        return used.user + used.system

    def searches(self) -> dict[str, int]:
        """Calls of Search answered so far, by status."""
        name = "imgsearch_rpc_calls_total"
        return {key[2]: int(value) for key, value in self.samples().items() if key[:2] == (name, "Search")}


def local_store(home: Path) -> LocalObjectStore:
    return LocalObjectStore(home / "objects")
