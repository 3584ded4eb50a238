"""The last stage of the trunk, tuned with the head: what comes before it is frozen and looked at once.

On 1,024 photographs of ten kinds tuning it brought more than any head on frozen features: docs/training.md.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imgsearch_assets.models.shipped import imagenet_backbone
from imgsearch_assets.training.frozen import engine_of, frozen
from serving.models.backbone import INPUT_SIZE, STAGES, TAP_CHANNELS
from serving.models.engine import Engine
from serving.models.trunk import Descriptor

MIDDLE_WEIGHT = 0.5  # as in ``Descriptor``; a test compares the two
_LAST_STAGE = len(STAGES) - 1
_GRID = INPUT_SIZE // 32
_MAP = (STAGES[_LAST_STAGE - 1].channels, _GRID, _GRID)
_MAP_SIZE = _MAP[0] * _GRID * _GRID


class _Early(nn.Module):
    """Pictures to what the tail takes: float32 (n, 9560), the map before the last stage, then two means."""

    def __init__(self, trunk: Descriptor) -> None:
        super().__init__()
        self.maps = trunk.maps

    def forward(self, x: Tensor) -> Tensor:
        x = self.maps.stem(x)
        means = []
        for i in range(_LAST_STAGE):
            x = self.maps.stages[i](x)
            if STAGES[i].channels in TAP_CHANNELS:
                means.append(x.mean((2, 3)))
        fine, middle = means
        return torch.cat((x.flatten(1), middle, fine), 1)


class Tail(nn.Module):
    """What ``early_engine`` gives, float32 (n, 9560), to descriptors, float32 (n, 1432)."""

    def __init__(self, trunk: Descriptor) -> None:
        super().__init__()
        self.stage = trunk.maps.stages[_LAST_STAGE]
        self.last = trunk.last

    def forward(self, rows: Tensor) -> Tensor:
        x = rows[:, :_MAP_SIZE].reshape(-1, *_MAP).contiguous(memory_format=torch.channels_last)
        last = F.normalize(self.last(self.stage(x)).mean((2, 3)))
        middle, fine = rows[:, _MAP_SIZE : -TAP_CHANNELS[0]], rows[:, -TAP_CHANNELS[0] :]
        return torch.cat((last, F.normalize(middle) * MIDDLE_WEIGHT, F.normalize(fine) * MIDDLE_WEIGHT), 1)

    def tensors(self) -> dict[str, Tensor]:
        """As ``Descriptor`` names them."""
        names = {"stage.": f"maps.stages.{_LAST_STAGE}.", "last.": "last."}
        return {
            ours.replace(mine, theirs, 1): tensor.detach()
            for ours, tensor in self.state_dict().items()
            for mine, theirs in names.items()
            if ours.startswith(mine)
        }


def early_engine() -> Engine:
    """The trunk before its last stage: uint8 (n, 3, s, s) to float32 (n, 9560)."""
    return engine_of(_Early(_shipped()))


def tail() -> Tail:
    """The last stage with its ImageNet weights, ready to be tuned."""
    made = Tail(_shipped())
    made.requires_grad_(True)
    return made


def _shipped() -> Descriptor:
    return frozen(Descriptor(), imagenet_backbone())
