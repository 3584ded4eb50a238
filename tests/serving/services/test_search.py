"""The search servicer through a real server and channel, over each of its backends."""

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pytest
from prometheus_client import CollectorRegistry

from serving.errors import BadInput, Conflict, ImgsearchError, ModelMismatch, NotFound, Unavailable
from serving.images.box import Box
from serving.index.after import mark
from serving.index.holder import Holder
from serving.index.store import Failure, point, read_pointer
from serving.milvus.client import Client
from serving.milvus.holder import Holder as MilvusHolder
from serving.milvus.publish import follow
from serving.proto import search_pb2, search_pb2_grpc
from serving.rpc import client
from serving.rpc.server import Server
from serving.services.batching import Batcher
from serving.services.in_memory import InMemory
from serving.services.search import SearchServicer
from serving.services.searchable import About, StockState
from serving.settings import Settings
from serving.telemetry import IndexMetrics, RpcMetrics


class Searching:
    """``milvus`` is where generations are searched, None for this process's memory."""

    def __init__(
        self, shop: Any, holder: Holder | MilvusHolder, channel: grpc.aio.Channel, milvus: Client | None
    ) -> None:
        self.shop = shop
        self.holder = holder
        self.stub = search_pb2_grpc.SearchStub(channel)
        self.milvus = milvus

    async def release(self, snapshot: str = "s1") -> str:
        manifest = self.shop.build(snapshot)
        point(self.shop.store, "local", manifest, "test", "test", read_pointer(self.shop.store, "local"))
        if self.milvus is not None:
            await asyncio.to_thread(follow, self.shop.store, "local", self.milvus)
        await self.holder.look()
        return manifest.id

    async def ask(self, *queries: dict[str, Any], **request: Any) -> search_pb2.SearchReply:
        defaults = {"dim": self.shop.dim, "embedder_version": self.shop.embedder}
        message = search_pb2.SearchRequest(
            queries=[search_pb2.Query(**{"k": 5} | query) for query in queries], **defaults | request
        )
        return await self._call(self.stub.Search, message)

    async def one(self, query: dict[str, Any]) -> search_pb2.Result:
        (result,) = (await self.ask(query)).results
        return result

    async def products(self, *ids: str) -> search_pb2.GetProductsReply:
        return await self._call(self.stub.GetProducts, search_pb2.GetProductsRequest(product_ids=ids))

    async def explain(self, product_id: str, like: str = "") -> search_pb2.ExplainReply:
        return await self._call(
            self.stub.Explain, search_pb2.ExplainRequest(product_id=product_id, like=like)
        )

    async def status(self) -> search_pb2.StatusReply:
        return await self._call(self.stub.Status, search_pb2.StatusRequest())

    async def _call(self, method: Any, message: Any) -> Any:
        try:
            return await method(message, timeout=20)
        except grpc.aio.AioRpcError as error:
            raise client.error_of(error) from error


# For tests of what the servicer does before any backend is asked.
in_memory = pytest.mark.parametrize("empty", ["memory"], indirect=True)


@pytest.fixture(params=["memory", "milvus"])
async def empty(shop, request: pytest.FixtureRequest) -> AsyncIterator[Searching]:
    settings = Settings(max_k=30, max_filter_values=5, max_batch=4)

    async def nothing() -> None:
        pass

    metrics = IndexMetrics(CollectorRegistry())
    milvus: Client | None = None
    holder: Holder | MilvusHolder = Holder(shop.store, "local", metrics, nothing, InMemory)
    if request.param == "milvus":
        milvus = request.getfixturevalue("milvus")
        holder = MilvusHolder(milvus, "local", metrics, nothing)
    server = Server(settings, RpcMetrics())
    with ThreadPoolExecutor(2) as executor:
        servicer = SearchServicer(holder, settings, executor)
        server.add(
            search_pb2.DESCRIPTOR.services_by_name["Search"],
            search_pb2_grpc.add_SearchServicer_to_server,
            servicer,
        )
        async with client.channel(await server.start(0)) as channel:
            yield Searching(shop, holder, channel, milvus)
        await server.drain()


@pytest.fixture
async def searching(empty: Searching) -> Searching:
    await empty.release()
    return empty


def vectors(shop: Any, *rows: int) -> bytes:
    data: bytes = shop.vectors[list(rows)].astype("<f4").tobytes()
    return data


def ids(result: search_pb2.Result) -> list[str]:
    return [hit.product.product_id for hit in result.hits]


async def test_before_the_first_generation(empty: Searching) -> None:
    for asked in (empty.ask({"product_id": "p00001"}), empty.products("p00001")):
        with pytest.raises(Unavailable, match="no generation is loaded yet"):
            await asked
    assert await empty.status() == search_pb2.StatusReply()


@in_memory
async def test_a_filter_that_says_nothing_is_none(
    searching: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The front sends one with every search; it must not keep it from the short way."""
    together = []
    real = Batcher.ask
    monkeypatch.setattr(Batcher, "ask", lambda batcher, asked: together.append(asked) or real(batcher, asked))
    query = {"vectors": vectors(searching.shop, 1, 2), "k": 3}
    plain = await searching.ask(query)
    empty = await searching.ask(query | {"filter": search_pb2.Filter()})
    assert (len(together), empty) == (2, plain)
    await searching.ask(query | {"filter": search_pb2.Filter(in_stock_only=True)})
    assert len(together) == 3, "nearly all ask for what is in stock"
    await searching.ask(query | {"filter": search_pb2.Filter(in_stock_only=True, price_min=0)})
    await searching.ask(query | {"after": search_pb2.After(generation=plain.generation, score=1)})
    assert len(together) == 3


@in_memory
async def test_an_old_generation_is_let_go_whatever_was_asked_of_it(searching: Searching) -> None:
    good = {"vectors": vectors(searching.shop, 1)}
    gc.disable()  # what holds itself would go by chance
    try:
        with pytest.raises(BadInput, match="k is 0"):
            await searching.ask(good | {"k": 0})
        await searching.ask(good)
        old = weakref.ref(searching.holder.current())
        await searching.release("s2")
        assert old() is None
    finally:
        gc.enable()


async def test_a_hit_says_what_matched_and_where(searching: Searching) -> None:
    shop, row = searching.shop, 6
    item = shop.items.slice(row, 1).to_pylist()[0]
    reply = await searching.ask({"vectors": vectors(shop, row), "k": 3})
    assert reply.generation == shop.build("s1").id
    assert reply.embedder_version == shop.embedder
    (result,) = reply.results
    assert (result.plan, result.rows_scanned, result.exhausted) == ("exact", shop.items.num_rows, False)
    best = result.hits[0]
    product = shop.products.to_pylist()[shop.ids.index(item["product_id"])]
    assert best.product == search_pb2.Product(**product)
    assert best.score == pytest.approx(1, abs=1e-3)
    assert (best.image_url, best.image_sha256) == (item["image_url"], item["sha256"])
    assert Box(best.box.x0, best.box.y0, best.box.x1, best.box.y1).key == item["box"]
    assert len(set(ids(result))) == 3
    scores = [hit.score for hit in result.hits]
    assert scores == sorted(scores, reverse=True)


async def test_a_product_is_searched_with_its_own_vectors_and_left_out(searching: Searching) -> None:
    result = await searching.one({"product_id": "p00007", "k": 30})
    assert len(result.hits) == 30
    assert "p00007" not in ids(result)


async def test_a_group_is_one_hit_that_names_its_others(empty: Searching) -> None:
    shop = empty.shop
    groups = ["p00000" if int(name[1:]) < 12 else name for name in shop.ids]
    shop.products = shop.products.append_column("picture_group", pa.array(groups))
    await empty.release()
    row = next(row for row, name in enumerate(shop.items["product_id"].to_pylist()) if name == "p00003")
    asked: dict[str, Any] = {"vectors": vectors(shop, row), "k": 30}
    for collapse in (search_pb2.COLLAPSE_PRODUCT, search_pb2.COLLAPSE_VARIANT):
        result = await empty.one({**asked, "collapse": collapse})
        assert [list(hit.also_product_ids) for hit in result.hits] == [[]] * 30
    result = await empty.one({**asked, "collapse": search_pb2.COLLAPSE_PICTURE})
    assert len(result.hits) == 30
    assert ids(result)[0] == "p00003"
    assert [len(hit.also_product_ids) for hit in result.hits] == [8] + [0] * 29
    wanted = search_pb2.Filter(excluded_product_ids=[f"p{number:05d}" for number in range(5)])
    result = await empty.one({**asked, "filter": wanted, "collapse": search_pb2.COLLAPSE_PICTURE})
    (group,) = (hit for hit in result.hits if hit.also_product_ids)
    assert {group.product.product_id, *group.also_product_ids} == {f"p{n:05d}" for n in range(5, 12)}
    result = await empty.one({"product_id": "p00003", "k": 30, "collapse": search_pb2.COLLAPSE_PICTURE})
    told = {name for hit in result.hits for name in (hit.product.product_id, *hit.also_product_ids)}
    assert "p00003" not in told


async def test_what_is_held_of_a_product_is_told(empty: Searching) -> None:
    shop = empty.shop
    groups = ["p00000" if int(name[1:]) < 12 else name for name in shop.ids]
    shop.products = shop.products.append_column("variant_group", pa.array(groups))
    generation = await empty.release()
    reply = await empty.explain("p00003")
    (product,) = (await empty.products("p00003")).products
    assert reply.product == product
    assert (reply.generation, reply.embedder_version) == (generation, shop.embedder)
    assert reply.detector_version == "detector-1"
    assert reply.created_at == (await empty.status()).created_at
    rows = [row for row in shop.items.to_pylist() if row["product_id"] == "p00003"]
    told = [
        (picture.image_url, picture.image_sha256, Box(box.x0, box.y0, box.x1, box.y1).key)
        for picture in reply.pictures
        for box in picture.parts
    ]
    assert sorted(told) == sorted((row["image_url"], row["sha256"], row["box"]) for row in rows)
    assert len(reply.pictures) == len(rows) / 2
    assert list(reply.variants) == [f"p{number:05d}" for number in range(12) if number != 3]
    assert list(reply.same_picture) == []
    assert not reply.HasField("pair")


async def test_two_products_are_compared_by_their_best_rows(searching: Searching) -> None:
    shop = searching.shop
    names = shop.items["product_id"].to_pylist()
    one, other = ([row for row, name in enumerate(names) if name == f"p0000{n}"] for n in (3, 7))
    scores = shop.vectors[one] @ shop.vectors[other].T
    row, of_row = np.unravel_index(scores.argmax(), scores.shape)
    pair = (await searching.explain("p00003", "p00007")).pair
    assert pair.score == pytest.approx(scores.max(), abs=2e-3)
    items = shop.items.to_pylist()
    for number, url, box in (
        (one[row], pair.image_url, pair.box),
        (other[of_row], pair.of_image_url, pair.of_box),
    ):
        assert (url, Box(box.x0, box.y0, box.x1, box.y1).key) == (
            items[number]["image_url"],
            items[number]["box"],
        )
    found = await searching.one({"product_id": "p00007", "k": 30})
    (hit,) = [hit for hit in found.hits if hit.product.product_id == "p00003"] or [None]
    assert hit is None or hit.score == pytest.approx(pair.score, abs=1e-6)


async def test_nothing_is_held_of_a_product_that_is_not_there(searching: Searching) -> None:
    generation = searching.shop.build("s1").id
    for asked in (searching.explain("p99999"), searching.explain("p00001", "p99999")):
        with pytest.raises(NotFound) as caught:
            await asked
        assert str(caught.value) == f"generation {generation} does not hold product 'p99999'"


async def test_a_page_follows_the_one_before(searching: Searching) -> None:
    shop = searching.shop
    for query in (
        {"vectors": vectors(shop, 3)},
        {"product_id": "p00007"},
        {"vectors": vectors(shop, 3, 9), "filter": search_pb2.Filter(in_stock_only=True)},
    ):
        whole = await searching.one(query | {"k": 30})
        reply = await searching.ask(query | {"k": 7})
        shown: list[search_pb2.Hit] = list(reply.results[0].hits)
        while len(shown) < 30:
            last = shown[-1].score
            after = search_pb2.After(
                generation=reply.generation,
                score=last,
                tied=[mark(hit.product.product_id) for hit in shown if hit.score == last],
                shown=len(shown),
            )
            page = await searching.one(query | {"k": min(8, 30 - len(shown)), "after": after})
            assert not page.exhausted
            shown += page.hits
        assert shown == list(whole.hits)


async def test_a_page_of_another_generation_is_none(searching: Searching) -> None:
    after = search_pb2.After(generation=(await searching.status()).generation, score=1, shown=3)
    query = {"vectors": vectors(searching.shop, 3), "after": after}
    assert len((await searching.one(query)).hits) == 5
    await searching.release("s2")
    with pytest.raises(Conflict) as caught:
        await searching.one(query)
    assert str(caught.value) == "the index has moved on; search again from the first page"


async def test_several_queries_are_answered_in_order(searching: Searching) -> None:
    shop = searching.shop
    reply = await searching.ask(
        {"vectors": vectors(shop, 0)},
        {"product_id": "p00003", "k": 2},
        {"vectors": vectors(shop, 9, 0), "k": 1},
    )
    assert [len(result.hits) for result in reply.results] == [5, 2, 1]
    assert reply.results[0].hits[0].product.product_id == shop.items["product_id"][0].as_py()


async def test_filters(searching: Searching) -> None:
    shop = searching.shop
    wanted = search_pb2.Filter(
        categories=["dress", "shoe"],
        colours=["red"],
        price_min=1_010,
        price_max=1_050,
        in_stock_only=True,
        excluded_product_ids=[shop.ids[12], "nobody"],
    )
    result = await searching.one({"vectors": vectors(shop, 0), "filter": wanted, "k": 30})
    expected = {
        shop.ids[number]
        for number in range(10, 51)
        if number % 3 != 1 and number % 2 == 0 and number % 5 and number != 12
    }
    assert set(ids(result)) == expected
    assert result.exhausted


async def test_an_unknown_value_is_an_empty_answer(searching: Searching) -> None:
    wanted = search_pb2.Filter(brands=["nobody"])
    result = await searching.one({"vectors": vectors(searching.shop, 0), "filter": wanted})
    assert (list(result.hits), result.exhausted) == ([], True)


@pytest.mark.parametrize(
    "wanted",
    [
        search_pb2.Filter(categories=["dress"], price_min=1_001, price_max=1_002),
        search_pb2.Filter(price_min=1_000, price_max=1_000, in_stock_only=True),
        search_pb2.Filter(colours=["blue"], price_min=1_000, price_max=1_000),
        search_pb2.Filter(categories=["dress"], brands=["nobody"], colours=["red"]),
    ],
)
async def test_filters_that_nothing_fits_together_are_an_empty_answer(
    searching: Searching, wanted: search_pb2.Filter
) -> None:
    result = await searching.one({"vectors": vectors(searching.shop, 0), "filter": wanted})
    assert (list(result.hits), result.exhausted, result.rows_scanned) == ([], True, 0)


def halved(shop: Any) -> bytes:
    data: bytes = (shop.vectors[:1] * 0.5).astype("<f4").tobytes()
    return data


def with_number(number: float) -> Callable[[Any], bytes]:
    """Of a shop, a row with that number in it."""

    def made(shop: Any) -> bytes:
        rows = shop.vectors[:1].astype("<f4")
        rows[0, 3] = number
        data: bytes = rows.tobytes()
        return data

    return made


def after(shop: Any, shown: int) -> search_pb2.After:
    return search_pb2.After(generation=shop.build("s1").id, shown=shown)


@in_memory
@pytest.mark.parametrize(
    ("query", "error", "text"),
    [
        ({"k": 0, "product_id": "p00001"}, BadInput, "k is 0; it must be 1 to 30"),
        ({"k": 10_000, "product_id": "p00001"}, BadInput, "k is 10000; it must be 1 to 30"),
        ({"k": 31, "product_id": "p00001"}, BadInput, "k is 31; it must be 1 to 30"),
        ({"collapse": 7, "product_id": "p00001"}, BadInput, "collapse 7 is not known here; 0 to 2 are"),
        (
            {"product_id": "p00001", "after": lambda shop: after(shop, 996)},
            BadInput,
            "after: 996 were shown and k is 5; at most 1000 in all",
        ),
        (
            {"product_id": "p00001", "after": search_pb2.After(generation="other")},
            Conflict,
            "the index has moved on; search again from the first page",
        ),
        ({"product_id": "p99999"}, NotFound, "product 'p99999' is not in the index"),
        ({}, BadInput, "a query has neither vectors nor a product_id"),
        (
            {"product_id": "p00001", "vectors": b"1234"},
            BadInput,
            "a query has vectors or a product_id, not both",
        ),
        ({"vectors": b"123"}, BadInput, "vectors: 3 bytes are no whole number of rows of 64"),
        ({"vectors": halved}, BadInput, "vectors: a row has length 0.5; rows must have unit length"),
        ({"vectors": with_number(np.inf)}, BadInput, "vectors: a number is not finite"),
        ({"vectors": with_number(np.nan)}, BadInput, "vectors: a number is not finite"),
        (
            {"vectors": with_number(1e10)},
            BadInput,
            "vectors: a row has length 1e+10; rows must have unit length",
        ),
        (
            {"vectors": with_number(1e38)},
            BadInput,
            "vectors: a row has length inf; rows must have unit length",
        ),
        ({"vectors": bytes(64)}, BadInput, "vectors: a row has length 0; rows must have unit length"),
        (
            {"vectors": lambda shop: vectors(shop, *range(5))},
            BadInput,
            "vectors: there are 5; 1 to 4 are taken",
        ),
        (
            {"product_id": "p00001", "filter": search_pb2.Filter(excluded_product_ids=["p"] * 10_000)},
            BadInput,
            "filter: excluded_product_ids has 10000 values; at most 5",
        ),
        (
            {"product_id": "p00001", "filter": search_pb2.Filter(brands=list("abcdef"))},
            BadInput,
            "filter: brands has 6 values; at most 5",
        ),
        (
            {"product_id": "p00001", "filter": search_pb2.Filter(excluded_product_ids=list("abcdef"))},
            BadInput,
            "filter: excluded_product_ids has 6 values; at most 5",
        ),
        (
            {"product_id": "p00001", "filter": search_pb2.Filter(price_min=5, price_max=4)},
            BadInput,
            "filter: price_min 5 is above price_max 4",
        ),
    ],
)
async def test_a_query_that_cannot_be_answered_says_why(
    searching: Searching, query: dict[str, Any], error: type[ImgsearchError], text: str
) -> None:
    asked = {name: value(searching.shop) if callable(value) else value for name, value in query.items()}
    with pytest.raises(error) as caught:
        await searching.one(asked)
    assert str(caught.value) == text


@in_memory
async def test_a_request_that_cannot_be_answered_says_why(searching: Searching) -> None:
    shop, query = searching.shop, {"vectors": vectors(searching.shop, 0)}
    generation = shop.build("s1").id
    for request, error, text in (
        (searching.ask(), BadInput, "queries: there are 0; 1 to 4 are taken"),
        (searching.ask(*[query] * 5), BadInput, "queries: there are 5; 1 to 4 are taken"),
        (
            searching.ask(query, embedder_version=""),
            BadInput,
            "embedder_version is missing: it says which model made the vectors",
        ),
        (
            searching.ask(query, embedder_version="older"),
            ModelMismatch,
            f"the vectors are of embedder older, generation {generation} is of embedder-1",
        ),
        (searching.ask(query, dim=8), BadInput, "dim is 8; vectors of embedder embedder-1 have 16"),
        (searching.products(), BadInput, "product_ids: there are 0; 1 to 30 are taken"),
    ):
        with pytest.raises(error) as caught:
            await request
        assert str(caught.value) == text


@in_memory
async def test_vectors_from_float16_are_close_enough(searching: Searching) -> None:
    rows = searching.shop.vectors[:2].astype(np.float16).astype("<f4")
    assert len((await searching.one({"vectors": rows.tobytes()})).hits) == 5


@in_memory
async def test_a_product_id_needs_no_model(searching: Searching) -> None:
    reply = await searching.ask({"product_id": "p00001"}, embedder_version="", dim=0)
    assert len(reply.results[0].hits) == 5


async def test_products_come_in_the_order_asked_for(searching: Searching) -> None:
    reply = await searching.products("p00009", "nobody", "p00002")
    assert [product.product_id for product in reply.products] == ["p00009", "p00002"]
    assert reply.products[0].image_urls == ["http://shop/p00009.jpg"]
    assert reply.generation == searching.shop.build("s1").id


async def test_status_tells_what_is_served_and_what_failed(searching: Searching) -> None:
    shop = searching.shop
    manifest = shop.build("s1")
    reply = await searching.status()
    assert time.time() - manifest.created_at - 10 < reply.age_s <= time.time() - manifest.created_at
    reply.ClearField("age_s")
    assert reply == search_pb2.StatusReply(
        generation=manifest.id,
        embedder_version="embedder-1",
        detector_version="detector-1",
        dim=16,
        products=60,
        rows=shop.items.num_rows,
        created_at=manifest.created_at,
        categories=["dress", "shirt", "shoe"],
        brands=[f"brand {number}" for number in range(7)],
        colours=["blue", "red"],
    )
    assert not reply.stale
    searching.holder.failure = Failure("0123", "a flipped bit")
    reply = await searching.status()
    assert (reply.generation, reply.failed_generation, reply.last_error) == (
        manifest.id,
        "0123",
        "a flipped bit",
    )


async def test_swaps_under_load_lose_no_call(searching: Searching) -> None:
    """Eight callers ask while the pointer moves; each answer is whole and of exactly one generation."""
    shop = searching.shop
    every, some = shop.ids, sorted(shop.ids)[:40]
    served = {shop.build("s1").id: set(every)}
    rows = [place for place, name in enumerate(shop.items["product_id"].to_pylist()) if name in some]
    larger = (shop.items, shop.vectors)
    smaller = (shop.items.take(rows), shop.vectors[rows])
    shop.items, shop.vectors = smaller
    served[await searching.release("s2")] = set(some)
    stop, seen = asyncio.Event(), []
    answered = {generation: asyncio.Event() for generation in served}

    async def caller() -> None:
        while not stop.is_set():
            reply = await searching.ask({"product_id": "p00001", "k": 30})
            (result,) = reply.results
            assert len(result.hits) == 30
            assert set(ids(result)) <= served[reply.generation]
            seen.append(reply.generation)
            answered[reply.generation].set()

    async with asyncio.timeout(60), asyncio.TaskGroup() as callers:
        for _ in range(8):
            callers.create_task(caller())
        for swap in range(20 if searching.milvus is None else 6):
            shop.items, shop.vectors = (larger, smaller)[swap % 2]
            for event in answered.values():
                event.clear()
            generation = await searching.release(("s1", "s2")[swap % 2])
            await asyncio.sleep(0.05)
            await answered[generation].wait()  # however slow the backend is
        stop.set()
    assert set(seen) == set(served)
    assert searching.milvus is not None or len(seen) > 100


def test_an_error_holds_nothing_of_what_was_asked_with_it() -> None:
    class Index:
        quick = True
        about = About("g", "e", "d", 4, 1, 1, 0.0)
        stock = StockState("", False)

        def search(self, asked: Sequence[Any]) -> list[bytes]:
            return [b""] * len(asked)

    servicer = SearchServicer(None, Settings(), None)
    request = search_pb2.SearchRequest(queries=[search_pb2.Query(k=0)], dim=4, embedder_version="e")
    index = Index()
    held = weakref.ref(index)
    gc.disable()  # what holds itself would go by chance
    try:
        (error,) = servicer._search_small([(index, request)])
        del index
        assert (str(error), held()) == ("k is 0; it must be 1 to 100", None)
    finally:
        gc.enable()
