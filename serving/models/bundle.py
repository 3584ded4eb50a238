"""A model as it is kept: weights, how its input is made, what it knows, how good it was, and a hash.

models/<name>/<version>/bundle.json           the card; the version is its SHA-256, shortened
models/<name>/<version>/weights.safetensors   named by hash and size on the card
models/<name>/live.json                       which version is in use, moved by compare-and-set
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import safetensors
import safetensors.torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from serving.errors import NotFound, Unverified
from serving.models.preprocess import Preprocessing
from serving.object_store import ObjectStore


class Block(BaseModel):
    """A part of an embedder's vector, brought to unit length by itself and then weighed against the others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dim: int = Field(ge=1)
    weight: float = Field(1.0, gt=0, allow_inf_nan=False)


class Text(BaseModel):
    """A text tower beside the picture's; its weights are the tensors ``text.*``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokenizer: Literal["clip", "file"] = "clip"  # CLIP's own, or ``tokenizer.json`` of the bundle
    tokenizer_sha256: str = ""  # of that file
    context_length: int = Field(77, ge=1, le=1024)


class Card(BaseModel):
    """Everything about a model but the numbers themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = 2
    name: str
    # ``efficientnet_lite0``, ``timm/<model>`` or ``open_clip/<model>``: see ``serving.models.trunk``.
    architecture: str = "efficientnet_lite0"
    preprocessing: Preprocessing
    categories: tuple[str, ...] = ()  # what a detector tells apart, in the order of its outputs
    dim: int | None = None  # of an embedder's vectors: the sum of its blocks
    blocks: tuple[Block, ...] = ()  # of an embedder's vectors; none is one of ``dim``
    text: Text | None = None
    metrics: Mapping[str, float] = {}  # measured on ``split``
    training: Mapping[str, str | int | float] = {}  # what the weights came from
    dataset: str = ""  # version of the data set it learned from
    split: str = ""  # version of the held-out pictures that ``metrics`` speak of
    weights_sha256: str
    weights_size_bytes: int

    @property
    def version(self) -> str:
        """16 hex digits over the card, and through ``weights_sha256`` over the weights."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:16]

    def to_bytes(self) -> bytes:
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=1).encode()


@dataclass(frozen=True)
class Bundle:
    """A verified model: its card and its weights (each tensor as its network names it)."""

    card: Card
    tensors: Mapping[str, Tensor]

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def version(self) -> str:
        return self.card.version


def register_bundle(
    store: ObjectStore,
    name: str,
    tensors: Mapping[str, Tensor],
    preprocessing: Preprocessing,
    *,
    categories: tuple[str, ...] = (),
    dim: int | None = None,
    metrics: Mapping[str, float] | None = None,
    training: Mapping[str, str | int | float] | None = None,
) -> Bundle:
    """Keep a model and make it the live one. The same content again changes nothing.

    Raises ``Conflict`` when somebody else moved the live pointer at the same moment.
    """
    weights = safetensors.torch.save({key: value.contiguous() for key, value in tensors.items()})
    card = Card(
        name=name,
        preprocessing=preprocessing,
        categories=categories,
        dim=dim,
        metrics=metrics or {},
        training=training or {},
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        weights_size_bytes=len(weights),
    )
    folder = f"models/{name}/{card.version}"
    # The card last: where there is a card, there are weights.
    if not store.exists(f"{folder}/bundle.json"):
        store.put(f"{folder}/weights.safetensors", weights)
        store.put(f"{folder}/bundle.json", card.to_bytes())
    bundle = load_bundle(store, name, card.version)
    before = store.version(_live(name))
    if before is None or live_version(store, name) != card.version:
        pointer = json.dumps({"version": card.version}).encode()
        store.compare_and_set(_live(name), pointer, expected=before)
    return bundle


def live_version(store: ObjectStore, name: str) -> str:
    """The version in use. Raises ``NotFound`` when the model was never registered."""
    try:
        pointer = json.loads(store.get(_live(name)))
    except NotFound:
        raise NotFound(f"no model named {name!r} is registered in this object store") from None
    return str(pointer["version"])


def load_bundle(store: ObjectStore, name: str, version: str | None = None) -> Bundle:
    """The model of that version, the live one by default, hashed before it is read.

    Raises ``NotFound`` and ``Unverified``.
    """
    version = version or live_version(store, name)
    folder = f"models/{name}/{version}"
    text = store.get(f"{folder}/bundle.json")
    if hashlib.sha256(text).hexdigest()[:16] != version:
        raise Unverified(f"{folder}/bundle.json does not hash to its version")
    try:
        card = Card.model_validate_json(text)
    except ValidationError as error:
        raise Unverified(f"{folder}/bundle.json is of a format this code does not read") from error
    weights = store.get(f"{folder}/weights.safetensors")
    if len(weights) != card.weights_size_bytes or hashlib.sha256(weights).hexdigest() != card.weights_sha256:
        raise Unverified(f"{folder}/weights.safetensors does not hash as its card says")
    try:
        tensors = safetensors.torch.load(weights)
    except safetensors.SafetensorError as error:
        raise Unverified(f"{folder}/weights.safetensors is not a safetensors file") from error
    return Bundle(card, tensors)


def _live(name: str) -> str:
    return f"models/{name}/live.json"
