"""Crops to vectors whose cosine says how alike the items look."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from serving.errors import Unverified
from serving.models import runtime
from serving.models.bundle import Bundle
from serving.models.card import Block, Card
from serving.models.network import fill
from serving.models.trunk import trunk

NAME = "embedder"


def assemble(y: Tensor, blocks: Sequence[Block] = ()) -> Tensor:
    """Projections float32 (n, dim) to rows of unit length, float32 (n, dim).

    Each block is brought to unit length by itself and multiplied by sqrt(weight / sum of weights), so that
    the cosine of two rows is the weighed mean of the blocks' cosines. Without blocks the row is one.
    """
    if len(blocks) < 2:
        return F.normalize(y)
    total = sum(block.weight for block in blocks)
    parts = torch.split(y, [block.dim for block in blocks], 1)  # type: ignore[no-untyped-call]
    gains = [(block.weight / total) ** 0.5 for block in blocks]
    return torch.cat([F.normalize(part) * gain for part, gain in zip(parts, gains, strict=True)], 1)


class EmbedderNetwork(nn.Module):
    """A trunk, projected linearly, assembled of blocks: float32 (n, 3, s, s) to float32 (n, dim), unit rows.

    Without a projection the vector is the trunk's own. Raises ``Unverified`` when that is not ``dim`` long,
    and for an architecture nobody knows.
    """

    def __init__(
        self, architecture: str, dim: int, blocks: Sequence[Block] = (), *, projected: bool = True
    ) -> None:
        super().__init__()
        self.trunk = trunk(architecture)
        self.blocks = tuple(blocks)
        width = self.trunk.width
        if not projected and width != dim:
            raise Unverified(f"{architecture} gives {width} numbers, dim is {dim}, and nothing projects them")
        self.project: nn.Module = nn.Linear(width, dim) if projected else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return assemble(self.project(self.trunk(x)), self.blocks)


class Embedder:
    """The embedder of one bundle. Safe to call from several threads.

    Raises ``Unverified`` when the bundle's weights do not fit.
    """

    def __init__(self, bundle: Bundle, device: torch.device | None = None) -> None:
        card: Card = bundle.card
        if card.dim is None:
            raise ValueError(f"{bundle.name} {bundle.version} is no embedder: its card has no dim")
        self.version = bundle.version
        self.preprocessing = card.preprocessing.fingerprint
        self.dim = card.dim
        self._prepare = card.preprocessing.apply
        self._device = device or runtime.device()
        self.batch = runtime.batch_size(self._device)
        self._network = EmbedderNetwork(
            card.architecture, card.dim, card.blocks, projected="project.weight" in bundle.tensors
        )
        pictures = {name: value for name, value in bundle.tensors.items() if not name.startswith("text.")}
        fill(self._network, pictures, self._device)

    @torch.inference_mode()
    def embed(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Crops, uint8 (h, w, 3) RGB each, to float32 (n, dim), rows unit length, in their order."""
        vectors = np.empty((len(crops), self.dim), np.float32)
        for start in range(0, len(crops), self.batch):
            x = self._prepare(crops[start : start + self.batch]).to(self._device)
            vectors[start : start + self.batch] = self._network(x).cpu().numpy()
        return vectors
