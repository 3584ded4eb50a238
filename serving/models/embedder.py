"""Crops to vectors whose cosine says how alike the items look."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from serving.models import runtime
from serving.models.backbone import TAP_CHANNELS, Backbone, Convolution
from serving.models.bundle import Bundle
from serving.models.network import fill

NAME = "embedder"


_LAST = 1280
# More weight on the middle layers finds the very product more often and its kind less often.
_MIDDLE_WEIGHT = 0.5
DESCRIPTOR = _LAST + TAP_CHANNELS[1] + TAP_CHANNELS[0]


class Descriptor(nn.Module):
    """What three layers see, averaged over the picture: float32 (n, 1432).

    The last layer knows what a thing is; the middle ones, at strides 16 and 8, colour, cloth and pattern,
    which tell one shirt from another. Measured: see ``imgsearch_assets.training.embedder``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.maps = Backbone()
        self.last = Convolution(TAP_CHANNELS[-1], _LAST, 1)

    def forward(self, x: Tensor) -> Tensor:
        taps = self.maps(x)
        last, middle, fine = (
            F.normalize(layer.mean((2, 3))) for layer in (self.last(taps.coarse), taps.middle, taps.fine)
        )
        return torch.cat((last, middle * _MIDDLE_WEIGHT, fine * _MIDDLE_WEIGHT), 1)


class EmbedderNetwork(nn.Module):
    """A descriptor, projected linearly, unit length."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.descriptor = Descriptor()
        self.project = nn.Linear(DESCRIPTOR, dim)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.project(self.descriptor(x)))


class Embedder:
    """The embedder of one bundle. Safe to call from several threads.

    Raises ``Unverified`` when the bundle's weights do not fit.
    """

    def __init__(self, bundle: Bundle, device: torch.device | None = None) -> None:
        if bundle.card.dim is None:
            raise ValueError(f"{bundle.name} {bundle.version} is no embedder: its card has no dim")
        self.version = bundle.version
        self.preprocessing = bundle.card.preprocessing.fingerprint
        self.dim = bundle.card.dim
        self._prepare = bundle.card.preprocessing.apply
        self._device = device or runtime.device()
        self.batch = runtime.batch_size(self._device)
        self._network = EmbedderNetwork(self.dim)
        fill(self._network, bundle.tensors, self._device)

    @torch.inference_mode()
    def embed(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Crops, uint8 (h, w, 3) RGB each, to float32 (n, dim), rows unit length, in their order."""
        vectors = np.empty((len(crops), self.dim), np.float32)
        for start in range(0, len(crops), self.batch):
            x = self._prepare(crops[start : start + self.batch]).to(self._device)
            vectors[start : start + self.batch] = self._network(x).cpu().numpy()
        return vectors
