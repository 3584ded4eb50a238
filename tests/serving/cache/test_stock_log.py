"""The stock in a real Redis: its state, its log, and what is left when either is cut short."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from imgsearch_assets.local.processes import free_port
from serving.cache import stock_log
from serving.cache.stock import IN_STOCK, SOLD_OUT, UNKNOWN, Known, News
from serving.cache.stock_log import MOST_CHANGES, StockLog, in_stock, stock_key
from serving.errors import Unavailable

LOG = stock_key("local", "changes")


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture
def log(redis_url: str, raw: redis.Redis) -> Iterator[StockLog]:
    found = StockLog(redis_url, "local")
    yield found
    found.close()


def contents(known: Known | None) -> dict[str, int]:
    assert known is not None
    ids, values = known.all()
    return dict(zip(ids.to_pylist(), values.tolist(), strict=True))


def written(log: StockLog, products: dict[str, int]) -> str:
    version = log.write_whole(None, products)
    assert version is not None
    return version


def test_what_was_never_written_is_not_known(log: StockLog) -> None:
    assert log.whole() is None
    assert log.news("1-0") is None
    assert log.compared_at() == 0
    assert log.latest(5) == []
    assert log.write("1-0", {"p1": IN_STOCK}) is None, "there is nothing to change"


def test_who_knows_the_state_goes_on_by_the_log(log: StockLog) -> None:
    first = written(log, {"p1": IN_STOCK, "p2": SOLD_OUT})
    known = log.whole()
    assert known is not None
    assert (known.version, contents(known)) == (first, {"p1": IN_STOCK, "p2": SOLD_OUT})
    assert log.news(first) == News(first, {})
    second = log.write(first, {"p1": SOLD_OUT, "p3": IN_STOCK})
    assert second is not None
    third = log.write(second, {"p2": UNKNOWN, "p1": IN_STOCK})
    assert third is not None
    news = log.news(first)
    assert news == News(third, {"p1": IN_STOCK, "p3": IN_STOCK, "p2": UNKNOWN})
    known.take(news)
    assert contents(known) == contents(log.whole()) == {"p1": IN_STOCK, "p3": IN_STOCK}
    log.compared()
    assert log.compared_at() > 1e9
    latest = log.latest(10)
    assert [entry[1:] for entry in latest[:2]] == [("p1", IN_STOCK), ("p2", UNKNOWN)]
    assert latest[-1][1:] == ("", UNKNOWN)
    assert latest[0][0] == pytest.approx(log.compared_at(), abs=10)


def test_many_changes_come_in_several_pieces(log: StockLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock_log, "_BATCH", 7)
    first = written(log, {f"p{number}": IN_STOCK for number in range(50)})
    changes = {f"p{number}": SOLD_OUT for number in range(20)}
    last = log.write(first, changes)
    assert log.news(first) == News(str(last), changes)
    assert len(contents(log.whole())) == 50
    with pytest.raises(ValueError, match="10001 changes are a new state"):
        log.write(str(last), {f"p{number}": SOLD_OUT for number in range(MOST_CHANGES + 1)})


@pytest.mark.parametrize("cut", ["trimmed", "lost", "older", "anew", "emptied"])
def test_a_place_that_is_gone_leads_back_to_the_state(log: StockLog, raw: Any, cut: str) -> None:
    first = written(log, {"p1": IN_STOCK, "p2": IN_STOCK})
    backup = {key: raw.dump(key) for key in raw.scan_iter()}
    last = log.write(first, {"p1": SOLD_OUT})
    assert last is not None
    match cut:
        case "trimmed":
            version = first
            raw.xtrim(LOG, maxlen=1, approximate=False)
        case "lost":
            version = last
            raw.flushall()
        case "older":  # of a backup
            version = last
            for key, value in backup.items():
                raw.restore(key, 0, value, replace=True)
        case "anew":
            version = last
            assert log.write_whole(last, {"p2": SOLD_OUT}) is not None
        case _:
            version = last
            raw.xtrim(LOG, maxlen=0, approximate=False)
    assert log.news(version) is None
    known = log.whole()
    if cut in ("lost", "emptied"):
        assert known is None, "there is a state where there is an entry"
    else:
        wanted = {
            "trimmed": {"p1": SOLD_OUT, "p2": IN_STOCK},
            "older": {"p1": IN_STOCK, "p2": IN_STOCK},
            "anew": {"p2": SOLD_OUT},
        }
        assert contents(known) == wanted[cut]


def test_who_has_not_seen_the_last_change_changes_nothing(log: StockLog) -> None:
    first = written(log, {"p1": IN_STOCK})
    assert log.write_whole(None, {"p9": SOLD_OUT}) is None
    second = log.write(first, {"p1": SOLD_OUT})
    assert second is not None
    assert log.write(first, {"p1": IN_STOCK}) is None
    assert log.write_whole(first, {"p9": SOLD_OUT}) is None
    assert contents(log.whole()) == {"p1": SOLD_OUT}


def test_nor_who_is_overtaken_while_writing(
    log: StockLog, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = written(log, {"p1": IN_STOCK})
    real = StockLog._is_at

    def overtaken(self: StockLog, pipe: Any, version: str | None) -> bool:
        found = real(self, pipe, version)
        if self is log:
            other = StockLog(redis_url, "local")
            assert other.write(first, {"p1": SOLD_OUT})
            other.close()
        return found

    monkeypatch.setattr(StockLog, "_is_at", overtaken)
    assert log.write(first, {"p2": IN_STOCK}) is None
    assert contents(log.whole()) == {"p1": SOLD_OUT}


def test_what_changes_while_the_state_is_read_is_in_it(
    log: StockLog, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = written(log, {"p1": IN_STOCK, "p2": IN_STOCK})
    real, times = StockLog.news, [0]

    def news(self: StockLog, version: str) -> News | None:
        times[0] += 1
        if times[0] == 1:
            assert self.write(first, {"p1": SOLD_OUT})
            raw.xtrim(LOG, maxlen=1, approximate=False)  # and whoever reads has to begin again
        return real(self, version)

    monkeypatch.setattr(StockLog, "news", news)
    assert contents(log.whole()) == {"p1": SOLD_OUT, "p2": IN_STOCK}
    assert times[0] == 2
    monkeypatch.setattr(StockLog, "news", lambda *_: None)
    with pytest.raises(Unavailable, match="the stock in Redis changes faster than it can be read"):
        log.whole()


def test_environments_do_not_mix(log: StockLog, redis_url: str) -> None:
    written(log, {"p1": IN_STOCK})
    other = StockLog(redis_url, "staging")
    assert other.whole() is None
    other.close()


def test_the_log_is_cut_and_a_half_written_state_vanishes(
    log: StockLog, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock_log, "KEPT", 100)
    version = written(log, {"p1": IN_STOCK})
    for _ in range(5):
        changes = {f"p{number}": IN_STOCK for number in range(100)}
        version = log.write(version, changes) or pytest.fail("nobody else writes")
    assert raw.xlen(LOG) < 300
    assert log.write_whole("of yesterday", {"p1": IN_STOCK}) is None
    ttl_s = {key: raw.ttl(key) for key in raw.scan_iter()}
    assert [
        value
        for key, value in ttl_s.items()
        if key not in (LOG.encode(), stock_key("local", "state").encode())
    ] == [600]
    assert [ttl_s[key.encode()] for key in (LOG, stock_key("local", "state"))] == [-1, -1]


def test_a_redis_that_is_away_is_told() -> None:
    log = StockLog(f"redis://127.0.0.1:{free_port()}/0", "local", timeout_s=0.2)
    for call in (lambda: log.news("1-0"), log.whole, log.compared, lambda: log.write("1-0", {"p": IN_STOCK})):
        with pytest.raises(Unavailable, match="the stock in Redis cannot be reached: Redis does not answer"):
            call()
    log.close()


def test_values_of_a_request() -> None:
    assert in_stock(["a", "b", "c"], [b"1", None, b"0"]) == {"a": True, "c": False}


def test_one_product_and_when_it_changed(log: StockLog) -> None:
    assert log.of("a") == (UNKNOWN, None)
    version = log.write_whole(None, {"a": IN_STOCK, "b": SOLD_OUT})
    assert log.of("a") == (IN_STOCK, None), "it was so from the start"
    log.write(version, {"a": SOLD_OUT})
    value, at = log.of("a")
    assert (value, at) == (SOLD_OUT, log.latest(1)[0][0])


def test_how_long_what_is_sold_out_took(log: StockLog) -> None:
    now = time.time()
    version = log.write_whole(None, dict.fromkeys("abcd", IN_STOCK))
    version = log.write(version, {"a": SOLD_OUT}, now - 2)
    version = log.write(version, {"b": SOLD_OUT})  # whose time nobody knows
    version = log.write(version, {"c": SOLD_OUT, "d": IN_STOCK}, now - 7)
    assert log.sold_out_delays(now - 60) == pytest.approx([7, 2], abs=1)
    assert log.sold_out_delays(now + 60) == []
