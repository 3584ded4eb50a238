"""Crops to vectors whose cosine says how alike the items look."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from serving.models import runtime
from serving.models.backbone import FEATURES, PooledBackbone
from serving.models.bundle import Bundle
from serving.models.network import fill

NAME = "embedder"


class EmbedderNetwork(nn.Module):
    """Pooled features, unit length, then a linear projection, unit length again."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.backbone = PooledBackbone()
        self.project = nn.Linear(FEATURES, dim)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.project(F.normalize(self.backbone(x))))


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
