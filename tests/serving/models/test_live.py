import threading
from pathlib import Path

import pytest
import torch

from serving.errors import Conflict, NotFound, Unverified
from serving.models.bundle import Bundle, store_bundle
from serving.models.live import REMEMBERED, live_version, promote, read_live
from serving.models.preprocess import Preprocessing
from serving.object_store import LocalObjectStore


@pytest.fixture
def store(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path)


def kept(store: LocalObjectStore, value: float) -> Bundle:
    return store_bundle(store, "toy", {"a": torch.full((3,), value)}, Preprocessing())


def test_a_stored_model_is_not_live_until_it_is_promoted(store: LocalObjectStore) -> None:
    first = kept(store, 1)
    with pytest.raises(NotFound, match="no model named 'toy' is registered in this object store"):
        live_version(store, "toy")
    promote(store, first, None, who="Ada", why="the first")
    assert live_version(store, "toy") == first.version
    (one,) = read_live(store, "toy").promotions
    assert (one.version, one.who, one.why) == (first.version, "Ada", "the first")
    assert read_live(store, "toy").previous is None


def test_what_was_live_is_remembered(store: LocalObjectStore) -> None:
    versions = [kept(store, value) for value in range(REMEMBERED + 5)]
    for bundle in versions:
        promote(store, bundle)
        promote(store, bundle)  # is live already: nothing to remember
    live = read_live(store, "toy")
    assert [one.version for one in live.promotions] == [one.version for one in versions[:-21:-1]]
    assert live.previous == versions[-2].version


def test_what_was_rolled_back_from_is_not_gone_back_to(store: LocalObjectStore) -> None:
    first, second, third = (kept(store, value) for value in range(3))
    for bundle in (first, second):
        promote(store, bundle)
    promote(store, first, rolled_back_from=second.version)
    assert read_live(store, "toy").previous is None
    promote(store, third)
    assert read_live(store, "toy").previous == first.version


def test_a_pointer_of_before_promotions_were_remembered(store: LocalObjectStore) -> None:
    first, second = kept(store, 1), kept(store, 2)
    store.put("models/toy/live.json", f'{{"version": "{first.version}"}}'.encode())
    promote(store, second)
    assert read_live(store, "toy").previous == first.version


@pytest.mark.parametrize("pointer", [b"{", b"[]", b'{"version": 3}', b'{"version": "../x"}'])
def test_a_pointer_that_is_none(store: LocalObjectStore, pointer: bytes) -> None:
    store.put("models/toy/live.json", pointer)
    with pytest.raises(Unverified, match=r"^models/toy/live.json names no version of a model; imgsearch"):
        live_version(store, "toy")


def test_only_what_was_expected_is_replaced(store: LocalObjectStore) -> None:
    first, second = kept(store, 1), kept(store, 2)
    with pytest.raises(Conflict, match=f"no version of the model 'toy' is live, not {second.version}"):
        promote(store, first, second.version)
    promote(store, first)
    with pytest.raises(Conflict, match=f"{first.version} of the model 'toy' is live, not none"):
        promote(store, second, None)
    with pytest.raises(NotFound, match=r"^there is no version .* of the model 'toy' in this object store$"):
        promote(store, Bundle(first.card.model_copy(update={"dataset": "never kept"}), {}))
    assert live_version(store, "toy") == first.version


def test_of_two_at_once_one_wins(store: LocalObjectStore) -> None:
    first = kept(store, 0)
    promote(store, first)
    others = [kept(store, value) for value in (1, 2, 3, 4)]
    start, won, lost = threading.Barrier(len(others)), [], []

    def one(bundle: Bundle) -> None:
        start.wait()
        try:
            promote(store, bundle, first.version)
            won.append(bundle.version)
        except Conflict:
            lost.append(bundle.version)

    threads = [threading.Thread(target=one, args=(bundle,)) for bundle in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [live_version(store, "toy")] == won
    assert len(lost) == 3
