"""What the search service knows of the stock, over a real Redis that is trimmed, emptied and away."""

import contextlib
import gc
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from imgsearch_assets.local.processes import free_port
from serving.cache.stock import IN_STOCK, SOLD_OUT, UNKNOWN, Known
from serving.cache.stock_log import StockLog, stock_key
from serving.errors import Unavailable
from serving.index.artifact import load
from serving.index.collapse import COLLAPSES
from serving.index.filters import IN_STOCK as WANTED
from serving.index.filters import Filter
from serving.index.loaded import Generation
from serving.index.search import search
from serving.proto import search_pb2, search_pb2_grpc
from serving.rpc import client
from serving.rpc.server import Server
from serving.services.in_memory import InMemory
from serving.services.search import SearchServicer
from serving.services.searchable import Asked
from serving.services.stock import Shelf, Stock
from serving.settings import Settings
from serving.telemetry import RpcMetrics, StockMetrics


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture
def log(redis_url: str, raw: Any) -> Iterator[StockLog]:
    found = StockLog(redis_url, "local")
    yield found
    found.close()


@pytest.fixture
def generations(shop) -> list[Generation]:
    """One, and one with a delta in which some changed and some went."""
    first = shop.build()
    return [
        load(shop.store, first),
        load(shop.store, shop.without(shop.changed(first, shop.ids[:9]), shop.ids[20:25])),
    ]


def following(log: StockLog | None) -> tuple[Stock, CollectorRegistry]:
    registry = CollectorRegistry()
    return Stock(log, StockMetrics(registry)), registry


@dataclass
class Model:
    """The same by a plain dictionary: of Redis, and of who follows it."""

    held: dict[str, int] | None = None
    known: dict[str, int] = field(default_factory=dict)

    def look(self) -> None:
        if self.held is not None:
            self.known = dict(self.held)

    def shelf(self, generation: Generation) -> list[bool]:
        column = generation.in_stock.tolist()
        ids = [generation.id_of(place) for place in range(generation.size)]
        values = [self.known.get(name, UNKNOWN) for name in ids]
        return [
            value == IN_STOCK if value != UNKNOWN else own for value, own in zip(values, column, strict=True)
        ]


ids = st.integers(0, 61)  # two of them in no generation
some = st.dictionaries(ids, st.sampled_from([IN_STOCK, SOLD_OUT, UNKNOWN]), min_size=1, max_size=8)
whole = st.dictionaries(ids, st.sampled_from([IN_STOCK, SOLD_OUT]), min_size=1)
actions = st.one_of(
    st.tuples(st.just("change"), some),
    st.tuples(st.just("change"), some),
    st.tuples(st.just("anew"), whole),
    st.tuples(st.sampled_from(["look", "look", "swap", "restart", "trim", "lose"]), st.none()),
)


def test_the_shelf_is_the_state_whatever_happens(
    log: StockLog, raw: Any, generations: list[Generation]
) -> None:
    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(actions, max_size=14))
    def check(steps: list[tuple[str, Any]]) -> None:
        raw.flushall()
        model, version = Model(), None
        stock, number = following(log)[0], 0
        shelf = stock.shelf(generations[0])
        for what, said in [*steps, ("look", None)]:
            named = {f"p{place:05d}": value for place, value in (said or {}).items()}
            if what == "anew" or (what == "change" and version is None):
                kept = {name: value for name, value in named.items() if value != UNKNOWN}
                if kept:
                    version, model.held = log.write_whole(version, kept), kept
            elif what == "change":
                version = log.write(str(version), named)
                told = (model.held or {}) | named
                model.held = {name: value for name, value in told.items() if value != UNKNOWN}
            elif what == "trim":
                raw.xtrim(stock_key("local", "changes"), maxlen=1, approximate=False)
            elif what == "lose":
                raw.flushall()
                version = model.held = None
            elif what == "restart":
                stock, model.known = following(log)[0], {}
                shelf = stock.shelf(generations[number])
            elif what == "swap":
                number = 1 - number
                shelf = stock.shelf(generations[number])
            else:
                looked(stock)
                model.look()
            assert version or not model.held
            alive = generations[number].everything()
            wanted = alive & model.shelf(generations[number])
            assert (shelf.now.in_stock & alive).tolist() == wanted.tolist()
            assert shelf.now.kept.allowed.tolist() == wanted.tolist()
            assert shelf.now.as_bytes.tobytes() == shelf.now.in_stock.tobytes()

    check()


@dataclass
class Held:
    """A source that stays at one generation."""

    loaded: InMemory
    failure: None = None

    def current(self) -> InMemory:
        return self.loaded


def looked(stock: Stock) -> None:
    """As ``Stock.look`` does it in a thread."""
    with contextlib.suppress(Unavailable):  # where Redis holds nothing
        stock._look(stock._log)  # type: ignore[arg-type]


def result(index: InMemory, **asked: Any) -> search_pb2.Result:
    query = Asked(**{"xq": None, "product_id": "", "k": 5, "wanted": None, "collapse": "product"} | asked)
    return search_pb2.Result.FromString(index.search([query])[0])


def names(found: search_pb2.Result) -> list[str]:
    return [hit.product.product_id for hit in found.hits]


async def test_what_is_sold_out_leaves_and_comes_back(log: StockLog, generations: list[Generation]) -> None:
    generation = generations[1]
    stock, registry = following(log)
    index = InMemory(generation, stock.shelf(generation))
    assert index.stock == ("", False)
    xq = generation.vectors(3)[:1]
    first = names(result(index, xq=xq, wanted=WANTED))
    version = log.write_whole(None, {first[0]: SOLD_OUT, first[1]: IN_STOCK})
    await stock.look()
    assert index.stock == (version, True)
    for wanted in (WANTED, Filter(in_stock_only=True), Filter(in_stock_only=True, price_min=0)):
        assert names(result(index, xq=xq, wanted=wanted))[0] == first[1]
    shown = {hit.product.product_id: hit.product.in_stock for hit in result(index, xq=xq).hits}
    assert shown[first[0]] is False
    assert [product.in_stock for product in index.products(first[:2])] == [False, True]
    out = registry.get_sample_value("imgsearch_stock_sold_out")
    assert out == generation.products_there - np.count_nonzero(index._shelf.now.kept.allowed)
    assert registry.get_sample_value("imgsearch_stock_read_timestamp_seconds") > 1e9
    assert registry.get_sample_value("imgsearch_stock_compared_timestamp_seconds") == 0

    log.compared()
    later = log.write(str(version), {first[0]: IN_STOCK})
    await stock.look()
    assert index.stock == (later, True)
    assert names(result(index, xq=xq, wanted=WANTED)) == first
    assert registry.get_sample_value("imgsearch_stock_compared_timestamp_seconds") > 1e9


async def test_what_came_back_though_the_generation_has_it_sold_out(
    log: StockLog, generations: list[Generation]
) -> None:
    generation = generations[0]
    stock = following(log)[0]
    index = InMemory(generation, stock.shelf(generation))
    place = int(np.flatnonzero(~generation.in_stock)[0])
    name, xq = generation.id_of(place), generation.vectors(place)
    assert name not in names(result(index, xq=xq, wanted=WANTED))
    log.write_whole(None, {name: IN_STOCK})
    await stock.look()
    assert names(result(index, xq=xq, wanted=WANTED))[0] == name


@pytest.mark.parametrize("collapse", COLLAPSES)
@pytest.mark.parametrize("k", [1, 5, 60])
async def test_a_product_finds_what_is_in_stock_beside_it(
    log: StockLog, generations: list[Generation], collapse: Any, k: int
) -> None:
    """Itself in stock or not, it is left out."""
    generation = generations[1]
    stock = following(log)[0]
    index = InMemory(generation, stock.shelf(generation))
    own = [generation.id_of(int(place)) for place in generation.present()[[3, -2]]]
    log.write_whole(None, {own[0]: IN_STOCK, own[1]: SOLD_OUT})
    await stock.look()
    for name in own:
        place = generation.place(name)
        assert place is not None
        allowed = index._shelf.now.kept.allowed.copy()
        allowed[place] = False
        wanted = search(generation, generation.vectors(place), k, allowed, collapse=collapse)
        found = result(index, product_id=name, k=k, wanted=WANTED, collapse=collapse)
        assert names(found) == [generation.id_of(hit.product) for hit in wanted.hits]
        assert found.exhausted == wanted.exhausted
        assert found.product.product_id == name
        assert found.product.in_stock == (name == own[0])


async def test_many_at_once_keep_to_one_state(log: StockLog, generations: list[Generation]) -> None:
    generation = generations[1]
    index = InMemory(generation)
    asked = [
        Asked(xq, name, 4, wanted, "product")
        for wanted in (None, WANTED, Filter(price_min=1_010, in_stock_only=True))
        for xq, name in (
            (generation.vectors(8)[:1], ""),
            (generation.vectors(9), ""),
            (None, generation.id_of(4)),
        )
    ]
    assert index.search(asked) == [index.search([one])[0] for one in asked]


async def test_without_redis_the_generation_says(generations: list[Generation]) -> None:
    stock, registry = following(None)
    await stock.look()
    index = InMemory(generations[0], stock.shelf(generations[0]))
    assert index.stock == ("", False)
    assert (index._shelf.now.in_stock == generations[0].in_stock).all()
    assert registry.get_sample_value("imgsearch_stock_read_timestamp_seconds") == 0


async def test_a_reply_says_which_state_it_keeps_to(log: StockLog, generations: list[Generation]) -> None:
    stock, _ = following(log)
    holder = Held(InMemory(generations[0], stock.shelf(generations[0])))
    server = Server(Settings(), RpcMetrics())
    with ThreadPoolExecutor(1) as executor:
        server.add(
            search_pb2.DESCRIPTOR.services_by_name["Search"],
            search_pb2_grpc.add_SearchServicer_to_server,
            SearchServicer(holder, Settings(), executor),
        )
        async with client.channel(await server.start(0)) as channel:
            stub, name, version = search_pb2_grpc.SearchStub(channel), generations[0].id_of(0), None
            for value in (UNKNOWN, SOLD_OUT, IN_STOCK):
                if value != UNKNOWN:
                    version = log.write_whole(version, {name: value})
                    looked(stock)
                got = await stub.GetProducts(search_pb2.GetProductsRequest(product_ids=[name]))
                explained = await stub.Explain(search_pb2.ExplainRequest(product_id=name))
                for reply in (got, explained):
                    assert reply.stock_version == (version or "")
                    assert reply.stock_followed == (version is not None)
                if value != UNKNOWN:
                    assert got.products[0].in_stock == explained.product.in_stock == (value == IN_STOCK)
        await server.drain()


async def test_what_was_known_stays_while_redis_is_away(
    redis_process, generations: list[Generation], caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    log = StockLog(redis_process.url, "local", timeout_s=0.5)
    name = generations[0].id_of(0)
    log.write_whole(None, {name: SOLD_OUT})
    stock = following(log)[0]
    index = InMemory(generations[0], stock.shelf(generations[0]))
    await stock.look()
    version = index.stock.version
    assert version
    redis_process.kill()
    for _ in range(3):
        await stock.look()
    told = [record.getMessage() for record in caplog.records if record.name == "serving.services.stock"]
    assert told == [
        "the stock is not followed, what was known of it stays: "
        "the stock in Redis cannot be reached: Redis does not answer (ConnectionError)"
    ]
    assert not index.products([name])[0].in_stock
    later = InMemory(generations[1], stock.shelf(generations[1]))
    assert not later.products([name])[0].in_stock, "a swap meanwhile knows it, too"
    monkeypatch.setattr("serving.services.in_memory.FRESH_S", -1)
    assert index.stock == (version, False), "but nobody vouches for it any more"
    monkeypatch.undo()

    redis_process.start()  # with nothing in it
    await stock.look()
    assert not later.products([name])[0].in_stock
    again = log.write_whole(None, {name: IN_STOCK})
    await stock.look()
    assert index.stock == later.stock == (again, True)
    assert later.products([name])[0].in_stock
    log.close()


async def test_whatever_is_found_in_redis_is_no_reason_to_stop(
    log: StockLog, raw: Any, generations: list[Generation], caplog: pytest.LogCaptureFixture
) -> None:
    stock = following(log)[0]
    shelf = stock.shelf(generations[0])
    raw.set(stock_key("local", "changes"), "what is this")
    await stock.look()
    raw.flushall()
    raw.hset(stock_key("local", "state"), "p00001", "maybe")
    raw.xadd(stock_key("local", "changes"), {"all": 1})
    await stock.look()
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
        "Redis does not answer (ResponseError)",
        "ValueError",
    ]
    assert (shelf.now.in_stock == generations[0].in_stock).all()


def test_an_old_generation_is_let_go(log: StockLog, shop, generations: list[Generation]) -> None:
    stock = following(log)[0]
    index = InMemory(generations[0], stock.shelf(generations[0]))
    held = weakref.ref(generations.pop(0))
    gc.collect()
    assert held() is not None
    del index
    gc.collect()
    assert held() is None


def test_a_shelf_of_nothing_known(generations: list[Generation]) -> None:
    shelf = Shelf(generations[1])
    shelf.fill(Known("7-0", {}))
    assert (shelf.now.version, shelf.sold_out) == (
        "7-0",
        shelf._generation.products_there - shelf.now.kept.products,
    )
    assert (shelf.now.in_stock == generations[1].in_stock).all()


async def test_a_redis_that_never_was(generations: list[Generation]) -> None:
    log = StockLog(f"redis://127.0.0.1:{free_port()}/0", "local", timeout_s=0.2)
    stock = following(log)[0]
    await stock.look()
    assert stock.shelf(generations[0]).now.version == ""
    log.close()
