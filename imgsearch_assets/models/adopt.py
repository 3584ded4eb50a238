"""Weights that others trained, made a candidate: a state dict of timm or of open_clip becomes a bundle.

Nothing is downloaded. The file is whatever the team has: a fine-tuned ViT, or the safetensors file of
Marqo-FashionSigLIP (``open_clip/ViT-B-16-SigLIP``). How its input is made is taken from the architecture.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from serving.errors import BadInput, Unverified
from serving.models import embedder, extras, foreign, weights_file
from serving.models.bundle import TOKENIZER, Bundle, store_bundle
from serving.models.card import Text
from serving.models.network import fill
from serving.models.preprocess import Preprocessing
from serving.models.text import tokenizer
from serving.models.trunk import EFFICIENTNET_LITE0, trunk
from serving.object_store import ObjectStore

Fit = Literal["stretch", "crop"]

# open_clip's own of these have learned it; they weigh the loss and are not part of a vector.
_LOSS = frozenset({"logit_scale", "logit_bias"})
# What fills up a short text, by the word that the architecture's name holds; the longer word first.
_PAD_IDS = {"SigLIP2": 0, "SigLIP": 1}


@dataclass(frozen=True)
class Towers:
    """A state dict taken apart; each tensor as its tower names it."""

    pictures: dict[str, Tensor]
    texts: dict[str, Tensor] = field(default_factory=dict)


def towers(architecture: str, tensors: Mapping[str, Tensor]) -> Towers:
    """The tensors of ``architecture``'s towers, without classifier and loss.

    Raises ``BadInput`` for an architecture of this house, ``Unverified`` for an unknown one.
    """
    house, _, name = architecture.partition("/")
    if house == "timm" and name:
        dropped = foreign.timm_classifier(name)
        kept = {key: value for key, value in tensors.items() if key.rpartition(".")[0] not in dropped}
        return Towers(kept)
    if house == "open_clip" and name:
        every = extras.open_clip().model.convert_to_custom_text_state_dict(dict(tensors))
        pictures, texts = {}, {}
        for key, value in every.items():
            tower, _, rest = key.partition(".")
            if tower == "visual":
                pictures[rest] = value
            elif tower == "text":
                texts[rest] = value
            elif key not in _LOSS:
                raise Unverified(f"the weights hold {key!r}, which is no part of an open_clip model")
        return Towers(pictures, texts)
    raise BadInput(
        f"weights are adopted for timm/<model> and open_clip/<model>, not for {architecture!r}"
        + (": train that here" if architecture == EFFICIENTNET_LITE0 else "")
    )


def input_of(architecture: str, fit: Fit | None = None) -> Preprocessing:
    """How pictures are made ready for an architecture's own weights; ``fit`` overrides theirs.

    Raises ``Unverified`` for a name nobody knows.
    """
    house, _, name = architecture.partition("/")
    said = foreign.timm_input(name) if house == "timm" else foreign.open_clip_input(name)
    return Preprocessing.model_validate(
        {
            "size": said.size,
            "fit": fit or ("crop" if said.crop else "stretch"),
            "resample": said.resample,
            "mean": tuple(255 * value for value in said.mean),
            "scale": tuple(255 * value for value in said.std),
        }
    )


def text_of(architecture: str, file: bytes | None) -> Text:
    """How an open_clip architecture reads text. ``file`` is its ``tokenizer.json`` where it is not CLIP's.

    Raises ``BadInput`` where the file is missing or not wanted, ``Unverified`` where texts are made ready in
    a way this code does not know.
    """
    name = architecture.partition("/")[2]
    config = foreign.open_clip_config(name)["text_cfg"]
    length = int(config.get("context_length", 77))
    of, options = config.get("hf_tokenizer_name"), dict(config.get("tokenizer_kwargs") or {})
    if of is None:
        if file is not None:
            raise BadInput(f"{architecture} reads text with CLIP's own tokenizer: leave out the file")
        return Text(context_length=length)
    if file is None:
        raise BadInput(f"{architecture} reads text with the tokenizer of {of}: give its tokenizer.json")
    clean = options.pop("clean", "whitespace")
    pad_id = next((pad for word, pad in _PAD_IDS.items() if word in name), None)
    if options or pad_id is None:
        raise Unverified(f"how {architecture} makes a text ready is not known here: adopt its pictures only")
    return Text(
        tokenizer="file",
        tokenizer_sha256=hashlib.sha256(file).hexdigest(),
        context_length=length,
        pad_id=pad_id,
        clean=clean,
    )


def adopt(
    store: ObjectStore,
    architecture: str,
    weights: Path,
    *,
    tokenizer_file: Path | None = None,
    projection: Path | None = None,
    texts: bool = True,
    fit: Fit | None = None,
    source: str = "",
) -> Bundle:
    """Keep the weights of a safetensors file as an embedder, which is a candidate until it is promoted.

    ``projection`` holds ``weight`` (dim, width) and ``bias`` (dim,); without one a vector is as wide as the
    trunk. Without ``texts`` a text tower is left out. ``source`` says where the weights came from.
    Raises ``BadInput`` for files that are not there, ``Unverified`` for weights that do not fit.
    """
    parts = towers(architecture, _tensors(weights))
    network = trunk(architecture)
    fill(network, parts.pictures, torch.device("cpu"))
    tensors = {f"trunk.{key}": value for key, value in parts.pictures.items()}
    dim = network.width
    if projection:
        projected = _tensors(projection)
        if set(projected) != {"weight", "bias"}:
            raise Unverified(f"{projection} holds {sorted(projected)}; a projection is weight and bias")
        embedder.check_width(architecture, network.width, projected["weight"])
        dim = len(projected["weight"])
        tensors |= {f"project.{key}": value for key, value in projected.items()}
    text, files = None, {}
    if texts and parts.texts:
        file = _bytes(tokenizer_file) if tokenizer_file else None
        text = text_of(architecture, file)
        tokenizer(text, file or b"")
        fill(foreign.open_clip_texts(architecture.partition("/")[2]), parts.texts, torch.device("cpu"))
        tensors |= {f"text.{key}": value for key, value in parts.texts.items()}
        files = {TOKENIZER: file} if file is not None else {}
    elif tokenizer_file:
        raise BadInput(f"{tokenizer_file}: without a text tower there is nothing to tokenize for")
    return store_bundle(
        store,
        embedder.NAME,
        tensors,
        input_of(architecture, fit),
        architecture=architecture,
        dim=dim,
        text=text,
        files=files,
        metrics={},
        training={"source": source or weights.name},
    )


def _tensors(path: Path) -> dict[str, Tensor]:
    return weights_file.from_bytes(_bytes(path), path.name)


def _bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > weights_file.MAX_BYTES:
            raise BadInput(f"{path} has {size} bytes; {weights_file.MAX_BYTES} are allowed")
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
