from pathlib import Path
from typing import Any

import pytest

from imgsearch_assets.gates.generation import Gate
from imgsearch_assets.gates.waivers import in_force, needed, reason, still_in_force, waive
from imgsearch_assets.release.publish import publish, rollback
from serving.errors import BadInput, Conflict, Unverified
from serving.index.store import end_trial, read_pointer
from serving.object_store import LocalObjectStore


@pytest.fixture
def store(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path)


def test_a_waiver_is_of_one_environment_and_says_who_and_why(store: LocalObjectStore) -> None:
    assert in_force(store, "local") == {}
    waive(store, "local", ["few_removed", "coverage"], "ada", " end of season ")
    held = in_force(store, "local")
    assert [str(held[gate]) for gate in ("few_removed", "coverage")] == [
        "few_removed waived by ada: end of season",
        "coverage waived by ada: end of season",
    ]
    assert in_force(store, "staging") == {}


def test_the_next_release_ends_it_whatever_the_clock_says(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store, now = shop.store, 1_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    first, second, third = (shop.build(f"s{number}").id for number in range(3))
    waive(store, "local", ["few_removed"], "ada", "all of it is new")
    (before,) = in_force(store, "local").values()
    publish(store, "local", first, "test", "test", on_trial=True)
    assert in_force(store, "local") == {}

    now += 3_600  # ahead
    waive(store, "local", ["few_removed"], "ada", "end of season")
    (held,) = in_force(store, "local").values()
    now -= 3_600
    live = read_pointer(store, "local").pointer
    assert live is not None
    end_trial(store, "local", live.live)
    assert in_force(store, "local") == {"few_removed": held}, "the release is the same"
    still_in_force([held], "local", read_pointer(store, "local").pointer, "s1")
    publish(store, "local", second, "test", "test")
    assert in_force(store, "local") == {}

    waive(store, "local", ["few_removed"], "ada", "end of season")
    publish(store, "local", third, "test", "test")
    rollback(store, "local", "ada", "the wrong season", second)
    assert in_force(store, "local") == {}, "going back makes another release of it"
    for over in (before, held):
        with pytest.raises(Conflict) as refused:
            still_in_force([over], "local", read_pointer(store, "local").pointer, "s1")
    assert str(refused.value) == (
        "few_removed waived by ada: end of season, and that was for the next release in local, which another "
        "run made meanwhile; if it is still meant, waive it again, then start the job refresh"
    )


def test_what_it_let_through_may_be_made_again_by_another_model(shop: Any) -> None:
    store = shop.store
    first, second = shop.build("s1").id, shop.build("s2").id
    publish(store, "local", first, "test", "test")
    waive(store, "local", ["few_removed"], "ada", "a clearance")
    (held,) = in_force(store, "local").values()
    publish(store, "local", second, "test", reason("s2", [held]))
    live = read_pointer(store, "local").pointer
    still_in_force([held], "local", live, "s2")
    with pytest.raises(Conflict, match="that was for the next release in local"):
        still_in_force([held], "local", live, "s3")


def test_that_alone_is_used_without_which_a_gate_had_failed(store: LocalObjectStore) -> None:
    waive(store, "local", ["few_removed", "coverage"], "ada", "end of season")
    held = in_force(store, "local")
    gates = [
        Gate("few_removed", False, 2, 1, ""),
        Gate("coverage", True, 1, 1, ""),
        Gate("few", False, 1, 0, ""),
    ]
    assert needed(gates, held) == (held["few_removed"],)


def test_a_waiver_holds_for_a_day(store: LocalObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    waive(store, "local", ["few_removed"], "ada", "end of season")
    at = in_force(store, "local")["few_removed"].at
    monkeypatch.setattr("time.time", lambda: at + 86_399)
    assert in_force(store, "local")
    monkeypatch.setattr("time.time", lambda: at + 86_400)
    assert in_force(store, "local") == {}


def test_what_finds_an_index_broken_is_not_waived(store: LocalObjectStore) -> None:
    with pytest.raises(BadInput) as refused:
        waive(store, "local", ["few_removed", "parity"], "ada", "in a hurry")
    assert str(refused.value) == (
        "parity cannot be waived; what can: enough_rows, few_rejected, few_removed, few_changed, "
        "few_not_downloaded, coverage, enough_products"
    )
    with pytest.raises(BadInput, match="a waiver needs a reason; say it with --why"):
        waive(store, "local", ["few_removed"], "ada", "  ")
    assert in_force(store, "local") == {}, "not one of several"


def test_what_is_no_waiver_waives_nothing(store: LocalObjectStore) -> None:
    store.put("waivers/local/coverage", b"{}")
    with pytest.raises(Unverified) as refused:
        in_force(store, "local")
    assert str(refused.value) == "waivers/local/coverage is no waiver; remove it, and waive the gate again"
