"""The network that looks at a picture, by the name of its architecture.

Every trunk takes float32 (n, 3, s, s), normalised as its bundle says, and gives float32 (n, width). Nothing
is ever downloaded: an architecture is code, its weights are those of the bundle.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from serving.errors import Unverified
from serving.models import foreign
from serving.models.backbone import TAP_CHANNELS, Backbone, Convolution

EFFICIENTNET_LITE0 = "efficientnet_lite0"

# More weight on the middle layers finds the very product more often and its kind less often.
_MIDDLE_WEIGHT = 0.5


class Trunk(nn.Module):
    """What every architecture here is: a module that knows how many numbers it gives."""

    width: int


class Descriptor(Trunk):
    """What three layers of EfficientNet-Lite0 see, averaged over the picture: float32 (n, 1432).

    The last layer knows what a thing is; the middle ones, at strides 16 and 8, colour, cloth and pattern,
    which tell one shirt from another. Measured: see ``docs/training.md``.
    """

    last_width = 1280  # of the last layer, whose numbers come first
    width = last_width + TAP_CHANNELS[1] + TAP_CHANNELS[0]

    def __init__(self) -> None:
        super().__init__()
        self.maps = Backbone()
        self.last = Convolution(TAP_CHANNELS[-1], self.last_width, 1)

    def forward(self, x: Tensor) -> Tensor:
        taps = self.maps(x)
        last, middle, fine = (
            F.normalize(layer.mean((2, 3))) for layer in (self.last(taps.coarse), taps.middle, taps.fine)
        )
        return torch.cat((last, middle * _MIDDLE_WEIGHT, fine * _MIDDLE_WEIGHT), 1)


def trunk(architecture: str) -> Trunk:
    """The network of that name, with weights that mean nothing yet.

    ``efficientnet_lite0``, ``timm/<model>`` or ``open_clip/<model>`` (its picture tower). Raises
    ``Unverified`` for a name nobody knows, and ``BadSettings`` where its library is not installed.
    """
    house, _, name = architecture.partition("/")
    if architecture == EFFICIENTNET_LITE0:
        return Descriptor()
    if house == "timm" and name:
        return _sized(*foreign.timm_model(name))
    if house == "open_clip" and name:
        return _sized(*foreign.open_clip_pictures(name))
    raise Unverified(
        f"no architecture is named {architecture!r}; there are {EFFICIENTNET_LITE0}, timm/<model> and "
        "open_clip/<model>"
    )


def _sized(network: nn.Module, width: int) -> Trunk:
    """``network`` as it is, so that its weights keep the names their house gave them, and its width said."""
    sized = cast(Trunk, network)
    sized.width = width
    return sized
