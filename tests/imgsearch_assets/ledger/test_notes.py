"""What the ledger writes, and that it writes it once, whatever was killed in between."""

import time
from collections import Counter
from pathlib import Path

import pytest

from imgsearch_assets.index.increment import MAX_DELTAS
from imgsearch_assets.ledger.delays import Delay, new_to_searchable
from serving.ledger.events import passages, sightings
from tests.history import History, names_of, url

NAMES = names_of(60)


@pytest.fixture
def history(tmp_path: Path) -> History:
    found = History(tmp_path)
    found.sells(*NAMES)
    return found


def changes(table: object) -> dict[str, str]:
    return {row["product_id"]: row["change"] for row in table.to_pylist()}  # type: ignore[attr-defined]


def test_every_change_of_the_catalogue_once(history: History) -> None:
    assert changes(history.sees("run-1")) == dict.fromkeys(NAMES, "new")
    assert changes(history.sees("run-2")) == {}, "the same snapshot"

    history.sells("p000", price=5)
    history.sells("p001", image_urls=[url("p001", 1)])
    history.sells("p002", price=-1)
    history.sells("p060", "p061")
    history.sells("bad", price=-1)
    del history.rows["p003"]
    noted = history.sees("run-3")
    assert changes(noted) == {
        "p000": "reattributed",
        "p001": "repictured",
        "p002": "rejected",
        "p003": "removed",
        "p060": "new",
        "p061": "new",
        "bad": "rejected",
    }
    bad = next(row for row in noted.to_pylist() if row["product_id"] == "bad")
    assert (bad["reason"], bad["detail"]) == ("bad_price", "price is -1, not an integer of 0 or more")
    assert (bad["run"], bad["snapshot"], bad["at"]) == ("run-3", history.snapshot, history.seen_at)

    del history.rows["bad"]
    history.sells("p002", price=8)
    history.sells("p004", price=9)
    assert changes(history.sees("run-4")) == {"bad": "removed", "p002": "new", "p004": "reattributed"}


def test_a_snapshot_that_is_no_longer_kept(history: History) -> None:
    history.runs()
    first = history.snapshot
    history.sells("p060")
    history.sees()
    for key in list(history.store.list(f"snapshots/{history.snapshot}")):
        history.store.delete(key)
    assert first != history.snapshot
    history.sells("p061")
    assert changes(history.sees()) == {"p060": "new", "p061": "new"}, "against what is live"


def test_what_a_release_changed_and_how_it_came_there(history: History) -> None:
    first = history.runs()
    rows = passages(history.store, "local").about(NAMES).to_pylist()
    assert {row["change"] for row in rows} == {"came"}
    row = rows[0]
    assert (row["generation"], row["seen_as"], row["seen_at"]) == (first.id, "new", history.seen_at)
    assert row["seen_at"] < row["fetched_at"] < row["detected_at"] < row["embedded_at"] < row["indexed_at"]
    assert row["indexed_at"] < row["at"]
    assert row["by"] == f"dagster: snapshot {history.snapshot}"

    history.sells("p000", price=5)
    history.sells("p060")
    del history.rows["p001"]
    delta = history.runs()
    assert delta.segments == first.segments, "by its deltas alone"
    log = passages(history.store, "local")
    rows = [row for row in log.about([*NAMES, "p060"]).to_pylist() if row["generation"] == delta.id]
    assert {row["product_id"]: (row["change"], row["seen_as"]) for row in rows} == {
        "p000": ("changed", "reattributed"),
        "p001": ("went", None),
        "p060": ("came", "new"),
    }
    gone = next(row for row in rows if row["change"] == "went")
    assert gone["indexed_at"] is None


def test_nothing_is_noted_twice(history: History) -> None:
    history.runs()
    written = [one.key for one in passages(history.store, "local").every()]
    assert history.notes() == {}
    assert [one.key for one in passages(history.store, "local").every()] == written
    history.runs("run-2")
    assert Counter(sightings(history.store).about(NAMES)["product_id"].to_pylist()) == Counter(NAMES)
    assert Counter(passages(history.store, "local").about(NAMES)["product_id"].to_pylist()) == Counter(NAMES)


def test_killed_between_release_and_ledger(history: History) -> None:
    """The next run notes both releases, each at its own time."""
    history.runs()
    for name in ("p060", "p061"):
        history.sells(name)
        history.sees()
        history.fetches(url(name))
        history.detects(url(name))
        history.embeds(url(name))
        history.releases(history.builds())
    assert history.notes() == {"p060": "came", "p061": "came"}
    first, second = passages(history.store, "local").about(["p060", "p061"]).to_pylist()
    assert (first["product_id"], second["product_id"]) == ("p060", "p061")
    assert first["at"] < second["at"]
    assert first["generation"] != second["generation"]


def test_a_release_while_the_clock_is_back_is_noted(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.runs()
    real = time.time
    history.sells("p060")
    with monkeypatch.context() as back:
        back.setattr("time.time", lambda: real() - 3600)
        history.runs("run-2")
    (noted,) = passages(history.store, "local").about(["p060"]).to_pylist()
    assert noted["change"] == "came"
    history.sells("p061")
    history.runs("run-3")
    assert len(passages(history.store, "local").about(["p060", "p061"])) == 2


def test_killed_between_sighting_and_release(history: History) -> None:
    """However many runs it took, it counts from when it was first seen."""
    history.runs()
    history.sells("p060")
    history.sees("killed")
    first = history.seen_at
    history.sells("p060", price=3)
    history.runs("run-3")
    row = passages(history.store, "local").about(["p060"]).to_pylist()[0]
    assert (row["seen_as"], row["seen_at"]) == ("new", first)


def test_generations_that_are_no_longer_there(history: History) -> None:
    history.runs()
    for number in range(2):
        history.sells(f"p06{number}")
        history.sees()
        history.fetches(url(f"p06{number}"))
        history.detects(url(f"p06{number}"))
        history.embeds(url(f"p06{number}"))
        history.releases(history.builds())
    for key in list(history.store.list("generations"))[:]:
        if history.live().id not in key:
            history.store.delete(key)
    assert history.notes() == {"p060": "came", "p061": "came"}


def test_a_new_base_writes_no_row_for_what_stayed(history: History) -> None:
    before = history.runs()
    for number in range(MAX_DELTAS):
        history.sells("p000", price=number)
        history.sees()
        history.releases(history.builds())
        if history.live().segments != before.segments:
            break
    assert history.live().segments != before.segments
    assert history.notes() == {"p000": "changed"}


def test_other_environments_have_their_own(history: History) -> None:
    built = history.runs()
    history.releases(built, "production")
    assert history.notes("production") == dict.fromkeys(NAMES, "came")
    assert [place.environment for place in history.explain("p003").places] == ["local", "production"]


def test_half_and_95_of_100_of_a_day(history: History) -> None:
    history.runs()
    now = time.time()
    found = new_to_searchable(history.store, "local", 4000.0, now)
    assert found.figures["new_to_searchable_count"] == len(NAMES)
    took = now - history.seen_at.timestamp()
    assert found.figures["new_to_searchable_p50_s"] == pytest.approx(took, abs=5)
    assert found.passed
    assert not new_to_searchable(history.store, "local", 10.0, now).passed
    later = new_to_searchable(history.store, "local", 10.0, now + 2 * 86_400)
    assert (later.seconds, later.passed, later.message) == ([], True, "nothing to measure in the last day")


def test_figures_of_a_made_history() -> None:
    delay = Delay("sold_to_hidden", [*range(1, 100), 1000.0], 3.0)
    assert delay.figures == {
        "sold_to_hidden_count": 100,
        "sold_to_hidden_p50_s": 50.5,
        "sold_to_hidden_p95_s": 95.05,
    }
    assert delay.message == "of 100 in the last day half took 50.5 s, 95 of 100 95.05 s; 3 s are allowed"
    unknown = Delay("sold_to_hidden", (), 3.0, unknown="Redis is away")
    assert (unknown.passed, unknown.message) == (False, "not measured: Redis is away")
