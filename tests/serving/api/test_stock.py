"""From the stock in Redis to what a shopper is shown: a real search service, a front that keeps answers."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis

from serving.api.backends import SERVED_FOR_S
from serving.cache.stock import IN_STOCK, SOLD_OUT
from serving.cache.stock_log import StockLog, stock_key
from tests import running
from tests.redis_process import RedisProcess
from tests.serving.api.test_real_search import publish
from tests.serving.processes import Start

# Half a second until the search service looks, a second until the front asks it; the machine may be busy.
until = partial(running.until, timeout_s=5)
SOME = {"product_id": "green-shirt", "k": 3}


class Shop:
    """A shop of twelve products, all in stock by its generation."""

    def __init__(self, home: Path, house: Any, process: RedisProcess) -> None:
        self.home = home
        self.house = house
        self.process = process
        self.log = StockLog(process.url, "local", timeout_s=1)
        self.catalogue = house.search.catalogue()
        self.generation = publish(home, self.catalogue)
        until(lambda: house.http.get("/readyz").status_code == 200, timeout_s=30)

    def search(self, **body: Any) -> dict[str, Any]:
        reply = self.house.http.post("/v1/search", json=SOME | body)
        assert reply.status_code == 200, reply.text
        answer: dict[str, Any] = reply.json()
        return answer

    def shown(self, **body: Any) -> list[str]:
        return [match["product_id"] for match in self.search(**body)["results"]]

    def write(self, **values: int) -> None:
        known = self.log.whole()
        changes = {name.replace("_", "-"): value for name, value in values.items()}
        if known is None:
            assert self.log.write_whole(None, dict.fromkeys(self.catalogue, IN_STOCK) | changes)
        else:
            assert self.log.write(known.version, changes)


@pytest.fixture
def shop(tmp_path: Path, start: Start, run_house: Any, redis_process: RedisProcess) -> Iterator[Shop]:
    _, address = start("search", IMGSEARCH_REDIS_URL=redis_process.url)
    urls = {"redis_url": redis_process.url, "redis_timeout_s": 1.0, "result_ttl_s": 60}
    with run_house(search_address=address, **urls) as house:
        found = Shop(tmp_path, house, redis_process)
        yield found
        found.log.close()


def kept(shop: Shop, **body: Any) -> list[str]:
    """What a kept answer shows."""
    until(lambda: shop.search(**body)["cached"])
    return shop.shown(**body)


def test_what_is_sold_out_leaves_the_answers_that_are_kept_too(shop: Shop) -> None:
    before = kept(shop)
    assert shop.search()["stock"] == ""
    shop.write(**{before[0].replace("-", "_"): SOLD_OUT})
    until(lambda: before[0] not in shop.shown())
    until(lambda: shop.search()["stock"])
    assert kept(shop)[:2] == before[1:]
    assert len(shop.shown()) == 3, "others move up"
    everything = shop.search(filters={"in_stock_only": False})["results"]
    assert [match["product_id"] for match in everything] == before
    assert [match["in_stock"] for match in everything] == [False, True, True]
    assert shop.house.http.get(f"/v1/products/{before[0]}").json()["product"]["in_stock"] is False

    shop.write(**{before[0].replace("-", "_"): IN_STOCK})
    until(lambda: shop.shown() == before)
    assert kept(shop) == before


def test_a_swap_in_between_knows_what_is_sold_out(shop: Shop) -> None:
    before = shop.shown()
    shop.write(**{before[0].replace("-", "_"): SOLD_OUT})
    until(lambda: before[0] not in shop.shown())
    del shop.catalogue[before[1]]
    second = publish(shop.home, shop.catalogue)
    answers = []
    until(lambda: answers.append(shop.search()) or answers[-1]["generation"] == second, timeout_s=20)
    shown = {match["product_id"] for answer in answers for match in answer["results"]}
    assert before[0] not in shown
    assert before[1] not in shop.shown()
    shop.write(**{before[0].replace("-", "_"): IN_STOCK})
    until(lambda: shop.shown()[0] == before[0])


def test_redis_goes_and_comes_back_empty(shop: Shop) -> None:
    before = shop.shown()
    shop.write(**{before[0].replace("-", "_"): SOLD_OUT})
    until(lambda: before[0] not in shop.shown())
    until(lambda: shop.search()["stock"])  # before that it was the front that left it out
    shop.process.kill()
    ends = time.monotonic() + 4
    while time.monotonic() < ends:
        assert before[0] not in shop.shown(), "what was known stays"
    shop.process.start()
    assert before[0] not in shop.shown()
    shop.write(**{before[1].replace("-", "_"): SOLD_OUT})
    until(lambda: shop.shown()[:2] == [before[0], before[2]])


def test_a_log_that_was_cut(shop: Shop) -> None:
    before = shop.shown()
    shop.write()
    until(lambda: shop.search()["stock"])
    shop.write(**{before[0].replace("-", "_"): SOLD_OUT})
    with redis.Redis.from_url(shop.process.url) as raw:
        raw.xtrim(stock_key("local", "changes"), maxlen=1, approximate=False)
    until(lambda: before[0] not in shop.shown())


@pytest.fixture
def blind(run_house: Any, redis_process: RedisProcess) -> Iterator[tuple[Any, StockLog]]:
    """A front before a search service that knows nothing of the stock, as one over Milvus."""
    log = StockLog(redis_process.url, "local", timeout_s=1)
    with run_house(redis_url=redis_process.url, redis_timeout_s=1.0, result_ttl_s=60) as house:
        house.search.follows_stock = False
        yield house, log
    log.close()


def ids(house: Any, **body: Any) -> list[str]:
    answer = house.http.post("/v1/search", json=SOME | body).json()
    return [match["product_id"] for match in answer["results"]]


def test_the_front_looks_itself_where_the_search_service_cannot_say(blind: tuple[Any, StockLog]) -> None:
    house, log = blind
    house.search.groups = dict.fromkeys(("green-bag", "green-dress", "blue-shirt"), "g")
    before = house.http.post("/v1/search", json=SOME).json()["results"]
    first, also = before[0]["product_id"], before[0]["also"]
    assert (first, also) == ("green-bag", ["green-dress", "blue-shirt"])
    until(lambda: house.http.post("/v1/search", json=SOME).json()["cached"])

    version = log.write_whole(None, {"green-dress": SOLD_OUT, "red-shirt": IN_STOCK})
    answer = house.http.post("/v1/search", json=SOME).json()
    assert answer["cached"]
    assert answer["results"][0]["also"] == ["blue-shirt"]
    version = log.write(version, {"green-bag": SOLD_OUT})
    answer = house.http.post("/v1/search", json=SOME).json()
    best = answer["results"][0]
    assert (best["product_id"], best["name"], best["also"]) == ("blue-shirt", "Blue shirt", [])
    assert (best["in_stock"], best["box"], best["score"]) == (True, None, before[0]["score"])
    assert [match["product_id"] for match in answer["results"][1:]] == [
        match["product_id"] for match in before[1:]
    ]
    assert log.write(version, {"blue-shirt": SOLD_OUT})
    assert ids(house) == [match["product_id"] for match in before[1:]], "all of the group is sold out"

    shown = house.http.post("/v1/search", json=SOME | {"filters": {"in_stock_only": False}}).json()["results"]
    assert shown[0] == before[0] | {"in_stock": False}, "all of it is shown, and what is sold out is said"


def test_a_product_by_itself_is_looked_up_too(blind: tuple[Any, StockLog]) -> None:
    house, log = blind
    assert house.http.post("/v1/search", json=SOME).json()["product"]["in_stock"] is True
    log.write_whole(None, {"green-shirt": SOLD_OUT})
    assert house.http.post("/v1/search", json=SOME).json()["product"]["in_stock"] is False
    for path in ("/v1/products/green-shirt", "/v1/products/green-shirt/explain"):
        reply = house.http.get(path)
        assert reply.json()["product"]["in_stock"] is False
        assert "etag" not in reply.headers, "nobody can say that it is still the same"


def test_a_group_of_which_no_more_is_told_is_left_out(blind: tuple[Any, StockLog]) -> None:
    house, log = blind
    house.search.groups = dict.fromkeys(("green-bag", "green-dress", "blue-shirt"), "g")
    before = ids(house)
    until(lambda: house.http.post("/v1/search", json=SOME).json()["cached"])
    log.write_whole(None, {"green-bag": SOLD_OUT})
    time.sleep(SERVED_FOR_S + 0.1)
    assert ids(house) == ["green-dress", *before[1:]]  # what is served is now known for a moment
    house.search.fail = grpc.StatusCode.INTERNAL
    assert ids(house) == before[1:]


def test_all_that_shows_a_product_says_whether_it_is_in_stock(
    tmp_path: Path, start: Start, run_house: Any, redis_process: RedisProcess
) -> None:
    """Before a search service that is cut off from Redis, and so says what its generation holds."""
    _, address = start("search")
    log = StockLog(redis_process.url, "local", timeout_s=1)
    with run_house(search_address=address, redis_url=redis_process.url, redis_timeout_s=1.0) as house:
        publish(tmp_path, house.search.catalogue())
        until(lambda: house.http.get("/readyz").status_code == 200, timeout_s=30)
        version = None
        for value in (SOLD_OUT, IN_STOCK):
            version = log.write_whole(version, {"green-shirt": value})
            replies = [
                house.http.get("/v1/products/green-shirt"),
                house.http.get("/v1/products/green-shirt/explain"),
                house.http.get("/v1/products/green-shirt/similar"),
                house.http.post("/v1/search", json=SOME),
            ]
            for reply in replies:
                assert reply.json()["product"]["in_stock"] == (value == IN_STOCK)
                assert "etag" not in reply.headers
    log.close()


def test_the_tag_is_of_what_was_answered(house: Any) -> None:
    """By a replica that does not follow the stock, where another, which was asked before, does."""
    for path in ("/v1/products/green-bag", "/v1/products/green-bag/explain"):
        tag = house.http.get(path).headers["etag"]
        assert house.http.get(path, headers={"If-None-Match": tag}).status_code == 304
        house.search.follows_stock = False
        assert "etag" not in house.http.get(path).headers
        house.search.follows_stock = True


def test_and_answers_without_redis(blind: tuple[Any, StockLog], redis_process: RedisProcess) -> None:
    house, log = blind
    before = ids(house)
    log.write_whole(None, {before[0]: SOLD_OUT})
    assert ids(house) == before[1:]
    redis_process.kill()
    assert ids(house) == before


def test_nothing_is_looked_up_while_the_search_service_follows(shop: Shop) -> None:
    shop.write()
    until(lambda: shop.search()["stock"])
    with redis.Redis.from_url(shop.process.url) as raw:
        commands = raw.info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"]
        for k in range(1, 9):
            shop.search(k=k)
        assert raw.info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"] == commands
