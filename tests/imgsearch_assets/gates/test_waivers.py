from pathlib import Path

import pytest

from imgsearch_assets.gates.waivers import in_force, use_up, waive
from serving.errors import BadInput, Unverified
from serving.object_store import LocalObjectStore


@pytest.fixture
def store(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path)


def test_a_waiver_is_of_one_environment_and_used_once(store: LocalObjectStore) -> None:
    assert in_force(store, "local") == {}
    waive(store, "local", ["few_removed", "coverage"], "ada", " end of season ")
    held = in_force(store, "local")
    assert [str(held[gate]) for gate in ("few_removed", "coverage")] == [
        "few_removed waived by ada: end of season",
        "coverage waived by ada: end of season",
    ]
    assert in_force(store, "staging") == {}
    at = held["few_removed"].at
    use_up(store, "local", {"few_removed": held["few_removed"]}, at - 1)
    assert in_force(store, "local") == held, "a release of before it uses up none"
    use_up(store, "local", held, at + 1)
    assert in_force(store, "local") == {}


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
