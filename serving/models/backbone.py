"""EfficientNet-Lite0: the one network behind detector and embedder.

Tan and Le, EfficientNet (arXiv:1905.11946), in the Lite variant of Google's release: no squeeze-and-excite,
ReLU6, 224 pixels. Batch normalisation is folded into the convolutions when the weights are converted, once,
so what runs is convolutions with a bias. Padding is TensorFlow's SAME, as the weights were trained.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Stage(NamedTuple):
    """A row of table 1 of the paper."""

    repeats: int
    kernel: int
    stride: int  # of the first block
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
_STEM = 32
# Stages whose output is the last of its resolution: strides 8, 16 and 32.
_TAPS = (2, 4, 6)

INPUT_SIZE = 224  # pixels a side
TAP_CHANNELS = tuple(STAGES[i].channels for i in _TAPS)
TAP_STRIDES = (8, 16, 32)


class Convolution(nn.Module):
    """A convolution with bias, SAME padding, and ReLU6 unless it is linear."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.stride, self.groups, self.linear = stride, groups, linear
        self.weight = nn.Parameter(torch.empty(outputs, inputs // groups, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(outputs))
        # SAME on an even side pads one more at the end than at the start when the stride is two.
        before, after = (kernel - stride) // 2, kernel - stride - (kernel - stride) // 2
        self.uneven = before != after
        self.padding = before
        self.border = (before, after, before, after)

    def forward(self, x: Tensor) -> Tensor:
        if self.uneven:
            x = F.conv2d(F.pad(x, self.border), self.weight, self.bias, self.stride, 0, 1, self.groups)
        else:
            x = F.conv2d(x, self.weight, self.bias, self.stride, self.padding, 1, self.groups)
        return x if self.linear else F.relu6(x, inplace=True)


class Block(nn.Module):
    """An inverted residual: widen, filter each channel, narrow; added to its input where shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = Convolution(inputs, wide, 1) if expansion != 1 else nn.Identity()
        self.depthwise = Convolution(wide, wide, kernel, stride=stride, groups=wide)
        self.project = Convolution(wide, outputs, 1, linear=True)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return y.add_(x) if self.residual else y


@dataclass(frozen=True, slots=True)
class Taps:
    """What the stages see: float32 (n, 40, s/8, s/8), (n, 112, s/16, s/16), (n, 320, s/32, s/32)."""

    fine: Tensor
    middle: Tensor
    coarse: Tensor


class Backbone(nn.Module):
    """Pictures, float32 (n, 3, s, s) normalised and s a multiple of 32, to feature maps."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, _STEM, 3, stride=2)
        stages: list[nn.Sequential] = []
        inputs = _STEM
        for stage in STAGES:
            blocks: list[Block] = []
            for i in range(stage.repeats):
                stride = stage.stride if i == 0 else 1
                blocks.append(Block(inputs, stage.channels, stage.kernel, stride, stage.expansion))
                inputs = stage.channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> Taps:
        x = self.stem(x)
        taps: list[Tensor] = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in _TAPS:
                taps.append(x)
        return Taps(*taps)
