import hashlib
import io
import json
from pathlib import Path

import pytest
import torch

from serving.errors import Conflict, NotFound, Unverified
from serving.models.bundle import (
    Block,
    Bundle,
    Text,
    list_versions,
    live_version,
    load_bundle,
    load_card,
    promote,
    store_bundle,
)
from serving.models.card_text import model_card
from serving.models.preprocess import Preprocessing
from serving.models.weights_file import MAX_BYTES, to_bytes
from serving.object_store import LocalObjectStore


@pytest.fixture
def store(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path)


def keep(store, value=1.0, **card):
    return store_bundle(store, "toy", {"a": torch.full((3,), value)}, Preprocessing(), **card)


def register(store, value=1.0, **card):
    bundle = keep(store, value, **card)
    promote(store, bundle)
    return bundle


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


def forged(store: LocalObjectStore, card: dict, weights: bytes | None = None) -> str:
    """Keep a card that hashes, and weights as it names them, whatever they say; the version."""
    if weights is not None:
        digest = hashlib.sha256(weights).hexdigest()
        card = card | {"weights_sha256": digest, "weights_size_bytes": len(weights)}
    text = json.dumps(card, sort_keys=True, indent=1).encode()
    version = hashlib.sha256(text).hexdigest()[:16]
    store.put(f"models/toy/{version}/bundle.json", text)
    if weights is not None:
        store.put(f"models/toy/{version}/weights.safetensors", weights)
    return version


def refused(store: LocalObjectStore, version: str) -> str:
    with pytest.raises(Unverified) as error:
        load_bundle(store, "toy", version)
    return error.value.message.removeprefix(f"models/toy/{version}/")


@pytest.fixture
def card(store: LocalObjectStore) -> dict:
    return keep(store).card.model_dump(mode="json")


def test_a_card_of_another_format_is_refused(store: LocalObjectStore, card: dict) -> None:
    of_another_format = "bundle.json is of a format this code does not read"
    assert refused(store, forged(store, card | {"format": 3})) == of_another_format
    # A field that this code would write and the card lacks: its version would be another.
    del card["split"]
    assert refused(store, forged(store, card)) == of_another_format


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dim": 5, "blocks": [{"dim": 3, "weight": 1.0}]}, "the blocks add up to 3 numbers, dim is 5"),
        ({"blocks": [{"dim": 3, "weight": 1.0}]}, "the blocks add up to 3 numbers, dim is None"),
        (
            {"blocks": [{"dim": 3, "weight": 0.0}], "dim": 3},
            "blocks.0.weight: Input should be greater than 0",
        ),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"dim": 0}, "dim: Input should be greater than or equal to 1"),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(store, card, change, said) -> None:
    assert refused(store, forged(store, card | change)) == f"bundle.json: {said}"


def test_a_card_that_is_not_json_is_refused(store: LocalObjectStore) -> None:
    version = hashlib.sha256(b"\xff").hexdigest()[:16]
    store.put(f"models/toy/{version}/bundle.json", b"\xff")
    assert refused(store, version) == "bundle.json is not JSON"


def test_weights_of_another_hash_are_refused(store: LocalObjectStore) -> None:
    one, other = keep(store), keep(store, 2.0)
    weights = store.get(f"models/toy/{other.version}/weights.safetensors")
    store.put(f"models/toy/{one.version}/weights.safetensors", weights)
    assert refused(store, one.version) == "weights.safetensors does not hash as its card says"


def test_a_pickle_that_hashes_is_refused(store: LocalObjectStore, card: dict) -> None:
    sink = io.BytesIO()
    torch.save({"a": torch.ones(3)}, sink)
    said = "weights.safetensors is a pickle, which can run code: convert it to safetensors"
    assert refused(store, forged(store, card, sink.getvalue())) == said


def test_weights_that_are_no_numbers_are_refused(store: LocalObjectStore, card: dict) -> None:
    weights = to_bytes({"fine": torch.ones(3), "a": torch.tensor([1, float("nan")])})
    said = "weights.safetensors: tensor 'a' holds values that are NaN or infinite"
    assert refused(store, forged(store, card, weights)) == said


def test_weights_of_an_odd_type_are_refused(store: LocalObjectStore, card: dict) -> None:
    said = "weights.safetensors: tensor 'a' is float64; weights are float32, float16 or bfloat16"
    assert refused(store, forged(store, card, to_bytes({"a": torch.ones(3).double()}))) == said


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"weight": torch.ones(5, 7), "bias": torch.ones(5)}, "project.weight is 5 x 7, its card says dim 4"),
        ({"weight": torch.ones(4), "bias": torch.ones(4)}, "project.weight is 4, its card says dim 4"),
        ({"weight": torch.ones(4, 7), "bias": torch.ones(3)}, "project.bias is 3, its card says dim 4"),
        (
            {"weight": torch.ones(4, 7)},
            "project.weight and project.bias come together, one is missing",
        ),
    ],
)
def test_a_projection_of_another_dimension_is_refused(store, card, tensors, said) -> None:
    weights = {f"project.{name}": tensor for name, tensor in tensors.items()}
    version = forged(store, card | {"dim": 4}, to_bytes(weights))
    assert refused(store, version) == f"weights.safetensors: {said}"
    with pytest.raises(Unverified, match=f"^the model 'toy': {said}$"):
        store_bundle(store, "toy", weights, Preprocessing(), dim=4)


def test_a_model_too_large_is_refused_before_it_is_read(store: LocalObjectStore, card: dict) -> None:
    # There are no weights at all: whoever looked for them would not find them.
    version = forged(store, card | {"weights_size_bytes": MAX_BYTES + 1})
    assert refused(store, version) == ("weights.safetensors has 4294967297 bytes; 4294967296 are allowed")


def with_text(store: LocalObjectStore, data: bytes, files: dict[str, bytes]) -> Bundle:
    text = Text(tokenizer="file", tokenizer_sha256=hashlib.sha256(data).hexdigest())
    return keep(store, text=text, files=files)


def test_a_tokenizer_is_kept_and_verified(store: LocalObjectStore) -> None:
    bundle = with_text(store, b"{}", {"tokenizer.json": b"{}"})
    assert load_bundle(store, "toy", bundle.version).files == {"tokenizer.json": b"{}"}
    key = f"models/toy/{bundle.version}/tokenizer.json"
    store.put(key, b"[]")
    assert refused(store, bundle.version) == "tokenizer.json does not hash as its card says"
    store.delete(key)
    assert refused(store, bundle.version) == "tokenizer.json is missing, and the text tower needs it"


def test_a_wrong_tokenizer_is_not_even_kept(store: LocalObjectStore) -> None:
    for files in ({}, {"tokenizer.json": b"[]"}):
        with pytest.raises(Unverified, match=r"^tokenizer.json of the model 'toy' "):
            with_text(store, b"{}", files)
    assert list_versions(store, "toy") == []


def test_what_would_be_refused_is_not_kept(store: LocalObjectStore, tmp_path: Path) -> None:
    with pytest.raises(Unverified, match="tensor 'a' holds values that are NaN or infinite"):
        keep(store, float("nan"))
    with pytest.raises(Unverified, match=r"^the model 'toy': the blocks add up to 2 numbers, dim is 3$"):
        keep(store, dim=3, blocks=(Block(dim=2),))
    assert not list(tmp_path.rglob("*.*"))


def test_a_candidate_is_not_live(store: LocalObjectStore) -> None:
    bundle = keep(store)
    assert load_bundle(store, "toy", bundle.version).card == bundle.card
    with pytest.raises(NotFound):
        live_version(store, "toy")
    promote(store, bundle)
    candidate = keep(store, 2.0)
    assert live_version(store, "toy") == bundle.version
    assert list_versions(store, "toy") == sorted([bundle.version, candidate.version])


def test_promotion_is_by_compare_and_set(store: LocalObjectStore) -> None:
    first, second, third = (keep(store, value) for value in (1.0, 2.0, 3.0))
    promote(store, first, expected=None)
    promote(store, second, expected=first.version)
    late = f"^{second.version} of the model 'toy' is live, not {first.version}$"
    with pytest.raises(Conflict, match=late):
        promote(store, third, expected=first.version)
    with pytest.raises(Conflict, match=f"^{second.version} of the model 'toy' is live, not none$"):
        promote(store, third, expected=None)
    assert live_version(store, "toy") == second.version
    promote(store, third)
    assert live_version(store, "toy") == third.version


def test_of_two_who_promote_at_once_one_is_told(store: LocalObjectStore) -> None:
    first, mine, theirs = (keep(store, value) for value in (1.0, 2.0, 3.0))
    promote(store, first)

    class Raced(LocalObjectStore):
        """Somebody is faster between the look and the move."""

        def compare_and_set(self, key: str, data: bytes, expected: str | None) -> str:
            promote(store, theirs, expected=first.version)
            return super().compare_and_set(key, data, expected)

    with pytest.raises(Conflict, match="was changed by another writer"):
        promote(Raced(store.root), mine, expected=first.version)
    assert live_version(store, "toy") == theirs.version


def test_what_is_not_stored_is_not_promoted(store: LocalObjectStore, tmp_path: Path) -> None:
    bundle = keep(LocalObjectStore(tmp_path / "elsewhere"))
    with pytest.raises(NotFound, match=f"^there is no version {bundle.version} of the model 'toy'"):
        promote(store, bundle)


def test_the_card_for_people_lies_beside(store: LocalObjectStore) -> None:
    bundle = keep(store)
    assert store.get(f"models/toy/{bundle.version}/card.md").decode() == model_card(bundle.card)
    assert load_card(store, "toy", bundle.version) == bundle.card


def test_storing_again_mends_what_was_damaged(store: LocalObjectStore) -> None:
    made = register(store)
    for name in ("weights.safetensors", "bundle.json"):
        store.put(f"models/toy/{made.version}/{name}", b"damaged")
        with pytest.raises(Unverified):
            load_bundle(store, "toy")
        assert keep(store).version == made.version
        assert load_bundle(store, "toy").tensors["a"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("name", "files"), [("toy", {"weights.safetensors": b"{}"}), (".", {}), ("a/b", {}), ("../a", {})]
)
def test_names_that_are_taken_or_lead_elsewhere_are_refused(
    store: LocalObjectStore, name: str, files: dict[str, bytes]
) -> None:
    with pytest.raises(Unverified, match=r"a name is of a-z, 0-9, _ and -, and bundle\.json, card\.md"):
        store_bundle(store, name, {"a": torch.ones(1)}, Preprocessing(), files=files)
    assert not list(store.list("models"))
