"""Another embedder goes live while people search: features beside the old ones, a generation, the flip."""

import asyncio
import hashlib
import itertools
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import httpx
import numpy as np
import pyarrow as pa
import pytest
import torch

from imgsearch_assets.catalogue.snapshot import PICTURES, items_of, with_vectors
from imgsearch_assets.features.rows import fill_feature_store
from imgsearch_assets.features.tables import (
    detect_pictures,
    detections_table,
    embed_boxes,
    embeddings_table,
    vectors_of,
)
from imgsearch_assets.gates.parity import MIN_COSINE
from imgsearch_assets.images.store import picture_key
from imgsearch_assets.index.generation import build_generation
from imgsearch_assets.local.installation import Ports
from imgsearch_assets.local.processes import ProcessGroup, free_port
from imgsearch_assets.local.services import Services
from imgsearch_assets.models.shipped import register_detector, register_embedder
from imgsearch_assets.release.publish import publish
from imgsearch_assets.sample.design import CATEGORIES, new_design
from imgsearch_assets.sample.drawing import encode
from imgsearch_assets.sample.scenes import packshot
from serving.cache.features import CachedFeatures, FeatureStore
from serving.images.box import Box
from serving.index.generation import PRODUCTS, Manifest
from serving.models.bundle import Bundle, promote, store_bundle
from serving.models.detector import Detector
from serving.models.embedder import Embedder
from serving.object_store import LocalObjectStore
from serving.proto import embed_pb2, embed_pb2_grpc, geometry_pb2

COUNT = 40
POLL_S = 0.1

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Catalogue:
    """Drawn products with one packshot each, and what the pipeline makes of them."""

    def __init__(self, home: Path) -> None:
        self.store = LocalObjectStore(home / "objects")
        self.pictures: dict[str, bytes] = {}
        rows = []
        for number in range(COUNT):
            rng = np.random.default_rng([11, number])
            category = CATEGORIES[number % len(CATEGORIES)]
            data = encode(packshot(new_design(rng, category), rng, "front").picture[::2, ::2], 88)
            self.pictures[f"P{number:03d}"] = data
            sha = hashlib.sha256(data).hexdigest()
            self.store.put(picture_key(sha), data)
            rows.append((f"P{number:03d}", category, f"http://shop.example/{number}.jpg", sha))
        columns = zip(*rows, strict=True)
        self.rows = pa.table(dict(zip(PICTURES.names, map(list, columns), strict=True)), schema=PICTURES)
        self.addresses = dict(
            zip(*(self.rows[name].to_pylist() for name in ("product_id", "image_url")), strict=True)
        )
        self.detector = Detector(register_detector(self.store))
        detect_pictures(self.store, self.detector, self.rows["sha256"].to_pylist())
        self.items = items_of(self.rows, detections_table(self.store, self.detector.version).read())
        text = dict.fromkeys(("name", "brand", "colour"), "x")
        self.products = pa.Table.from_pylist(
            [
                {
                    **text,
                    "product_id": row["product_id"],
                    "category": row["category"],
                    "price": 1_000,
                    "currency": "EUR",
                    "in_stock": True,
                    "image_urls": [row["image_url"]],
                }
                for row in self.rows.to_pylist()
            ],
            schema=PRODUCTS,
        )

    def generation(self, bundle: Bundle, features: FeatureStore) -> Manifest:
        """Features beside those of other embedders, in the feature store too, and a generation of them."""
        embedder = Embedder(bundle)
        embed_boxes(self.store, embedder, self.items.select(["sha256", "box"]))
        table = embeddings_table(self.store, embedder.version, embedder.dim).read()
        items = with_vectors(self.items, table)
        vectors = vectors_of(items)
        manifest = build_generation(
            self.store,
            self.products,
            items.drop_columns(["vector"]),
            vectors,
            embedder=embedder.version,
            preprocessing=embedder.preprocessing,
            detector=self.detector.version,
            snapshot="drawn",
        )
        fill_feature_store(features, embedder.version, items.drop_columns(["vector"]), vectors)
        return manifest


def other_embedder(store: LocalObjectStore, bundle: Bundle, dim: int) -> Bundle:
    """A candidate with another projection of another dimension."""
    width = bundle.tensors["project.weight"].shape[1]
    weight, _ = torch.linalg.qr(torch.randn(width, dim, generator=torch.Generator().manual_seed(1)))
    projection = {"project.weight": weight.T.contiguous(), "project.bias": torch.zeros(dim)}
    tensors = {**bundle.tensors, **projection}
    return store_bundle(store, bundle.name, tensors, bundle.card.preprocessing, dim=dim)


@dataclass
class Answer:
    asked: str
    status: int
    generation: str
    embedder: str
    features: str
    first: str  # of the products found
    about: str = ""  # the product whose picture, id or address was asked with, or what went wrong


@dataclass
class Shopper:
    """Asks with a picture, a product and a picture's address in turn, ten times a second at most."""

    api: str
    pictures: dict[str, bytes]
    addresses: dict[str, str]  # of the same; nothing answers there
    answers: list[Answer] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _asked: threading.Condition = field(default_factory=threading.Condition)

    def run(self) -> None:
        with httpx.Client(base_url=self.api, timeout=30) as http:
            for product, picture in itertools.cycle(self.pictures.items()):
                for asked in ("picture", "product", "address"):
                    if self._stop.wait(0.1):
                        return
                    if asked == "picture":
                        reply = http.post("/v1/search/image", files={"image": picture}, data={"k": "3"})
                    elif asked == "product":
                        reply = http.get(f"/v1/products/{product}/similar?k=3")
                    else:
                        reply = http.post("/v1/search", json={"image_url": self.addresses[product], "k": 3})
                    self._record(asked, product, reply)

    def _record(self, asked: str, product: str, reply: httpx.Response) -> None:
        if reply.status_code != 200:
            answer = Answer(asked, reply.status_code, "", "", "", "", reply.text)
        else:
            body = reply.json()
            first = body["results"][0]["product_id"]
            answer = Answer(
                asked, 200, body["generation"], body["models"]["embedder"], body["features"], first, product
            )
        with self._asked:
            self.answers.append(answer)
            self._asked.notify_all()

    def wait_for(self, more: int) -> list[Answer]:
        """The next ``more`` answers."""
        with self._asked:
            before = len(self.answers)
            assert self._asked.wait_for(lambda: len(self.answers) >= before + more, 60)
            return self.answers[before:]

    def stop(self) -> None:
        self._stop.set()


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Catalogue, Bundle, Manifest, Services, FeatureStore]]:
    """A released catalogue, its services, and Redis."""
    tmp_path = tmp_path_factory.mktemp("switch")
    environment = {
        "IMGSEARCH_HOME": str(tmp_path),
        "IMGSEARCH_POLL_INTERVAL_S": str(POLL_S),
        "IMGSEARCH_REDIS_TIMEOUT_S": "5",  # a busy machine is no reason to fetch a picture
    }
    with ProcessGroup(tmp_path / "logs", environment) as group:
        services = Services(group, Ports(api=free_port()))
        redis_url = services.start_redis()
        # For all that is started after it.
        group.environment = {**environment, "IMGSEARCH_REDIS_URL": redis_url}
        catalogue = Catalogue(tmp_path)
        first = register_embedder(catalogue.store)
        features = FeatureStore(redis_url, 1.0)
        manifest = catalogue.generation(first, features)
        publish(catalogue.store, "local", manifest.id, "test", "the first")
        services.start_search()
        yield catalogue, first, manifest, services, features


def test_a_picture_is_the_same_vector_by_every_way(
    running: tuple[Catalogue, Bundle, Manifest, Services, FeatureStore],
) -> None:
    """Golden pictures through the pipeline, the embed service and the HTTP front: cosine >= 0.999."""
    catalogue, bundle, manifest, services, _ = running
    table = embeddings_table(catalogue.store, bundle.version, manifest.dim).read()
    golden = with_vectors(catalogue.items, table).slice(0, 12)
    of_batch = vectors_of(golden)
    address = services.group.wait_address("embed", 1)
    with (
        grpc.insecure_channel(address) as channel,
        httpx.Client(base_url=services.api_url, timeout=30) as http,
    ):
        for row, vector in zip(golden.to_pylist(), of_batch, strict=True):
            picture, box = catalogue.pictures[row["product_id"]], Box.from_key(row["box"])
            corners = {name: getattr(box, name) for name in ("x0", "y0", "x1", "y1")}
            crop = embed_pb2.Crop(image=0, box=geometry_pb2.Box(**corners))
            request = embed_pb2.EmbedRequest(images=[picture], crops=[crop], model_version=bundle.version)
            reply = embed_pb2_grpc.EmbedStub(channel).Embed(request, timeout=30)
            assert np.frombuffer(reply.vectors, "<f4") @ vector >= MIN_COSINE
            # The front tells no vectors; the score of the very picture is the cosine of its two.
            found = http.post(
                "/v1/search/image", files={"image": picture}, data={"k": "1", "box": json.dumps(corners)}
            ).json()["results"][0]
            assert found["product_id"] == row["product_id"]
            assert found["score"] >= MIN_COSINE


def live_embedder(address: str, picture: bytes) -> str:
    """The version with which the embed service answers those who name none."""
    whole = embed_pb2.Crop(image=0, box=geometry_pb2.Box(x0=0, y0=0, x1=1, y1=1))
    with grpc.insecure_channel(address) as channel:
        request = embed_pb2.EmbedRequest(images=[picture], crops=[whole])
        return str(embed_pb2_grpc.EmbedStub(channel).Embed(request, timeout=30).model_version)


def test_search_answers_all_the_time_while_the_embedder_is_exchanged(
    running: tuple[Catalogue, Bundle, Manifest, Services, FeatureStore],
) -> None:
    catalogue, old, before, services, features = running
    shopper = Shopper(services.api_url, catalogue.pictures, catalogue.addresses)
    thread = threading.Thread(target=shopper.run)
    thread.start()
    try:
        shopper.wait_for(6)
        new = other_embedder(catalogue.store, old, 48)
        promote(catalogue.store, new, old.version, who="test", why="another projection")
        embed = services.group.wait_address("embed", 1)
        picture = next(iter(catalogue.pictures.values()))
        deadline = time.monotonic() + 60
        while live_embedder(embed, picture) != new.version:
            assert time.monotonic() < deadline, "the embed service never took the new embedder"
            time.sleep(POLL_S)
        # The index is still of the old one, and so are its answers.
        assert {answer.embedder for answer in shopper.wait_for(6)} == {old.version}

        after = catalogue.generation(new, features)
        assert (after.dim, before.dim) == (48, old.card.dim)
        publish(catalogue.store, "local", after.id, "test", "the new embedder")
        while shopper.wait_for(1)[0].generation != after.id:
            assert time.monotonic() < deadline, "the new generation was never searched"
        last = shopper.wait_for(8)
    finally:
        shopper.stop()
        thread.join(60)

    assert [answer for answer in shopper.answers if answer.status != 200] == []
    versions = {before.id: old.version, after.id: new.version}
    assert all(versions[answer.generation] == answer.embedder for answer in shopper.answers)
    assert {answer.generation for answer in last} == {after.id}
    # Once the new one answers the old one never does again, for either kind of question.
    changes = [key for key, _ in itertools.groupby(answer.generation for answer in shopper.answers)]
    assert changes == [before.id, after.id]
    # A picture finds its product under either; a product is searched with the index's own vectors, an
    # address of the catalogue with those that the pipeline wrote.
    of_pictures = [answer for answer in shopper.answers if answer.asked in ("picture", "address")]
    assert [answer for answer in of_pictures if answer.first != answer.about] == []
    assert {answer.features for answer in shopper.answers if answer.asked == "product"} == {"index"}
    assert {answer.features for answer in shopper.answers if answer.asked == "address"} == {"stored"}
    # What a roll-back would need is still there.
    urls = catalogue.addresses.values()

    async def kept() -> list[CachedFeatures | None]:
        found = [await features.get_url(old.version, url) for url in urls]
        await features.aclose()
        return found

    assert None not in asyncio.run(kept())
