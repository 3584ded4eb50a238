"""What the API stands on: three gRPC services, the feature store and a fetcher that stays outside."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import NDArray

from serving import telemetry, tracing
from serving.api.clock import Clock
from serving.api.pace import Pace
from serving.api.schemas import Health
from serving.cache.features import CachedFeatures, FeatureStore
from serving.cache.pictures import PictureFeatures
from serving.cache.stock_log import in_stock, stock_key
from serving.errors import ImgsearchError, ModelMismatch, NotFound, Overloaded, Unavailable
from serving.images.box import Box
from serving.images.fetch import PictureFetcher
from serving.proto import (
    detect_pb2,
    detect_pb2_grpc,
    embed_pb2,
    embed_pb2_grpc,
    geometry_pb2,
    search_pb2,
    search_pb2_grpc,
)
from serving.rpc import client
from serving.settings import Settings
from serving.telemetry import REQUEST_ID, request_id

SERVICES = ("search", "detect", "embed")

_HEALTH_TIMEOUT_S = 0.5
# How long a generation is taken to be still served; a wrong guess of its embedder costs one more search.
SERVED_FOR_S = 1.0
_ATTEMPTS = 3

Request = TypeVar("Request")
Reply = TypeVar("Reply")
Answered = TypeVar("Answered")


class Backends:
    """Calls with what is left of a request's time, under its id. All raise ``ImgsearchError``."""

    def __init__(
        self,
        settings: Settings,
        serving: dict[str, grpc.aio.Channel],
        there: dict[str, grpc.aio.Channel],
        features: FeatureStore | None,
        fetcher: PictureFetcher,
        caller: client.Caller = client.IN_THE_CLEAR,
    ) -> None:
        self.settings = settings
        self.pace = Pace(settings.search_target_s, settings.max_concurrency)
        self._search = search_pb2_grpc.SearchStub(caller.identified(serving["search"]))
        self._detect = detect_pb2_grpc.DetectStub(caller.identified(serving["detect"]))
        self._embed = embed_pb2_grpc.EmbedStub(caller.identified(serving["embed"]))
        # Where no replica serves, one that is there says why.
        self._search_there = search_pb2_grpc.SearchStub(caller.identified(there["search"]))
        self._health = {
            name: [health_pb2_grpc.HealthStub(channels[name]) for channels in (serving, there)]
            for name in SERVICES
        }
        self._features = features
        self._fetcher = fetcher
        self._fetching = 0
        self.lately = search_pb2.StatusReply()  # what was served when it was looked at last
        self._served_until_s = 0.0
        self.empty_answers = self.short_answers = 0
        self._detector: str | None = None
        self._writes: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, caller: client.Caller) -> AsyncIterator["Backends"]:
        """Opens channels without waiting for what is behind them; closes all when the block ends."""
        async with AsyncExitStack() as stack:
            serving, there = [
                {
                    name: await stack.enter_async_context(
                        client.channel(
                            getattr(settings, f"{name}_address"), caller, serving_alone=serving_alone
                        )
                    )
                    for name in SERVICES
                }
                for serving_alone in (True, False)
            ]
            features = None
            if settings.redis_url is not None:
                features = FeatureStore(settings.redis_url.get_secret_value(), settings.redis_timeout_s)
                stack.push_async_callback(features.aclose)
            fetcher = await stack.enter_async_context(
                PictureFetcher(
                    allow_hosts=settings.fetch_allow_hosts,
                    max_bytes=settings.max_picture_bytes,
                    timeout_s=settings.fetch_timeout_s,
                )
            )
            backends = cls(settings, serving, there, features, fetcher, caller)
            yield backends
            await asyncio.gather(*backends._writes)

    async def detect(self, data: bytes, clock: Clock) -> tuple[list[detect_pb2.Detection], str]:
        """The items on an encoded picture, the main one first, and the detector's version."""
        reply = await _ask(self._detect.Detect, detect_pb2.DetectRequest(images=[data]), clock)
        (image,) = reply.images
        self._detector = reply.model_version
        return list(image.detections), reply.model_version

    async def embed(
        self, data: bytes, boxes: Sequence[Box], embedder: str, clock: Clock
    ) -> NDArray[np.float32]:
        """Unit rows float32 (len(boxes), d) of parts of an encoded picture, by that version."""
        crops = [
            embed_pb2.Crop(image=0, box=geometry_pb2.Box(x0=box.x0, y0=box.y0, x1=box.x1, y1=box.y1))
            for box in boxes
        ]
        request = embed_pb2.EmbedRequest(images=[data], crops=crops, model_version=embedder)
        return await _vectors(self._embed.Embed, request, embedder, clock)

    async def embed_texts(self, texts: Sequence[str], embedder: str, clock: Clock) -> NDArray[np.float32]:
        """Unit rows float32 (len(texts), d), by that version. Raises ``TextSearchOff``."""
        request = embed_pb2.EmbedTextRequest(texts=texts, model_version=embedder)
        return await _vectors(self._embed.EmbedText, request, embedder, clock)

    async def reads_text(self, embedder: str, clock: Clock) -> bool:
        """Whether that version does; no when that cannot be said."""
        try:
            await self.embed_texts([], embedder, clock)
        except ImgsearchError:
            return False
        return True

    async def search(self, request: search_pb2.SearchRequest, clock: Clock) -> search_pb2.SearchReply:
        """Raises what the service does. What it found is counted, and noted in the trace."""
        reply = await _ask(self._search.Search, request, clock)
        telemetry.versions.update(generation=reply.generation, embedder=reply.embedder_version)
        for query, result in zip(request.queries, reply.results, strict=False):
            self.empty_answers += not result.hits
            if not query.HasField("after"):  # the last page may be cut short by the depth
                self.short_answers += len(result.hits) < query.k and not result.exhausted
            if tracing.current.get() is not None:
                tracing.note(k=query.k, plan=result.plan, results=len(result.hits))
                tracing.note(generation=reply.generation, embedder=reply.embedder_version)
        return reply

    async def products(self, product_ids: Sequence[str], clock: Clock) -> search_pb2.GetProductsReply:
        """Those of ``product_ids`` that the generation holds."""
        request = search_pb2.GetProductsRequest(product_ids=product_ids)
        return await _ask(self._search.GetProducts, request, clock)

    async def explain(self, product_id: str, like: str | None, clock: Clock) -> search_pb2.ExplainReply:
        """What the generation holds of a product. Raises ``NotFound``, for ``like`` as well."""
        request = search_pb2.ExplainRequest(product_id=product_id, like=like or "")
        return await _ask(self._search.Explain, request, clock)

    async def status(self, clock: Clock) -> search_pb2.StatusReply:
        """What the search service serves; empty while that is nothing."""
        request = search_pb2.StatusRequest()
        try:
            return await _ask(self._search.Status, request, clock)
        except Unavailable:
            return await _ask(self._search_there.Status, request, clock)

    async def served(self, clock: Clock) -> search_pb2.StatusReply:
        """The same, of a generation. Raises ``Unavailable`` while there is none."""
        status = await self.status(clock)
        if not status.generation:
            raise Unavailable("nothing is indexed yet")
        self.lately = status
        telemetry.versions.update(
            generation=status.generation,
            embedder=status.embedder_version,
            detector=status.detector_version,
        )
        return status

    async def served_lately(self, clock: Clock) -> search_pb2.StatusReply:
        """The same, at most a moment old. Raises as ``served``."""
        if time.monotonic() >= self._served_until_s:
            await self.served(clock)
            self._served_until_s = time.monotonic() + SERVED_FOR_S
        return self.lately

    async def embedder(self, clock: Clock) -> str:
        """The version of the embedder that the served generation was made with. Raises as ``served``."""
        return (await self.served_lately(clock)).embedder_version

    async def of_the_served(self, attempt: Callable[[str], Awaitable[Answered]], clock: Clock) -> Answered:
        """``attempt(embedder)`` with the version of the served generation.

        Where a generation of another embedder came in between, once more with that one; services that run
        several replicas take a moment until all serve the same, so a third time at most.
        """
        for _ in range(_ATTEMPTS - 1):
            try:
                return await attempt(await self.embedder(clock))
            except ModelMismatch:
                self._served_until_s = 0.0
        return await attempt(await self.embedder(clock))

    @property
    def feature_reads(self) -> dict[str, int]:
        """Looks into the feature store, by what they found: hit or miss."""
        return {} if self._features is None else self._features.reads

    async def fetch(self, url: str) -> bytes:
        """The picture at a public address. Raises ``Overloaded`` where too many others wait for theirs."""
        if self._fetching >= self.settings.max_fetches:
            raise Overloaded("too many pictures are fetched at once; try again in a moment")
        self._fetching += 1
        try:
            return await self._fetcher.picture(url)
        finally:
            self._fetching -= 1

    async def stored_url(self, embedder: str, url: str) -> CachedFeatures | None:
        return None if self._features is None else await self._features.get_url(embedder, url)

    async def stock_of(self, product_ids: Sequence[str]) -> dict[str, bool]:
        """Which of them are in stock by Redis, of those that it knows."""
        if self._features is None or not product_ids:
            return {}
        state = stock_key(self.settings.environment, "state")
        return in_stock(product_ids, await self._features.values.fields(state, product_ids))

    def store_url(self, embedder: str, url: str, features: CachedFeatures) -> None:
        """Keeps what was computed, beside the answer rather than before it."""
        if self._features is not None:
            self._beside(self._features.put_url(embedder, url, features))

    @property
    def keeps_pictures(self) -> bool:
        """Whether what is seen on a picture is kept."""
        return self._features is not None and self.settings.result_ttl_s > 0

    async def detector(self, clock: Clock) -> str:
        """The version that answered last, which may be newer than the generation's. Raises as ``served``."""
        return self._detector or (await self.served_lately(clock)).detector_version

    async def stored_picture(self, key: str) -> PictureFeatures | None:
        return None if self._features is None else await self._features.get_picture(key)

    def store_picture(self, key: str, features: PictureFeatures) -> None:
        """Beside the answer as well."""
        if self._features is not None:
            self._beside(self._features.put_picture(key, features))

    async def kept(self, key: str) -> bytes | None:
        return None if self._features is None else await self._features.values.get(key)

    def keep(self, key: str, data: bytes, ttl_s: int) -> None:
        """For ``ttl_s`` seconds, beside the answer as well."""
        if self._features is not None:
            self._beside(self._features.values.set(key, data, ttl_s))

    def _beside(self, write: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(write)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def health(self, name: str) -> Health:
        """What a service says of itself; never raises for one that is down."""
        request = health_pb2.HealthCheckRequest()
        for stub in self._health[name]:
            try:
                reply = await stub.Check(request, timeout=_HEALTH_TIMEOUT_S)
            except grpc.aio.AioRpcError:
                continue
            return "serving" if reply.status == health_pb2.HealthCheckResponse.SERVING else "not_serving"
        return "unreachable"


async def _vectors(
    call: grpc.aio.UnaryUnaryMultiCallable[Request, embed_pb2.EmbedReply],
    request: Request,
    embedder: str,
    clock: Clock,
) -> NDArray[np.float32]:
    try:
        reply = await _ask(call, request, clock)
    except NotFound as error:  # our own mistake, which must not look like one of the person who asks
        raise Unavailable(f"the embed service has no embedder {embedder}, which the index needs") from error
    if reply.model_version != embedder:  # a service of yesterday knows one version only
        raise ModelMismatch(f"the vectors are of embedder {reply.model_version}, {embedder} was asked for")
    vectors = np.frombuffer(reply.vectors, dtype="<f4").reshape(-1, reply.dim)
    return vectors.astype(np.float32, copy=False)


async def _ask(
    call: grpc.aio.UnaryUnaryMultiCallable[Request, Reply], request: Request, clock: Clock
) -> Reply:
    metadata: tuple[tuple[str, str], ...] = ((REQUEST_ID, request_id.get()),)
    if (traced := tracing.current.get()) is not None:
        metadata += ((tracing.TRACEPARENT, traced.traceparent),)
    try:
        return await call(request, timeout=clock.left_s(), metadata=metadata)
    except grpc.aio.AioRpcError as error:
        raise client.error_of(error) from error
