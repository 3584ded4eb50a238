"""Words through the API to the real services: an embedder with a text tower, then one without."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from prometheus_client import CollectorRegistry

from imgsearch_assets.index.generation import build_generation
from imgsearch_assets.models.adopt import adopt
from imgsearch_assets.models.shipped import register_embedder
from serving.api.app import create_app
from serving.index.holder import Holder
from serving.index.store import point, read_pointer
from serving.models import weights_file
from serving.models.bundle import Bundle
from serving.models.embedder import Embedder
from serving.models.holder import ModelHolder
from serving.models.live import promote
from serving.object_store import LocalObjectStore
from serving.proto import embed_pb2, embed_pb2_grpc, search_pb2, search_pb2_grpc
from serving.rpc.server import Server
from serving.services.embed import EmbedServicer
from serving.services.in_memory import InMemory
from serving.services.passes import Bounds, Passes
from serving.services.search import SearchServicer
from serving.settings import Settings
from serving.telemetry import IndexMetrics, ModelMetrics, PassMetrics, RpcMetrics
from tests import towers

TEXTS = ["a red dress", "blue shoes with dots", "a hat"]


@dataclass
class Front:
    """The API before real embed and search services."""

    http: httpx.AsyncClient
    store: LocalObjectStore
    index: Holder
    embedders: ModelHolder[Embedder]
    shop: Any

    async def serve(self, bundle: Bundle, vectors: np.ndarray) -> None:
        """Make ``bundle`` live, and the first products of the shop with these unit rows."""
        products = self.shop.products.sort_by("product_id").slice(0, len(vectors))
        names = products["product_id"].to_pylist()
        first = [self.shop.items["product_id"].to_pylist().index(name) for name in names]
        manifest = build_generation(
            self.store,
            products,
            self.shop.items.take(pa.array(first)),
            vectors,
            embedder=bundle.version,
            preprocessing=bundle.card.preprocessing.fingerprint,
            detector="d",
            snapshot="s",
        )
        point(self.store, "local", manifest, "test", "test", read_pointer(self.store, "local"))
        await self.index.look()

    async def search(self, **body: Any) -> httpx.Response:
        return await self.http.post("/v1/search", json=body)


@pytest.fixture
def reader(tmp_path: Path) -> Bundle:
    """A live embedder that reads texts."""
    store = LocalObjectStore(tmp_path / "objects")
    (tmp_path / "w.safetensors").write_bytes(weights_file.to_bytes(towers.state(towers.CLIP)))
    bundle = adopt(store, f"open_clip/{towers.CLIP}", tmp_path / "w.safetensors")
    promote(store, bundle)
    return bundle


@pytest.fixture
async def front(shop: Any, tmp_path: Path, reader: Bundle) -> AsyncIterator[Front]:
    store = LocalObjectStore(tmp_path / "objects")

    async def nothing() -> None:
        pass

    index = Holder(store, "local", IndexMetrics(CollectorRegistry()), nothing, InMemory)
    embedders = ModelHolder(store, "embedder", Embedder, ModelMetrics(CollectorRegistry()))
    await embedders.start()
    settings = Settings()
    metrics = RpcMetrics()
    server = Server(settings, metrics)
    with ThreadPoolExecutor(2) as executor:
        servicer = SearchServicer(index, settings, executor)
        passes: Passes[Any] = Passes(Bounds.of(settings), executor, PassMetrics(metrics))
        server.add(
            embed_pb2.DESCRIPTOR.services_by_name["Embed"],
            embed_pb2_grpc.add_EmbedServicer_to_server,
            EmbedServicer(embedders, settings, executor, passes),
        )
        server.add(
            search_pb2.DESCRIPTOR.services_by_name["Search"],
            search_pb2_grpc.add_SearchServicer_to_server,
            servicer,
        )
        address = await server.start(0)
        await server.set_ready(True)
        app = create_app(Settings(embed_address=address, search_address=address, detect_address=address))
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://front") as http,
        ):
            yield Front(http, store, index, embedders, shop)
        await server.drain()


async def test_words_find_the_product_that_lies_where_they_do(front: Front, reader: Bundle) -> None:
    vectors = Embedder(reader).embed_texts(TEXTS)
    await front.serve(reader, vectors)
    assert (await front.http.get("/v1/status")).json()["text_search"] is True
    for place, text in enumerate(TEXTS):
        answer = (await front.search(text=text, k=2)).json()
        assert answer["results"][0]["product_id"] == f"p{place:05d}"
        assert answer["results"][0]["score"] == pytest.approx(1, abs=2e-3)
        assert answer["models"] == {"detector": None, "embedder": reader.version}
    category = (await front.http.get("/v1/products/p00001")).json()["product"]["category"]
    answer = (await front.search(text=TEXTS[0], filters={"categories": [category]})).json()
    assert {result["category"] for result in answer["results"]} == {category}


async def test_words_are_off_where_the_embedder_reads_none(front: Front) -> None:
    deaf = register_embedder(front.store)
    dim = deaf.card.dim or 0
    await front.serve(deaf, np.eye(3, dim, dtype=np.float32))
    assert (await front.http.get("/v1/status")).json()["text_search"] is False
    reply = await front.search(text="a red dress")
    assert reply.status_code == 501
    error = reply.json()["error"]
    assert error["code"] == "text_search_off"
    assert error["message"] == f"embedder {deaf.version} has no text tower; search with a picture"
