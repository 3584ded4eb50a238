"""Every verdict, over a store in which a shop's history was made."""

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from serving.cache.stock import IN_STOCK, SOLD_OUT
from serving.cache.stock_log import StockLog
from serving.errors import DeadlinePassed, NotFound
from serving.ledger.verdict import moment
from tests.history import History, names_of, url

NAMES = names_of(20)


@pytest.fixture
def history(tmp_path: Path) -> History:
    """A shop with products that are live, and ``new``, which was just seen."""
    found = History(tmp_path)
    found.sells(*NAMES)
    found.runs()
    found.sells("new")
    found.sees("run-2")
    return found


def said(journey: Any) -> str:
    """The sentence without generations and times, which are the journey's own."""
    text = re.sub(r"\b[0-9a-f]{16}\b", "GENERATION", journey.sentence)
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "TIME", text)


def states(journey: Any) -> dict[str, str]:
    return {stage.stage: stage.state for stage in journey.stages}


def test_nobody_saw_it(history: History) -> None:
    with pytest.raises(NotFound) as caught:
        history.explain("never")
    assert str(caught.value) == "nobody ever saw a product 'never': no catalogue, and no generation, had it"


def test_live(history: History) -> None:
    found = history.explain("p003")
    assert (found.verdict, found.searchable) == ("live", True)
    assert said(found) == "p003 is searchable in local since TIME (generation GENERATION)"
    assert states(found) == dict.fromkeys(
        ["seen", "downloaded", "detected", "embedded", "indexed", "live", "in_stock"], "done"
    )
    assert [(event.change, event.run) for event in found.history] == [("came", None), ("new", "run-1")]
    assert found.history[0].searchable_after_s == pytest.approx(
        found.history[0].at - found.history[1].at, abs=0.001
    )
    assert all(stage.at is not None for stage in found.stages if stage.stage != "in_stock")
    assert [(one.image_url, one.fetched, one.items, one.searchable) for one in found.pictures] == [
        (url("p003"), "done", 1, True)
    ]
    assert found.updated_at == 1767225600.0
    assert [(place.environment, place.searchable) for place in found.places] == [("local", True)]


def test_seen_and_not_yet_fetched(history: History) -> None:
    found = history.explain("new")
    assert (found.verdict, found.searchable) == ("waiting", False)
    assert said(found) == (
        "new is not searchable in local yet: it was seen at TIME, its pictures are to be fetched"
    )
    assert moment(history.seen_at.timestamp()) in found.sentence
    assert states(found)["downloaded"] == "waiting"


def test_no_picture_could_be_had(history: History) -> None:
    again = history.seen_at + timedelta(hours=2)
    history.fetches(url("new"), reason="not_found", http_status=404, retry_after=again)
    found = history.explain("new")
    assert found.verdict == "no_picture"
    assert said(found) == (
        "new is not searchable in local: none of its 1 pictures could be had (not_found (HTTP 404) 1); "
        "the next try is due at TIME"
    )
    assert found.sentence.endswith(moment(again.timestamp()))
    picture = found.pictures[0]
    assert (picture.reason, picture.http_status, picture.retry_at) == ("not_found", 404, again.timestamp())


def test_here_and_not_yet_detected_embedded_or_built(history: History) -> None:
    history.fetches(url("new"))
    assert said(history.explain("new")) == (
        "new is not searchable in local yet: 1 of its 1 pictures are here, to be looked at for items"
    )
    history.detects(url("new"))
    assert said(history.explain("new")) == (
        "new is not searchable in local yet: 1 of its 1 pictures are here, to be given their vectors"
    )
    history.embeds(url("new"))
    assert said(history.explain("new")) == (
        "new is not searchable in local yet: its pictures have their vectors, and no index was built with "
        "them so far"
    )
    assert states(history.explain("new"))["embedded"] == "done"


def test_no_picture_could_be_opened(history: History) -> None:
    history.fetches(url("new"))
    history.detects(url("new"), reason="truncated")
    found = history.explain("new")
    assert found.verdict == "no_item"
    assert said(found) == (
        "new is not searchable in local: none of its pictures could be looked at for items (truncated 1)"
    )


def come(history: History) -> None:
    history.fetches(url("new"))
    history.detects(url("new"))
    history.embeds(url("new"))


def test_built_and_not_released(history: History) -> None:
    come(history)
    built = history.builds()
    found = history.explain("new")
    assert found.verdict == "not_released"
    assert said(found) == (
        "new is not searchable in local: generation GENERATION, which has it and was made at TIME, was not "
        "released; its run, or the check that stopped it, is in Dagster under ann_index and staging_release"
    )
    assert built.id in found.sentence

    history.releases(built, "staging")
    assert said(history.explain("new")) == (
        "new is not searchable in local: generation GENERATION, which has it, is live in staging and was not "
        "promoted yet"
    )


def test_rolled_back(history: History) -> None:
    come(history)
    history.releases(history.builds())
    assert history.explain("new").verdict == "live"
    history.rolls_back()
    found = history.explain("new")
    assert found.verdict == "rolled_back"
    assert said(found) == (
        "new is not searchable in local: generation GENERATION, which has it, was rolled back at TIME by "
        "Ada: wrong colours"
    )
    assert history.notes()["new"] == "went"
    assert history.explain("new").history[0].detail.endswith("released by Ada: wrong colours")


def test_rejected(history: History) -> None:
    history.sells("bad", price=-1)
    history.sees()
    found = history.explain("bad")
    assert found.verdict == "rejected"
    assert said(found) == (
        "bad is not searchable in local: row 22 of the catalogue, which is this product, was rejected as "
        "bad_price (price is -1, not an integer of 0 or more)"
    )
    assert [(row.row, row.reason) for row in found.rejected] == [(22, "bad_price")]
    assert [event.change for event in found.history] == ["rejected"]


def test_removed_and_leaving(history: History) -> None:
    del history.rows["p003"], history.rows["new"]
    history.sees()
    assert said(history.explain("new")) == (
        "new is not searchable in local: it is no longer in the catalogue, as was seen at TIME"
    )
    found = history.explain("p003")
    assert (found.verdict, found.searchable) == ("leaving", True)
    assert said(found) == (
        "p003 is searchable in local since TIME (generation GENERATION), as no release took it out so far: "
        "it is no longer in the catalogue, as was seen at TIME"
    )
    out = history.releases(history.builds())
    assert history.notes() == {"p003": "went"}
    found = history.explain("p003")
    assert (found.verdict, found.searchable) == ("removed", False)
    assert said(found) == (
        "p003 is not searchable in local: it is no longer in the catalogue, as was seen at TIME; "
        "it was live until TIME"
    )
    assert found.sentence.endswith(moment(out.at))
    live = found.stages[-2]
    assert (live.stage, live.state, live.at) == ("live", "failed", pytest.approx(out.at, abs=1e-5))
    stock = found.stages[-1]
    assert (stock.state, stock.detail) == ("waiting", "not known: what is live does not have it")
    assert live.detail == f"until then; generation {out.generation} has it no more"
    assert {event.change for event in found.history} == {"went", "removed", "came", "new"}


def test_live_as_it_was(history: History) -> None:
    history.sells("p003", price=7)
    history.sees()
    found = history.explain("p003")
    assert (found.verdict, found.searchable) == ("outdated", True)
    assert said(found) == (
        "p003 is searchable in local since TIME (generation GENERATION), but as it was before its last "
        "change, which was seen at TIME; no release brought it so far"
    )
    history.releases(history.builds())
    assert history.notes()["p003"] == "changed"
    assert history.explain("p003").verdict == "live"


def test_by_some_of_its_pictures(history: History) -> None:
    history.sells("new", image_urls=[url("new"), url("new", 1)])
    history.sees()
    come(history)
    history.fetches(url("new", 1), reason="timeout", http_status=None, retry_after=history.seen_at)
    history.releases(history.builds())
    assert said(history.explain("new")) == (
        "new is searchable in local since TIME (generation GENERATION), by 1 of its 2 pictures (timeout 1)"
    )


@pytest.fixture
def stock_log(redis_process: Any) -> Iterator[StockLog]:
    found = StockLog(redis_process.url, "local")
    yield found
    found.close()


def test_sold_out(history: History, stock_log: StockLog, redis_process: Any) -> None:
    version = stock_log.write_whole(None, {"p003": IN_STOCK, "p004": IN_STOCK})
    assert history.explain("p003", stock_log=stock_log).verdict == "live"
    stock_log.write(version, {"p003": SOLD_OUT})
    found = history.explain("p003", stock_log=stock_log)
    assert (found.verdict, found.searchable) == ("sold_out", False)
    assert said(found) == (
        "p003 is hidden in local: it is sold out since TIME; generation GENERATION has it, and only a search "
        "that asks for what is sold out, too, shows it"
    )
    assert found.stages[-1].at == stock_log.latest(1)[0][0]
    assert history.explain("p004", stock_log=stock_log).verdict == "live"

    redis_process.kill()
    found = history.explain("p003", stock_log=stock_log)
    assert (found.verdict, found.searchable) == ("stock_unknown", None)
    assert said(found) == (
        "p003 is live in local since TIME (generation GENERATION), but its stock is not known: the stock in "
        "Redis cannot be reached: Redis does not answer (ConnectionError); it is searchable unless it is "
        "sold out"
    )
    assert (found.stages[-1].state, found.stages[-1].detail) == (
        "waiting",
        "not known: the stock in Redis cannot be reached: Redis does not answer (ConnectionError)",
    )


def test_the_stock_is_of_an_environment(history: History, stock_log: StockLog, redis_process: Any) -> None:
    stock_log.write_whole(None, {"p003": SOLD_OUT})
    history.releases(history.live(), "production")
    with closing(StockLog(redis_process.url, "production")) as other:
        found = history.explain("p003", "production", stock_log=other)
    assert (found.verdict, found.stages[-1].detail) == (
        "live",
        "in stock, as the generation has it: Redis has no stock of it for production",
    )


def test_what_did_not_change_since_names_the_snapshot_that_it_came_with(history: History) -> None:
    first = history.explain("p003").history[-1].snapshot
    assert first != history.snapshot
    assert history.explain("p003").stages[0].detail == (
        f"new in snapshot {first}, the same in the newest, {history.snapshot}"
    )
    assert history.explain("new").stages[0].detail == f"new in snapshot {history.snapshot}"


def test_the_last_moment_of_all_is_said_too() -> None:
    assert moment(253402300799.0) == "9999-12-31 23:59:59 UTC"
    assert moment(253402300800.0) == "the end of time"


def test_it_ends_in_time(history: History) -> None:
    with pytest.raises(DeadlinePassed) as caught:
        history.explain("p003", timeout_s=0.0)
    assert str(caught.value) == "what is known was not read within 0 s; try again"


def test_an_installation_without_a_ledger_yet(history: History) -> None:
    for key in list(history.store.list("ledger")):
        history.store.delete(key)
    assert said(history.explain("p003")) == ("p003 is searchable in local since TIME (generation GENERATION)")
