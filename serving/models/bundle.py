"""A model as it is kept: weights, how its input is made, what it knows, how good it was, and a hash.

models/<name>/<version>/bundle.json           the card; the version is its SHA-256, shortened
models/<name>/<version>/weights.safetensors   named by hash and size on the card
models/<name>/<version>/tokenizer.json        where it reads text with a tokenizer of its own; by hash
models/<name>/<version>/card.md               the card for people, written from it
models/<name>/live.json                       which version is in use: see ``serving.models.live``
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError
from torch import Tensor

from serving.errors import NotFound, Unverified
from serving.models import weights_file
from serving.models.card import Block as Block
from serving.models.card import Card as Card
from serving.models.card import Text as Text
from serving.models.card_text import model_card
from serving.models.live import ANY as ANY
from serving.models.live import live_version as live_version
from serving.models.live import promote as promote
from serving.models.preprocess import Preprocessing
from serving.object_store import ObjectStore

TOKENIZER = "tokenizer.json"
_NAME = re.compile("[a-z0-9_-]+")
_OWN_FILES = frozenset({"bundle.json", "card.md", "weights.safetensors"})


@dataclass(frozen=True)
class Bundle:
    """A verified model: its card, its weights (each tensor as its network names it) and its further files."""

    card: Card
    tensors: Mapping[str, Tensor]
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def version(self) -> str:
        return self.card.version


def store_bundle(
    store: ObjectStore,
    name: str,
    tensors: Mapping[str, Tensor],
    preprocessing: Preprocessing,
    *,
    architecture: str = "efficientnet_lite0",
    categories: tuple[str, ...] = (),
    dim: int | None = None,
    blocks: tuple[Block, ...] = (),
    text: Text | None = None,
    files: Mapping[str, bytes] | None = None,
    metrics: Mapping[str, float] | None = None,
    training: Mapping[str, str | int | float] | None = None,
    dataset: str = "",
    split: str = "",
) -> Bundle:
    """Keep a model as a candidate: it can be loaded by its version, and is live only once promoted.

    The same content again changes nothing, but for a file that was damaged meanwhile, which it mends.
    ``files`` are kept beside the weights; only ``tokenizer.json`` is read back, by the hash that ``text``
    names. Raises ``Unverified`` for what ``load_bundle`` would refuse, before anything is written.
    """
    where = f"the model {name!r}"
    weights = weights_file.to_bytes(tensors)
    card = _card(
        {
            "name": name,
            "architecture": architecture,
            "preprocessing": preprocessing,
            "categories": categories,
            "dim": dim,
            "blocks": blocks,
            "text": text,
            "metrics": metrics or {},
            "training": training or {},
            "dataset": dataset,
            "split": split,
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
            "weights_size_bytes": len(weights),
        },
        where,
    )
    files = files or {}
    if not _NAME.fullmatch(name) or _OWN_FILES & files.keys():
        raise Unverified(
            f"{where}: a name is of a-z, 0-9, _ and -, and {', '.join(sorted(_OWN_FILES))} are taken"
        )
    if len(weights) > weights_file.MAX_BYTES:
        raise Unverified(f"{where} has {len(weights)} bytes of weights; {weights_file.MAX_BYTES} are allowed")
    weights_file.check(tensors, where)
    _check_shapes(card, tensors, where)
    _check_tokenizer(card, files.get(TOKENIZER), f"{TOKENIZER} of {where}")
    folder = _folder(name, card.version)
    # The card last: where there is a card, there is all it names.
    if not _is_whole(store, folder, card, files.get(TOKENIZER)):
        store.put(f"{folder}/weights.safetensors", weights)
        for file, data in files.items():
            store.put(f"{folder}/{file}", data)
        store.put(f"{folder}/card.md", model_card(card).encode())
        store.put(f"{folder}/bundle.json", card.to_bytes())
    return load_bundle(store, name, card.version)


def _is_whole(store: ObjectStore, folder: str, card: Card, tokenizer: bytes | None) -> bool:
    """Whether everything that loading would check is stored as it should be."""
    if not store.exists(f"{folder}/bundle.json") or store.get(f"{folder}/bundle.json") != card.to_bytes():
        return False
    try:
        weights = store.get(f"{folder}/weights.safetensors")
        same_tokenizer = tokenizer is None or store.get(f"{folder}/{TOKENIZER}") == tokenizer
    except NotFound:
        return False
    return same_tokenizer and hashlib.sha256(weights).hexdigest() == card.weights_sha256


def list_versions(store: ObjectStore, name: str) -> list[str]:
    """The versions that are stored, live or not, in order of their digits."""
    keys = (key.split("/") for key in store.list(f"models/{name}"))
    return [key[2] for key in keys if len(key) == 4 and key[3] == "bundle.json"]


def load_card(store: ObjectStore, name: str, version: str | None = None) -> Card:
    """The card alone, of the live version by default. Raises ``NotFound`` and ``Unverified``."""
    version = version or live_version(store, name)
    where = f"{_folder(name, version)}/bundle.json"
    data = store.get(where)
    if hashlib.sha256(data).hexdigest()[:16] != version:
        raise Unverified(f"{where} does not hash to its version")
    try:
        card = _card(json.loads(data), where)
    except ValueError as error:
        raise Unverified(f"{where} is not JSON") from error
    # A field that was since added or dropped: this code would call the same model by another version.
    if card.version != version:
        raise Unverified(f"{where} is of a format this code does not read")
    return card


def load_bundle(store: ObjectStore, name: str, version: str | None = None) -> Bundle:
    """The model of that version, the live one by default, hashed before it is read.

    Raises ``NotFound``, and ``Unverified`` with the reason: a file that does not hash, a card of another
    format, a pickle, a tensor of an odd type or with NaN, shapes that contradict the card, too many bytes.
    """
    card = load_card(store, name, version)
    where = f"{_folder(name, card.version)}/weights.safetensors"
    if card.weights_size_bytes > weights_file.MAX_BYTES:
        raise Unverified(f"{where} has {card.weights_size_bytes} bytes; {weights_file.MAX_BYTES} are allowed")
    # The size first: a file that is not the card's may be too large to read.
    if store.size(where) != card.weights_size_bytes:
        raise Unverified(f"{where} does not have the size that its card says")
    weights = store.get(where)
    if hashlib.sha256(weights).hexdigest() != card.weights_sha256:
        raise Unverified(f"{where} does not hash as its card says")
    tensors = weights_file.from_bytes(weights, where)
    _check_shapes(card, tensors, where)
    files: dict[str, bytes] = {}
    tokenizer = f"{_folder(name, card.version)}/{TOKENIZER}"
    if card.text and card.text.tokenizer == "file" and store.exists(tokenizer):
        files[TOKENIZER] = store.get(tokenizer)
    _check_tokenizer(card, files.get(TOKENIZER), tokenizer)
    return Bundle(card, tensors, files)


def _card(values: object, where: str) -> Card:
    try:
        return Card.model_validate(values)
    except ValidationError as error:
        if isinstance(values, dict) and values.get("format", 2) != 2:
            raise Unverified(f"{where} is of a format this code does not read") from error
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        raise Unverified(f"{where}: {at + ': ' if at else ''}{said}") from error


def _check_shapes(card: Card, tensors: Mapping[str, Tensor], where: str) -> None:
    """What the card alone says of shapes; the network says the rest when it is filled."""
    weight, bias = tensors.get("project.weight"), tensors.get("project.bias")
    if card.dim is None or (weight is None and bias is None):
        return
    if weight is None or bias is None:
        raise Unverified(f"{where}: project.weight and project.bias come together, one is missing")
    if weight.ndim != 2 or len(weight) != card.dim:
        raise Unverified(f"{where}: project.weight is {_shape(weight)}, its card says dim {card.dim}")
    if bias.shape != (card.dim,):
        raise Unverified(f"{where}: project.bias is {_shape(bias)}, its card says dim {card.dim}")


def _check_tokenizer(card: Card, data: bytes | None, where: str) -> None:
    if card.text is None or card.text.tokenizer == "clip":
        return
    if data is None:
        raise Unverified(f"{where} is missing, and the text tower needs it")
    if hashlib.sha256(data).hexdigest() != card.text.tokenizer_sha256:
        raise Unverified(f"{where} does not hash as its card says")


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"


def _folder(name: str, version: str) -> str:
    return f"models/{name}/{version}"
