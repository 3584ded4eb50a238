"""A web site on loopback for tests that fetch, and a small shop for tests that search."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pytest
from aiohttp import web
from hypothesis import settings
from numpy.typing import NDArray
from xdist.scheduler import LoadFileScheduling

from imgsearch_assets.index.generation import build_delta, build_generation
from imgsearch_assets.tables import parquet_bytes, read_parquet
from serving.images.box import Box
from serving.index.artifact import write_segment
from serving.index.generation import GROUPS, ITEMS, PRODUCTS, Manifest, generation_id
from serving.object_store import LocalObjectStore, ObjectStore
from tests.redis_process import RedisProcess
from tests.skipped import Skipped

# Where a test does not say otherwise, a server that ends has no caller who would have to notice.
os.environ["IMGSEARCH_DRAIN_PAUSE_S"] = "0"

# A machine that is busy with something else fails no property.
settings.register_profile("imgsearch", deadline=None)
settings.load_profile("imgsearch")

# A run of Dagster syncs files a thousand times. What a process that is killed had written is there without
# that, too; only a machine without power would tell.
_MEMORY = Path("/dev/shm")
_ROOMY = 8 << 30
_OWN = pytest.StashKey[Path]()
# The images are built once for all that share them, and their network comes and goes: a browser gives up what
# it is loading when that changes.
_ONE_AFTER_THE_OTHER = ("tests/k8s/images/", "tests/serving/api/page/", "tests/e2e/test_demo.py")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Folders of tests lie in memory where there is plenty, and go with the session; not with --basetemp."""
    if os.environ.get("CI"):
        config.pluginmanager.register(Skipped())
    if config.option.basetemp is not None or not _MEMORY.is_dir():
        return
    if min(shutil.disk_usage(_MEMORY).free, psutil.virtual_memory().available) > _ROOMY:
        config.stash[_OWN] = Path(tempfile.mkdtemp(prefix="imgsearch-", dir=_MEMORY))
        config.option.basetemp = str(config.stash[_OWN])


def pytest_unconfigure(config: pytest.Config) -> None:
    if (folder := config.stash.get(_OWN, None)) is not None:
        shutil.rmtree(folder, ignore_errors=True)


class _Files(LoadFileScheduling):
    """Hands out whole files to workers, those of ``_ONE_AFTER_THE_OTHER`` all to one."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return _ONE_AFTER_THE_OTHER[0] if file.startswith(_ONE_AFTER_THE_OTHER) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Files:
    return _Files(config, log)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """A web site on ``host``: every path answers as the test says.

    ``requests`` counts by path, ``most_at_once`` over all.
    """

    def __init__(self) -> None:
        self.host = ""
        self.requests: Counter[str] = Counter()
        self.most_at_once = 0
        self._handlers: dict[str, Handler] = {}
        self._now = 0

    def add(self, path: str, answer: bytes | Handler, **headers: str) -> str:
        """Serve ``answer`` at ``path``; the URL."""
        if isinstance(answer, bytes):
            body = answer

            async def fixed(_: web.Request) -> web.StreamResponse:
                return web.Response(body=body, headers=headers)

            answer = fixed
        self._handlers[path] = answer
        return self.url(path)

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests[request.path] += 1
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            handler = self._handlers.get(request.path)
            return await handler(request) if handler else web.Response(status=404)
        finally:
            self._now -= 1


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    found = Site()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    host, port = runner.addresses[0][:2]
    found.host = f"{host}:{port}"
    yield found
    await runner.cleanup()


class Shop:
    """Products with one to three pictures, each with a row for its item and one for the whole picture."""

    embedder = "embedder-1"

    def __init__(self, root: Path, products: int = 60, dim: int = 16, seed: int = 0) -> None:
        self.store = LocalObjectStore(root)
        rng = np.random.default_rng(seed)
        self.dim = dim
        self.ids = [f"p{number:05d}" for number in rng.permutation(products)]
        self.products = pa.table(
            {
                "product_id": self.ids,
                "name": [f"garment {name}" for name in self.ids],
                "brand": [f"brand {number % 7}" for number in range(products)],
                "category": [("dress", "shirt", "shoe")[number % 3] for number in range(products)],
                "colour": [("red", "blue")[number % 2] for number in range(products)],
                "price": [1_000 + number for number in range(products)],
                "currency": ["EUR"] * products,
                "in_stock": [number % 5 > 0 for number in range(products)],
                "image_urls": [[f"http://shop/{name}.jpg"] for name in self.ids],
            },
            schema=PRODUCTS,
        )
        pictures = [(name, shot) for name in self.ids for shot in range(rng.integers(1, 4))]
        rows = [
            (name, f"http://shop/{name}-{shot}.jpg", f"{number:064x}", box.key)
            for number, (name, shot) in enumerate(pictures)
            for box in (Box(0.1, 0.1, 0.9, 0.8), Box.whole())
        ]
        columns = zip(*rows, strict=True)
        self.items = pa.table(dict(zip(ITEMS.names, map(list, columns), strict=True)), schema=ITEMS)
        own = {name: rng.normal(size=dim) for name in self.ids}
        vectors = np.stack([own[row[0]] + rng.normal(size=dim) * 0.4 for row in rows])
        self.vectors: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(
            np.float32
        )

    def build(self, snapshot: str = "snapshot-1", **changes: str) -> Manifest:
        """A generation of everything in the shop."""
        models = {"embedder": self.embedder, "preprocessing": "pre-1", "detector": "detector-1"} | changes
        return build_generation(
            self.store, self.products, self.items, self.vectors, snapshot=snapshot, **models
        )

    def several(self, count: int) -> list[Manifest]:
        """Generations that have no file in common but those of items and products."""
        manifests = []
        for number in range(count):
            self.vectors = self.vectors[:, ::-1].copy() * (1 + number * 1e-6)
            manifests.append(self.build(f"s{number}"))
        return manifests

    def without(self, parent: Manifest, ids: list[str]) -> Manifest:
        """``parent`` with a delta that takes ``ids`` away."""
        nothing = self.products.slice(0, 0), self.items.slice(0, 0), self.vectors[:0]
        return build_delta(self.store, parent, *nothing, ids, snapshot="without")

    def changed(self, parent: Manifest, ids: list[str]) -> Manifest:
        """``parent`` with a delta in which ``ids`` went and came as they are in the shop now."""
        own = [np.isin(table["product_id"].to_pylist(), ids) for table in (self.products, self.items)]
        products, items = self.products.filter(pa.array(own[0])), self.items.filter(pa.array(own[1]))
        return build_delta(self.store, parent, products, items, self.vectors[own[1]], ids, snapshot="changed")


@pytest.fixture
def redis_process() -> Iterator[RedisProcess]:
    found = RedisProcess()
    yield found
    found.kill()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "objects")


@pytest.fixture
def make_shop(tmp_path: Path) -> Callable[..., Shop]:
    return partial(Shop, tmp_path / "objects")


@pytest.fixture
def milvus(tmp_path: Path) -> Iterator[Any]:
    """The client of a Milvus in a file."""
    from milvus_lite.server_manager import server_manager_instance  # takes a second, of these tests alone

    from serving.milvus.client import Client

    path = tmp_path / "milvus.db"
    client = Client(str(path), None, 20)
    yield client
    client.close()
    server_manager_instance.release_server(str(path))


@pytest.fixture(scope="session")
def big_shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Large enough that the graph is searched; tests only read it."""
    return Shop(tmp_path_factory.mktemp("big") / "objects", products=8_000, dim=32, seed=1)


@pytest.fixture(scope="session")
def as_of_format_1() -> Callable[[ObjectStore, Manifest], Manifest]:
    return _as_of_format_1


def _as_of_format_1(store: ObjectStore, manifest: Manifest) -> Manifest:
    """The generation as it was before products had groups, put in the place of ``manifest``."""
    products = read_parquet(store, manifest.segment("products").key).drop_columns(GROUPS.names)
    segments = (
        manifest.segment("base"),
        manifest.segment("items"),
        write_segment(store, "products", parquet_bytes(products)),
    )
    fields = manifest.model_dump() | {"format": 1, "segments": segments}
    fields["id"] = generation_id(
        items_sha256=segments[1].sha256, products_sha256=segments[2].sha256, **fields
    )
    old = Manifest.model_validate(fields)
    store.delete(manifest.key)
    store.put(old.key, old.to_json())
    return old
