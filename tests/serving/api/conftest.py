"""A whole front on free ports: three small gRPC services over real channels, Redis, a picture host, uvicorn.

The services really look: the detector finds patches of colour on white, the embedder takes the mean colour
of a crop, the search compares with a few products. ``house.<service>.fail`` makes the next calls fail.
"""

import asyncio
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import uvicorn
from aiohttp import web
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from PIL import Image, ImageDraw

from serving.api.app import create_app
from serving.api.protocol import BoundedHttp
from serving.errors import Conflict, NotFound, TextSearchOff, status_of
from serving.index.after import mark
from serving.proto import (
    detect_pb2,
    detect_pb2_grpc,
    embed_pb2,
    embed_pb2_grpc,
    geometry_pb2,
    search_pb2,
    search_pb2_grpc,
)
from serving.rpc.errors import CODE
from serving.settings import Settings

COLOURS = {"red": (200, 40, 50), "green": (60, 140, 80), "blue": (50, 80, 180), "yellow": (230, 190, 60)}
CATEGORIES = ("dress", "bag", "shirt")
EMBEDDER, DETECTOR, GENERATION = "embedder-1", "detector-1", "generation-1"


def jpeg(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=92)
    return out.getvalue()


@pytest.fixture(name="patches", scope="session")
def patches_fixture() -> Callable[..., bytes]:
    return patches


@pytest.fixture(scope="session")
def large_picture() -> bytes:
    """As a telephone takes them: several megabytes, and not compressible away."""
    noise = np.random.default_rng(1).integers(0, 255, (1800, 2400, 3), dtype=np.uint8)
    return jpeg(Image.fromarray(noise))


def patches(*colours: str, size: tuple[int, int] = (320, 240)) -> bytes:
    """A JPEG of coloured patches side by side on white, the first the widest."""
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    left = 20
    for index, colour in enumerate(colours):
        right = left + (120 if index == 0 else 60)
        draw.rectangle((left, 40, right, 200), fill=COLOURS[colour])
        left = right + 30
    return jpeg(picture)


def patch_boxes(picture: Image.Image) -> list[tuple[float, float, float, float]]:
    """Columns that are not white, as boxes, the widest first."""
    dark = np.asarray(picture.convert("L"), dtype=np.uint8) < 235
    columns = np.flatnonzero(np.diff(np.concatenate([[0], dark.any(axis=0).astype(np.int8), [0]])))
    rows = np.flatnonzero(dark.any(axis=1))
    if not len(rows):
        return []
    width, height = picture.size
    top, bottom = rows[0] / height, (rows[-1] + 1) / height
    runs = [(x0, x1) for x0, x1 in zip(columns[::2], columns[1::2], strict=True) if x1 - x0 > 5]
    runs.sort(key=lambda run: run[0] - run[1])
    return [(float(x0 / width), float(top), float(x1 / width), float(bottom)) for x0, x1 in runs]


def colour_vector(pixels: np.ndarray) -> np.ndarray:
    """Mean colour of 0..255 (..., 3), as a unit row float32 (4,) that keeps red, green and blue apart."""
    mean = pixels.reshape(-1, 3).mean(axis=0) / 255 - 0.5
    row = np.append(mean, 0.1).astype(np.float32)
    return row / np.linalg.norm(row)


@dataclass
class Faulty:
    """What a test can do to a service."""

    fail: grpc.StatusCode | None = None
    delay_s: float = 0.0
    calls: list[Any] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)

    async def meet(self, request: Any, context: Any) -> None:
        self.calls.append(request)
        self.metadata = {key: str(value) for key, value in context.invocation_metadata()}
        await asyncio.sleep(self.delay_s)
        if self.fail is not None:
            await context.abort(self.fail, "told to fail by the test")

    def reset(self) -> None:
        self.fail, self.delay_s = None, 0.0
        self.calls.clear()


class Detect(Faulty, detect_pb2_grpc.DetectServicer):
    async def Detect(self, request: Any, context: Any) -> detect_pb2.DetectReply:
        await self.meet(request, context)
        images = []
        for data in request.images:
            picture = Image.open(io.BytesIO(data)).convert("RGB")
            found = [
                detect_pb2.Detection(
                    box=geometry_pb2.Box(x0=x0, y0=y0, x1=x1, y1=y1),
                    category=CATEGORIES[index % 3],
                    score=0.95 - 0.2 * index,
                )
                for index, (x0, y0, x1, y1) in enumerate(patch_boxes(picture))
            ]
            images.append(
                detect_pb2.ImageDetections(detections=found, width=picture.width, height=picture.height)
            )
        return detect_pb2.DetectReply(images=images, model_version=DETECTOR)


class Embed(Faulty, embed_pb2_grpc.EmbedServicer):
    version = ""  # the one that is asked for
    reads_text = False

    async def EmbedText(self, request: Any, context: Any) -> embed_pb2.EmbedReply:
        """A text looks like the first colour that it names."""
        if not self.reads_text:
            error = TextSearchOff("embedder-1 has no text tower; search with a picture")
            await context.abort(status_of(error)[1], error.message, ((CODE, error.code),))
        if request.texts:
            await self.meet(request, context)
        named = [next(word for word in text.split() if word in COLOURS) for text in request.texts]
        rows = np.array([colour_vector(np.array(COLOURS[name])) for name in named], "<f4").reshape(-1, 4)
        return embed_pb2.EmbedReply(
            vectors=rows.tobytes(),
            dim=4,
            model_version=self.version or request.model_version,
            preprocessing="p",
        )

    async def Embed(self, request: Any, context: Any) -> embed_pb2.EmbedReply:
        await self.meet(request, context)
        pictures = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in request.images]
        rows = []
        for crop in request.crops:
            pixels, box = pictures[crop.image], crop.box
            height, width = pixels.shape[:2]
            part = pixels[
                int(box.y0 * height) : int(np.ceil(box.y1 * height)),
                int(box.x0 * width) : int(np.ceil(box.x1 * width)),
            ]
            rows.append(colour_vector(part))
        vectors = np.stack(rows).astype("<f4")
        return embed_pb2.EmbedReply(
            vectors=vectors.tobytes(),
            dim=vectors.shape[1],
            model_version=self.version or request.model_version,
            preprocessing="p",
        )


class Search(Faulty, search_pb2_grpc.SearchServicer):
    generation = GENERATION
    embedder = EMBEDDER
    accepts = EMBEDDER
    follows_stock = True
    stock = ""
    results = 1  # what the contract says of one query
    starves = False  # finds one product less than it should, and knows that there are more

    def __init__(self, picture_host: str) -> None:
        super().__init__()
        self._picture_host = picture_host
        self.products = self.catalogue()
        self.groups: dict[str, str] = {}  # of those that are not alone, by product

    def catalogue(self) -> dict[str, tuple[search_pb2.Product, np.ndarray]]:
        """Twelve products by id, each with its vector float32 (4,)."""
        products = {}
        for place, (colour, rgb) in enumerate(COLOURS.items()):
            for index, category in enumerate(CATEGORIES):
                product = search_pb2.Product(
                    product_id=f"{colour}-{category}",
                    name=f"{colour.title()} {category}",
                    brand="Nordlys" if index else "Åkerman & Søn",
                    category=category,
                    colour=colour,
                    price=1900 + 1000 * index + 100 * place,
                    currency="EUR",
                    in_stock=True,
                    image_urls=[f"{self._picture_host}/{colour}.jpg"],
                )
                tint = np.array(rgb) * (1 - 0.1 * index)
                products[product.product_id] = (product, colour_vector(tint))
        return products

    def _kept(self, wanted: search_pb2.Filter) -> list[str]:
        def fits(product: search_pb2.Product) -> bool:
            return (
                (not wanted.categories or product.category in wanted.categories)
                and (not wanted.colours or product.colour in wanted.colours)
                and (not wanted.brands or product.brand in wanted.brands)
                and (not wanted.in_stock_only or product.in_stock)
                and (not wanted.HasField("price_min") or product.price >= wanted.price_min)
                and (not wanted.HasField("price_max") or product.price <= wanted.price_max)
                and product.product_id not in wanted.excluded_product_ids
            )

        return [key for key, (product, _) in self.products.items() if fits(product)]

    async def Search(self, request: Any, context: Any) -> search_pb2.SearchReply:
        await self.meet(request, context)
        if request.embedder_version not in ("", self.accepts):
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"vectors of {request.embedder_version} against a generation of {self.accepts}",
            )
        (query,) = request.queries
        kept = self._kept(query.filter)
        if query.product_id:
            if query.product_id not in self.products:
                error = NotFound(f"product {query.product_id!r} is not in the index")
                await context.abort(status_of(error)[1], error.message, ((CODE, error.code),))
            vectors = self.products[query.product_id][1][None, :]
            kept = [key for key in kept if key != query.product_id]
        else:
            vectors = np.frombuffer(query.vectors, dtype="<f4").reshape(-1, request.dim)
        scored = sorted(((float((vectors @ self.products[key][1]).max()), key) for key in kept), reverse=True)
        shown: dict[str, list[str]] = {}  # of each group the best, and the others
        for _, key in scored:
            grouped = query.collapse != search_pb2.COLLAPSE_PRODUCT
            shown.setdefault(self.groups.get(key, key) if grouped else key, []).append(key)
        also = {keys[0]: keys[1:] for keys in shown.values()}
        scored = [(score, key) for score, key in scored if key in also]
        if query.HasField("after"):
            after = query.after
            if after.generation != self.generation:
                error = Conflict("the index has moved on; search again from the first page")
                await context.abort(status_of(error)[1], error.message, ((CODE, error.code),))
            behind = [(score, key) for score, key in scored if score <= after.score]
            scored = [one for one in behind if one[0] < after.score or mark(one[1]) not in after.tied]
        hits = [
            search_pb2.Hit(
                also_product_ids=also[key][:8],
                product=self.products[key][0],
                score=score,
                image_url=self.products[key][0].image_urls[0],
                box=geometry_pb2.Box(x0=0, y0=0, x1=1, y1=1),
            )
            for score, key in scored[: query.k - self.starves]
        ]
        result = search_pb2.Result(
            hits=hits,
            plan="exact",
            rows_scanned=len(kept),
            exhausted=len(scored) < query.k,
            product=self.products[query.product_id][0] if query.product_id else None,
        )
        return search_pb2.SearchReply(
            results=[result] * self.results,
            generation=self.generation,
            embedder_version=self.embedder,
            stock_version=self.stock,
            stock_followed=self.follows_stock,
        )

    async def GetProducts(self, request: Any, context: Any) -> search_pb2.GetProductsReply:
        await self.meet(request, context)
        known = [self.products[key][0] for key in request.product_ids if key in self.products]
        return search_pb2.GetProductsReply(
            products=known,
            generation=self.generation,
            stock_version=self.stock,
            stock_followed=self.follows_stock,
        )

    async def Explain(self, request: Any, context: Any) -> search_pb2.ExplainReply:
        await self.meet(request, context)
        for key in (request.product_id, *([request.like] if request.like else [])):
            if key not in self.products:
                message = f"generation {self.generation} does not hold product {key!r}"
                await context.abort(grpc.StatusCode.NOT_FOUND, message)
        product, vector = self.products[request.product_id]
        url, whole = product.image_urls[0], geometry_pb2.Box(x0=0, y0=0, x1=1, y1=1)
        item = geometry_pb2.Box(x0=0.1, y0=0.1, x1=0.8, y1=0.9)
        pair = None
        if request.like:
            other, of_vector = self.products[request.like]
            pair = search_pb2.Pair(
                score=min(float(vector @ of_vector), 1),
                image_url=url,
                box=item,
                of_image_url=other.image_urls[0],
                of_box=item,
            )
        own = self.groups.get(request.product_id)
        mates = [key for key, group in self.groups.items() if group == own and key != request.product_id]
        return search_pb2.ExplainReply(
            product=product,
            generation=self.generation,
            created_at=1.0,
            embedder_version=self.embedder,
            detector_version=DETECTOR,
            pictures=[search_pb2.Picture(image_url=url, image_sha256="0" * 64, parts=[item, whole])],
            variants=mates,
            same_picture=[],
            pair=pair,
            stock_version=self.stock,
            stock_followed=self.follows_stock,
        )

    async def Status(self, request: Any, context: Any) -> search_pb2.StatusReply:
        await self.meet(request, context)
        if not self.generation:
            return search_pb2.StatusReply()
        return search_pb2.StatusReply(
            generation=self.generation,
            embedder_version=self.embedder,
            stock_version=self.stock,
            stock_followed=self.follows_stock,
            detector_version=DETECTOR,
            dim=4,
            products=len(self.products),
            rows=len(self.products),
            created_at=1.0,
            categories=sorted(CATEGORIES),
            brands=["Nordlys", "Åkerman & Søn"],
            colours=sorted(COLOURS),
        )


@dataclass
class House:
    """Everything that runs, and a client of the front."""

    url: str
    picture_host: str
    detect: Detect
    embed: Embed
    search: Search
    health: dict[str, health.aio.HealthServicer]
    loop: asyncio.AbstractEventLoop
    http: httpx.Client

    def say(self, name: str, status: int) -> None:
        """Have a service answer health checks with ``status``."""
        asyncio.run_coroutine_threadsafe(self.health[name].set("", status), self.loop).result(5)

    def reset(self) -> None:
        for name in self.health:
            self.say(name, health_pb2.HealthCheckResponse.SERVING)
        for service in (self.detect, self.embed, self.search):
            service.reset()
        self.search.generation, self.search.results, self.search.starves = GENERATION, 1, False
        self.search.accepts = self.search.embedder = EMBEDDER
        self.search.products = self.search.catalogue()
        self.search.groups = {}
        self.search.stock, self.search.follows_stock = "", True
        self.embed.version, self.embed.reads_text = "", False


async def _grpc_server(register: Any, servicer: Any, health_servicer: Any) -> tuple[grpc.aio.Server, str]:
    server = grpc.aio.server()
    register(servicer, server)
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, f"127.0.0.1:{port}"


async def _picture_host() -> tuple[web.AppRunner, str]:
    """``/<colour>.jpg`` and ``/not-a-picture.jpg``; anything else is a 404."""

    async def picture(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name == "not-a-picture":
            return web.Response(body=b"<html>hello</html>", content_type="image/jpeg")
        if name not in COLOURS:
            raise web.HTTPNotFound
        return web.Response(body=patches(name, size=(200, 240)), content_type="image/jpeg")

    app = web.Application()
    app.router.add_get("/{name}.jpg", picture)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    return runner, f"http://{host}:{port}"


@pytest.fixture(scope="session")
def run_house() -> Callable[..., AbstractContextManager[House]]:
    return _run_house


@contextmanager
def _run_house(**overrides: Any) -> Iterator[House]:
    """Starts it all on a loop in a thread of its own, and takes it down again."""
    up: list[House] = []
    failed: list[BaseException] = []
    ready, stop = threading.Event(), threading.Event()

    async def run() -> None:
        runner, picture_host = await _picture_host()
        detect, embed, search = Detect(), Embed(), Search(picture_host)
        healthy = {name: health.aio.HealthServicer() for name in ("detect", "embed", "search")}
        servers = [
            await _grpc_server(detect_pb2_grpc.add_DetectServicer_to_server, detect, healthy["detect"]),
            await _grpc_server(embed_pb2_grpc.add_EmbedServicer_to_server, embed, healthy["embed"]),
            await _grpc_server(search_pb2_grpc.add_SearchServicer_to_server, search, healthy["search"]),
        ]
        values: dict[str, Any] = {
            "detect_address": servers[0][1],
            "embed_address": servers[1][1],
            "search_address": servers[2][1],
            "fetch_allow_hosts": {picture_host.removeprefix("http://")},
            "request_timeout_s": 30.0,
            "search_target_s": 30.0,  # tests make searches slow
            **overrides,
        }
        config = uvicorn.Config(
            create_app(Settings(**values)), http=BoundedHttp, port=0, log_config=None, access_log=False
        )
        front = uvicorn.Server(config)
        serving = asyncio.create_task(front.serve())
        while not front.started:
            if serving.done():
                serving.result()
            await asyncio.sleep(0.01)
        port = front.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        client = httpx.Client(base_url=url, timeout=40)
        up.append(
            House(url, picture_host, detect, embed, search, healthy, asyncio.get_running_loop(), client)
        )
        ready.set()
        await asyncio.to_thread(stop.wait)
        front.should_exit = True
        await serving
        for server, _ in servers:
            await server.stop(None)
        await runner.cleanup()

    def thread() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()

    running = threading.Thread(target=thread, name="house", daemon=True)
    running.start()
    ready.wait(30)
    if failed:
        raise failed[0]
    up[0].reset()
    try:
        yield up[0]
    finally:
        up[0].http.close()
        stop.set()
        running.join(30)
    if failed:
        raise failed[0]


@pytest.fixture(scope="session")
def running_house(redis_url: str) -> Iterator[House]:
    with _run_house(redis_url=redis_url, redis_timeout_s=1.0, result_ttl_s=0) as house:
        yield house


@pytest.fixture
def house(running_house: House) -> House:
    running_house.reset()
    return running_house


@pytest.fixture(scope="module")
def keeping_house(run_house: Any, redis_url: str) -> Iterator[House]:
    """One that keeps what it answered."""
    with run_house(redis_url=redis_url, redis_timeout_s=1.0, result_ttl_s=60) as house:
        yield house
