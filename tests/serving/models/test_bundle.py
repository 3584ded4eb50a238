import json
from pathlib import Path

import pytest
import torch

from serving.errors import NotFound, Unverified
from serving.models.bundle import live_version, load_bundle, register_bundle
from serving.models.preprocess import Preprocessing
from serving.object_store import LocalObjectStore


@pytest.fixture
def store(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path)


def register(store, value=1.0, **card):
    return register_bundle(store, "toy", {"a": torch.full((3,), value)}, Preprocessing(), **card)


def test_what_is_registered_is_live(store: LocalObjectStore) -> None:
    made = register(store, categories=("hat",), metrics={"ap50": 0.5}, training={"seed": 3})
    found = load_bundle(store, "toy")
    assert found.card == made.card
    assert found.version == live_version(store, "toy") == made.version
    assert found.tensors["a"].tolist() == [1, 1, 1]


def test_the_version_is_the_content(store: LocalObjectStore) -> None:
    first, other = register(store), register(store, 2.0)
    assert first.version != other.version
    assert live_version(store, "toy") == other.version
    assert register(store).version == first.version
    assert live_version(store, "toy") == first.version
    assert load_bundle(store, "toy", other.version).tensors["a"][0] == 2
    assert register(store, metrics={"ap50": 0.5}).version != first.version


def test_registering_the_same_again_writes_nothing(store: LocalObjectStore, tmp_path: Path) -> None:
    register(store)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    register(store)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}


def test_an_unknown_model(store: LocalObjectStore) -> None:
    with pytest.raises(NotFound, match=r"^no model named 'toy' is registered in this object store$"):
        load_bundle(store, "toy")


@pytest.mark.parametrize("file", ["bundle.json", "weights.safetensors"])
def test_no_flipped_byte_is_loaded(store: LocalObjectStore, file: str) -> None:
    key = f"models/toy/{register(store).version}/{file}"
    good = store.get(key)
    for at in range(0, len(good), 7):
        store.put(key, good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
        with pytest.raises(Unverified, match=rf"{file} does not (hash|have the size)"):
            load_bundle(store, "toy")


def test_a_card_of_another_format_is_refused(store: LocalObjectStore) -> None:
    import hashlib

    card = register(store).card
    text = json.dumps(card.model_dump(mode="json") | {"format": 3}).encode()
    version = hashlib.sha256(text).hexdigest()[:16]
    store.put(f"models/toy/{version}/bundle.json", text)
    with pytest.raises(Unverified, match="is of a format this code does not read"):
        load_bundle(store, "toy", version)
