"""The real models behind a real server, beside the same models called directly."""

import asyncio
import io
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image
from prometheus_client import CollectorRegistry

from imgsearch_assets.models.shipped import register_detector, register_embedder
from imgsearch_assets.sample.scenes import training_scene
from serving.errors import BadImage, BadInput, ImgsearchError, NotFound, TextSearchOff
from serving.images.box import Box, crop
from serving.models.bundle import load_bundle, promote, store_bundle
from serving.models.detector import Detector
from serving.models.embedder import Embedder
from serving.models.holder import ModelHolder
from serving.models.preprocess import open_picture
from serving.object_store import LocalObjectStore
from serving.proto import detect_pb2, detect_pb2_grpc, embed_pb2, embed_pb2_grpc, geometry_pb2
from serving.rpc import client
from serving.rpc.server import Server
from serving.services.detect import DetectServicer
from serving.services.embed import EmbedServicer
from serving.services.passes import Bounds, Passes
from serving.settings import Settings
from serving.telemetry import ModelMetrics, PassMetrics, RpcMetrics


def picture(seed: int, size: tuple[int, int] | None = None) -> bytes:
    """A JPEG of a drawn scene."""
    pixels, _ = training_scene(np.random.default_rng(seed))
    image = Image.fromarray(pixels)
    out = io.BytesIO()
    (image.resize(size) if size else image).save(out, "JPEG", quality=80)
    return out.getvalue()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LocalObjectStore:
    return LocalObjectStore(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def detector(store: LocalObjectStore) -> Detector:
    return Detector(register_detector(store))


@pytest.fixture(scope="module")
def embedder(store: LocalObjectStore) -> Embedder:
    return Embedder(register_embedder(store))


@pytest.fixture
def metrics() -> RpcMetrics:
    return RpcMetrics()


@pytest.fixture
async def channel(
    store: LocalObjectStore, detector: Detector, embedder: Embedder, metrics: RpcMetrics
) -> AsyncIterator[grpc.aio.Channel]:
    settings = Settings(
        max_batch=4, max_picture_bytes=400_000, max_picture_pixels=1_000_000, max_text_chars=20
    )
    detectors = ModelHolder(store, "detector", lambda _: detector, ModelMetrics(CollectorRegistry()))
    embedders = ModelHolder(store, "embedder", Embedder, ModelMetrics(CollectorRegistry()))
    await detectors.start()
    await embedders.start()
    server = Server(settings, metrics)
    with ThreadPoolExecutor(1) as executor:
        passes: Passes[Any] = Passes(Bounds(3, 1, 16), executor, PassMetrics(metrics))
        server.add(
            detect_pb2.DESCRIPTOR.services_by_name["Detect"],
            detect_pb2_grpc.add_DetectServicer_to_server,
            DetectServicer(detectors, settings, executor, passes),
        )
        server.add(
            embed_pb2.DESCRIPTOR.services_by_name["Embed"],
            embed_pb2_grpc.add_EmbedServicer_to_server,
            EmbedServicer(embedders, settings, executor, passes),
        )
        async with client.channel(await server.start(0)) as found:
            yield found
        await server.drain()


async def detect(channel: grpc.aio.Channel, *images: bytes) -> detect_pb2.DetectReply:
    return await call(detect_pb2_grpc.DetectStub(channel).Detect, detect_pb2.DetectRequest(images=images))


async def embed(
    channel: grpc.aio.Channel,
    images: list[bytes],
    crops: list[tuple[int, tuple[float, ...]]],
    version: str = "",
) -> embed_pb2.EmbedReply:
    asked = [
        embed_pb2.Crop(image=image, box=geometry_pb2.Box(x0=x0, y0=y0, x1=x1, y1=y1))
        for image, (x0, y0, x1, y1) in crops
    ]
    request = embed_pb2.EmbedRequest(images=images, crops=asked, model_version=version)
    return await call(embed_pb2_grpc.EmbedStub(channel).Embed, request)


async def call(method: Any, request: Any) -> Any:
    try:
        return await method(request, timeout=60)
    except grpc.aio.AioRpcError as error:
        raise client.error_of(error) from error


async def test_detection_online_is_detection_in_batch(channel: grpc.aio.Channel, detector: Detector) -> None:
    images = [picture(1), picture(2, (400, 300))]
    reply = await detect(channel, *images)
    assert reply.model_version == detector.version
    assert (reply.images[1].width, reply.images[1].height) == (400, 300)
    directly = detector.detect([open_picture(data) for data in images])
    assert any(directly)
    for image, found in zip(reply.images, directly, strict=True):
        assert [item.category for item in image.detections] == [item.category for item in found]
        for sent, item in zip(image.detections, found, strict=True):
            box = Box(sent.box.x0, sent.box.y0, sent.box.x1, sent.box.y1)
            assert box.iou(item.box) > 0.99
            assert sent.score == pytest.approx(item.score, abs=1e-3)


async def test_embedding_online_is_embedding_in_batch(channel: grpc.aio.Channel, embedder: Embedder) -> None:
    images = [picture(1), picture(2)]
    wanted = [(1, (0.0, 0.0, 1.0, 1.0)), (0, (0.2, 0.1, 0.9, 0.9)), (1, (0.3, 0.2, 0.7, 0.8))]
    reply = await embed(channel, images, wanted)
    assert (reply.model_version, reply.preprocessing) == (embedder.version, embedder.preprocessing)
    found = np.frombuffer(reply.vectors, "<f4").reshape(3, reply.dim)
    opened = [open_picture(data) for data in images]
    directly = embedder.embed([crop(opened[image], Box(*box)) for image, box in wanted])
    assert (found * directly).sum(axis=1).min() >= 0.999


async def test_calls_at_the_same_time_get_what_each_would_alone(
    channel: grpc.aio.Channel, detector: Detector, embedder: Embedder, metrics: RpcMetrics
) -> None:
    images = [picture(seed) for seed in range(6)]
    opened = [open_picture(data) for data in images]
    whole: list[tuple[int, tuple[float, ...]]] = [(0, (0.0, 0.0, 1.0, 1.0))]
    bad = asyncio.gather(
        detect(channel, b"<html>"), embed(channel, [b"<html>"], whole), return_exceptions=True
    )
    found = await asyncio.gather(*(embed(channel, [data], whole) for data in images))
    vectors = np.concatenate([np.frombuffer(reply.vectors, "<f4").reshape(1, -1) for reply in found])
    alone = np.concatenate([embedder.embed([one]) for one in opened])
    assert (vectors * alone).sum(axis=1).min() >= 0.9999
    seen = await asyncio.gather(*(detect(channel, data) for data in images))
    for reply, one in zip(seen, opened, strict=True):
        (items,) = detector.detect([one])
        assert [item.category for item in reply.images[0].detections] == [item.category for item in items]
        for sent, item in zip(reply.images[0].detections, items, strict=True):
            assert sent.score == pytest.approx(item.score, abs=1e-4)
    assert [type(error) for error in await bad] == [BadImage, BadImage]
    passes = metrics.registry.get_sample_value("imgsearch_pass_pictures_count")
    assert metrics.registry.get_sample_value("imgsearch_pass_pictures_sum") == 2 * len(images)
    assert passes is not None
    assert passes < 2 * len(images), "some went together"


async def test_versions_do_not_mix_while_a_model_is_exchanged(
    channel: grpc.aio.Channel, store: LocalObjectStore, embedder: Embedder
) -> None:
    other = narrower(store, embedder.version, 48)
    promote(store, load_bundle(store, "embedder", other))
    promote(store, load_bundle(store, "embedder", embedder.version))
    whole: list[tuple[int, tuple[float, ...]]] = [(0, (0.0, 0.0, 1.0, 1.0))]
    data = picture(1)
    await embed(channel, [data], whole, other)  # in memory from here on
    versions = [other, embedder.version] * 6
    found = await asyncio.gather(*(embed(channel, [data], whole, version) for version in versions))
    assert [reply.model_version for reply in found] == versions
    assert [reply.dim for reply in found] == [48, embedder.dim] * 6
    for reply in found[2:]:
        again = found[versions.index(reply.model_version)]
        cosine = np.frombuffer(reply.vectors, "<f4") @ np.frombuffer(again.vectors, "<f4")
        assert cosine >= 0.9999


async def test_the_version_that_is_asked_for_answers(
    channel: grpc.aio.Channel, store: LocalObjectStore, embedder: Embedder
) -> None:
    whole: list[tuple[int, tuple[float, ...]]] = [(0, (0, 0, 1, 1))]
    other = narrower(store, embedder.version, 32)
    with pytest.raises(NotFound, match=f"no embedder '{other}' was ever live"):
        await embed(channel, [picture(1)], whole, other)
    promote(store, load_bundle(store, "embedder", other))
    promote(store, load_bundle(store, "embedder", embedder.version))
    for version, dim in ((other, 32), ("", embedder.dim), (embedder.version, embedder.dim)):
        reply = await embed(channel, [picture(1)], whole, version)
        assert (reply.model_version, reply.dim) == (version or embedder.version, dim)
        assert len(reply.vectors) == 4 * dim
    with pytest.raises(NotFound, match="no embedder '0123456789abcdef' was ever live"):
        await embed(channel, [picture(1)], whole, "0123456789abcdef")


def narrower(store: LocalObjectStore, version: str, dim: int) -> str:
    """Another embedder, a candidate: the first ``dim`` numbers of that one."""
    bundle = load_bundle(store, "embedder", version)
    project = {name: bundle.tensors[name][:dim] for name in ("project.weight", "project.bias")}
    tensors = {**bundle.tensors, **project}
    return store_bundle(store, "embedder", tensors, bundle.card.preprocessing, dim=dim).version


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        (["hat"] * 5, "texts: there are 5; 1 to 4 are taken"),
        (["hat", " "], "texts[1]: it has 1 characters; 1 to 20 are taken, not all of them spaces"),
        (["x" * 21], "texts[0]: it has 21 characters; 1 to 20 are taken, not all of them spaces"),
    ],
)
async def test_texts_that_are_none(channel: grpc.aio.Channel, texts: list[str], text: str) -> None:
    with pytest.raises(BadInput) as caught:
        await embed_text(channel, *texts)
    assert str(caught.value) == text


async def test_a_model_that_reads_no_text_says_so(channel: grpc.aio.Channel, embedder: Embedder) -> None:
    for texts in (["a red dress"], []):  # no text asks whether any would be read
        with pytest.raises(TextSearchOff) as caught:
            await embed_text(channel, *texts)
        assert str(caught.value) == f"embedder {embedder.version} has no text tower; search with a picture"


async def embed_text(channel: grpc.aio.Channel, *texts: str) -> embed_pb2.EmbedReply:
    request = embed_pb2.EmbedTextRequest(texts=texts)
    return await call(embed_pb2_grpc.EmbedStub(channel).EmbedText, request)


@pytest.mark.parametrize(
    ("crops", "text"),
    [
        ([], "crops: there are 0; 1 to 4 are taken"),
        ([(0, (0, 0, 1, 1))] * 5, "crops: there are 5; 1 to 4 are taken"),
        ([(0, (0, 0, 1, 1)), (1, (0, 0, 1, 1))], "crops[1]: there is no image 1; there are 1"),
        ([(0, (0.5, 0, 0.25, 1))], "box: (0.5, 0.0, 0.25, 1.0) is empty; x0 < x1 and y0 < y1"),
        ([(0, (0, 0, 1, 2))], "box: y1 is 2.0; it must be a fraction of the picture, 0 to 1"),
    ],
)
async def test_crops_that_are_none(channel: grpc.aio.Channel, crops: Any, text: str) -> None:
    with pytest.raises(BadInput) as caught:
        await embed(channel, [picture(2)], crops)
    assert str(caught.value) == text


async def test_pictures_are_counted(channel: grpc.aio.Channel) -> None:
    for asked in (detect(channel), embed(channel, [], [(0, (0, 0, 1, 1))])):
        with pytest.raises(BadInput, match="images: there are 0; 1 to 4 are taken"):
            await asked


async def test_a_bad_picture_is_named_where_there_are_several(channel: grpc.aio.Channel) -> None:
    good, bad = picture(2), b"<html>"
    with pytest.raises(BadImage) as alone:
        await detect(channel, bad)
    assert alone.value.reason == "not_an_image"
    for asked in (detect(channel, good, bad), embed(channel, [good, bad], [(1, (0, 0, 1, 1))])):
        with pytest.raises(BadImage) as caught:
            await asked
        assert str(caught.value) == f"images[1]: {alone.value}"
        assert caught.value.reason == "not_an_image"


async def test_the_bounds_of_a_picture_are_the_settings(channel: grpc.aio.Channel) -> None:
    for data, reason in (
        (picture(2, (1200, 1000)), "too_many_pixels"),
        (b"x" * 400_001, "too_many_bytes"),
    ):
        with pytest.raises(ImgsearchError) as caught:
            await detect(channel, data)
        assert getattr(caught.value, "reason", None) == reason
