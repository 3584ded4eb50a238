"""The stock feed, from real catalogues into a real Redis."""

import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsearch_assets.catalogue import stock
from imgsearch_assets.catalogue.contract import COLUMNS
from imgsearch_assets.catalogue.stock import Feed, Listed, check_sane, differences, follow, left
from imgsearch_assets.catalogue.warehouse import FileWarehouse
from imgsearch_assets.ledger.delays import sold_to_hidden
from serving.cache.stock import IN_STOCK, SOLD_OUT, UNKNOWN, Known, News
from serving.cache.stock_log import StockLog
from serving.errors import BadInput, Unavailable

VALUES = {True: IN_STOCK, False: SOLD_OUT, None: UNKNOWN}
names = st.sampled_from([f"p{number}" for number in range(9)])
products = st.dictionaries(names, st.sampled_from([IN_STOCK, SOLD_OUT]))


def changed(before: Known, now: Listed) -> dict[str, int]:
    return differences(before, now, left(before, now))


def listed(products: dict[str, int]) -> Listed:
    in_stock = {value: key for key, value in VALUES.items()}
    rows = {"product_id": list(products), "in_stock": [in_stock[value] for value in products.values()]}
    return Listed.of(
        pa.table(rows, schema=pa.schema([("product_id", pa.string()), ("in_stock", pa.bool_())]))
    )


class Shop:
    """A catalogue in a file, and the feed from it."""

    def __init__(self, path: Path, log: StockLog) -> None:
        self.path = path
        self.log = log
        self.write({f"p{number:03d}": number % 5 > 0 for number in range(100)})
        self.feed = self.another()

    def another(self, max_lost: float = 0.2) -> Feed:
        return Feed(FileWarehouse(str(self.path)), self.log, max_lost)

    def write(self, products: dict[str, bool | None]) -> None:
        self.products = products
        columns: dict[str, Any] = dict.fromkeys(COLUMNS, [""] * len(products))
        columns |= {"product_id": list(products), "in_stock": pa.array(list(products.values()), pa.bool_())}
        pq.write_table(pa.table(columns), self.path)

    def set(self, **changes: bool | None) -> None:
        self.write(self.products | changes)

    @property
    def held(self) -> dict[str, int]:
        """What Redis holds."""
        known = self.log.whole()
        assert known is not None
        ids, values = known.all()
        return dict(zip(ids.to_pylist(), values.tolist(), strict=True))

    @property
    def wanted(self) -> dict[str, int]:
        return {name: VALUES[value] for name, value in self.products.items()}


@pytest.fixture
def shop(tmp_path: Path, redis_process: Any) -> Iterator[Shop]:
    log = StockLog(redis_process.url, "local", timeout_s=1)
    yield Shop(tmp_path / "c.parquet", log)
    log.close()


@given(products, products)
def test_differences_lead_from_the_one_to_the_other(before: dict[str, int], now: dict[str, int]) -> None:
    known = Known("0", before)
    changes = changed(known, listed(now))
    assert all(before.get(name) != value for name, value in changes.items())
    known.take(News("1", changes))
    ids, values = known.all()
    found = dict(zip(ids.to_pylist(), values.tolist(), strict=True))
    assert found == dict.fromkeys(before, SOLD_OUT) | now, "what is not listed any more cannot be bought"


def test_a_row_counts_as_in_a_snapshot() -> None:
    """CSV is text; the first of two rows with an id counts; what cannot be read says nothing."""
    rows = [
        (" p1 ", "yes"),
        ("p2", "0"),
        ("p1", "no"),
        ("", "yes"),
        (None, "yes"),
        ("p3", "maybe"),
        ("p4", None),
    ]
    ids, values = zip(*rows, strict=True)
    found = Listed.of(
        pa.table({"product_id": pa.array(ids, pa.string()), "in_stock": pa.array(values, pa.string())})
    )
    assert dict(zip(found.ids.to_pylist(), found.values.tolist(), strict=True)) == {
        "p1": IN_STOCK,
        "p2": SOLD_OUT,
        "p3": UNKNOWN,
        "p4": UNKNOWN,
    }
    assert changed(Known("0", {"p3": IN_STOCK, "p4": SOLD_OUT}), found) == {
        "p1": IN_STOCK,
        "p2": SOLD_OUT,
    }


@pytest.mark.parametrize(
    ("was", "lost", "share", "passes"),
    [
        (100, 20, 0.2, True),
        (100, 21, 0.2, False),
        (1_000, 200, 0.2, True),
        (1_000, 201, 0.2, False),
        (1_000, 1_000, 1.0, True),
        (10, 5, 0.2, True),
        (10, 6, 0.2, False),
        (1, 1, 0.2, True),
    ],
)
def test_a_shop_is_not_emptied_by_mistake(was: int, lost: int, share: float, passes: bool) -> None:
    before = Known("0", {f"p{number}": IN_STOCK for number in range(was)} | {"old": SOLD_OUT})
    now = listed({f"p{number}": SOLD_OUT if number < lost else IN_STOCK for number in range(was)})
    changes = changed(before, now)
    if passes:
        check_sane(before, changes, now, share)
    else:
        with pytest.raises(BadInput, match=f"{lost} of {was} products in stock would leave at once"):
            check_sane(before, changes, now, share)


def test_only_what_differs_is_written(shop: Shop) -> None:
    assert shop.feed.look() == shop.wanted
    assert shop.held == shop.wanted
    first = shop.log.latest(100)
    assert len(first) == 1, "a state that is new is no hundred changes"
    assert shop.feed.look() == {}
    shop.set(p001=False, p000=True)
    assert shop.feed.look() == {"p001": SOLD_OUT, "p000": IN_STOCK}
    assert {entry[1:] for entry in shop.log.latest(2)} == {("p001", SOLD_OUT), ("p000", IN_STOCK)}
    shop.write(dict(shop.products))  # written, and the same
    assert shop.feed.look() == {}
    assert len(shop.log.latest(100)) == 3
    assert shop.held == shop.wanted
    assert shop.log.compared_at() > 1e9


def test_a_product_that_leaves_the_catalogue_is_sold_out_and_forgotten_later(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.feed.look()
    del shop.products["p001"], shop.products["p005"]
    shop.write(shop.products)
    assert shop.feed.look() == {"p001": SOLD_OUT}
    assert (shop.held["p001"], shop.held["p005"]) == (SOLD_OUT, SOLD_OUT)
    monkeypatch.setattr(stock, "_FORGOTTEN_S", -1.0)
    shop.set(p002=False)
    assert shop.feed.look() == {"p002": SOLD_OUT, "p001": UNKNOWN, "p005": UNKNOWN}
    assert shop.held == shop.wanted


def test_a_product_that_says_nothing_stays_as_it_is(shop: Shop) -> None:
    shop.feed.look()
    shop.set(p001=None, new=None)
    assert shop.feed.look() == {}
    assert shop.held["p001"] == IN_STOCK
    assert "new" not in shop.held


def test_an_absurd_change_stops_the_feed_until_it_is_allowed(shop: Shop) -> None:
    shop.feed.look()
    before, compared_at = shop.held, shop.log.compared_at()
    shop.write(dict.fromkeys(shop.products, False))
    for _ in range(2):
        with pytest.raises(BadInput) as told:
            shop.feed.look()
        assert str(told.value) == (
            "80 of 80 products in stock would leave at once, at most 20 may; nothing is written: "
            "if that is right, run imgsearch stock feed --once --allow"
        )
    assert (shop.held, shop.log.compared_at()) == (before, compared_at)
    with pytest.raises(BadInput, match="80 of 80"):
        shop.another().look()
    assert len(shop.another(1.0).look()) == 80
    assert shop.feed.look() == {}
    assert set(shop.held.values()) == {SOLD_OUT}
    shop.set(p001=True)
    assert shop.feed.look() == {"p001": IN_STOCK}


def test_that_the_feed_halted_is_known_until_it_looks_again(shop: Shop) -> None:
    shop.feed.look()
    assert shop.log.halted() is None
    shop.feed.halt("half of the shop would leave")
    since = shop.log.halted()
    shop.feed.halt("all of it would")
    later = shop.log.halted()
    assert since is not None
    assert later == (since.at, "all of it would")
    shop.feed.look()
    assert shop.log.halted() is None


def test_nothing_is_known_and_nothing_in_stock(shop: Shop) -> None:
    shop.write(dict.fromkeys(shop.products, False))
    with pytest.raises(
        BadInput, match="none of the 100 products of the catalogue is in stock; nothing is written"
    ):
        shop.feed.look()
    assert shop.log.whole() is None


@pytest.mark.parametrize("broken", ["gone", "empty", "half", "columns"])
def test_a_catalogue_that_cannot_be_read_changes_nothing(shop: Shop, broken: str) -> None:
    shop.feed.look()
    data, before = shop.path.read_bytes(), shop.held
    match broken:
        case "gone":
            shop.path.unlink()
        case "empty":
            shop.write({})
        case "half":
            shop.path.write_bytes(data[: len(data) // 2])
        case _:
            pq.write_table(pa.table({"product_id": ["p001"]}), shop.path)
    for _ in range(2):
        with pytest.raises(BadInput):
            shop.feed.look()
    assert shop.held == before
    shop.path.write_bytes(data)
    assert shop.feed.look() == {}


def test_what_is_written_while_it_is_read_is_read_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.feed.look()
    real = FileWarehouse.read

    def read(*asked: Any) -> pa.Table:
        rows = real(*asked)
        shop.set(p002=False)
        return rows

    shop.set(p001=False)
    monkeypatch.setattr(FileWarehouse, "read", read)
    with pytest.raises(Unavailable, match=r"the catalogue .*c\.parquet is being written"):
        shop.feed.look()
    monkeypatch.undo()
    assert shop.feed.look() == {"p001": SOLD_OUT, "p002": SOLD_OUT}


def test_nothing_is_lost_while_redis_is_away(shop: Shop, redis_process: Any) -> None:
    shop.feed.look()
    redis_process.kill()
    shop.set(p001=False)
    with pytest.raises(Unavailable, match="the stock in Redis cannot be reached"):
        shop.feed.look()
    shop.set(p002=False)
    redis_process.start()  # with nothing in it
    assert shop.feed.look().keys() == {"p001", "p002"}
    assert shop.held == shop.wanted


def test_a_redis_that_lost_all_is_filled_though_nothing_changed(shop: Shop, redis_process: Any) -> None:
    shop.feed.look()
    del shop.products["p001"]
    shop.write(shop.products)
    shop.feed.look()
    redis_process.kill()
    redis_process.start()
    assert shop.feed.look() == {}
    assert shop.held == shop.wanted | {"p001": SOLD_OUT}, "what left the catalogue is remembered"


def test_nor_is_the_shop_emptied_when_both_fail(shop: Shop, redis_process: Any) -> None:
    shop.feed.look()
    redis_process.kill()
    redis_process.start()
    shop.write({name: name == "p001" for name in shop.products})
    with pytest.raises(BadInput, match="79 of 80 products in stock would leave at once"):
        shop.feed.look()
    assert shop.log.whole() is None


def test_two_feeds_and_one_that_starts_again(shop: Shop) -> None:
    feeds = [shop.feed, shop.another()]
    for feed in feeds:
        feed.look()
    assert len(shop.log.latest(100)) == 1
    shop.set(p001=False)
    assert [feed.look() for feed in (*feeds, shop.another())] == [{"p001": SOLD_OUT}, {}, {}]
    assert len(shop.log.latest(100)) == 2
    shop.set(p001=True, p002=False)
    feeds[1].look()
    shop.set(p002=True)
    feeds[0].look()
    assert feeds[1].look() == {}
    assert shop.held == shop.wanted


def test_a_feed_that_is_overtaken_compares_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.feed.look()
    other, real = shop.another(), StockLog.write
    other.look()

    def write(log: StockLog, *asked: Any) -> str | None:
        monkeypatch.undo()
        other.look()  # is faster
        return real(log, *asked)

    shop.set(p001=False)
    monkeypatch.setattr(StockLog, "write", write)
    assert shop.feed.look() == {}, "the other has written it"
    assert len(shop.log.latest(100)) == 2
    assert shop.held == shop.wanted


def test_very_many_changes_are_a_new_state(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock, "MOST_CHANGES", 5)
    shop.feed.look()
    shop.set(**{f"new{number}": True for number in range(6)})
    assert len(shop.feed.look()) == 6
    assert [entry[1] for entry in shop.log.latest(100)] == ["", ""]
    assert shop.held == shop.wanted


def test_following_says_once_what_is_wrong(
    shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Over(Exception):
        pass

    steps = iter([shop.path.unlink, None, None, lambda: shop.write(shop.products | {"p001": False}), None])
    waited = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        try:
            step = next(steps)
        except StopIteration:
            raise Over from None
        if step:
            step()

    monkeypatch.setattr("imgsearch_assets.catalogue.stock.time.sleep", sleep)
    caplog.set_level(logging.INFO)
    with pytest.raises(Over):
        follow(shop.feed, 0.5)
    told = [(record.levelname, getattr(record, "fields", record.getMessage())) for record in caplog.records]
    assert told == [
        ("INFO", {"in_stock": 80, "sold_out": 20}),
        (
            "ERROR",
            f"the stock is not followed: there is no catalogue {shop.path}; "
            "check IMGSEARCH_CATALOGUE or --catalogue",
        ),
        ("INFO", {"in_stock": 0, "sold_out": 1}),
    ]
    assert waited == [0.5, 1, 2, 4, 0.5, 0.5]


def test_how_long_it_took_is_kept_from_the_second_look_on(shop: Shop) -> None:
    shop.feed.look()
    assert shop.log.sold_out_delays(0) == []
    began = math.floor(time.time() * 1000) / 1000  # times are of whole milliseconds
    shop.feed.look()
    shop.set(p001=False)
    shop.feed.look()
    (took,) = shop.log.sold_out_delays(0)
    assert 0 <= took <= time.time() - began
    shop.set(p002=False)
    shop.another().look()  # which was not there yet, and goes by when the other compared
    assert len(shop.log.sold_out_delays(0)) == 2
    figures = sold_to_hidden(shop.log, 3.0).figures
    assert figures["sold_to_hidden_count"] == 2
    assert 0 <= figures["sold_to_hidden_p50_s"] <= time.time() - began
