"""Crops to vectors whose cosine says how alike the items look."""

import copy
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from serving.errors import TextSearchOff, Unverified
from serving.models import runtime
from serving.models.bundle import Bundle
from serving.models.card import Block
from serving.models.engine import make_engine
from serving.models.network import fill
from serving.models.text import PREFIX, TextTower
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
    parts = torch.split(y, [block.dim for block in blocks], 1)
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

    Raises ``Unverified`` when the bundle's weights do not fit, and ``BadSettings`` where the library of its
    architecture is not installed.
    """

    def __init__(self, bundle: Bundle, device: torch.device | None = None) -> None:
        card = bundle.card
        if card.dim is None:
            raise ValueError(f"{bundle.name} {bundle.version} is no embedder: its card has no dim")
        self.version = bundle.version
        self.preprocessing = card.preprocessing.fingerprint
        self.dim = card.dim
        self.pixels = card.preprocessing.pixels
        device = device or runtime.device()
        self.batch = runtime.batch_size(device)
        self._text = TextTower(bundle, device) if card.text else None
        network = EmbedderNetwork(
            card.architecture, card.dim, card.blocks, projected="project.weight" in bundle.tensors
        )
        # Without a text tower, weights of one are left over, and refused like any others.
        pictures = {
            name: value
            for name, value in bundle.tensors.items()
            if self._text is None or not name.startswith(PREFIX)
        }
        check_width(card.architecture, network.trunk.width, pictures.get("project.weight"))
        fill(network, pictures, device)
        # Texts are projected as pictures are, on the CPU, for they are few.
        self._project, self._blocks = copy.deepcopy(network.project).cpu(), network.blocks
        self._engine = make_engine(
            network, card.preprocessing.example(), before=card.preprocessing.normalised, device=device
        )

    @property
    def reads_text(self) -> bool:
        """Whether ``embed_texts`` answers."""
        return self._text is not None

    def embed(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Crops, uint8 (h, w, 3) RGB each, to float32 (n, dim), rows unit length, in their order."""
        vectors = np.empty((len(crops), self.dim), np.float32)
        for start in range(0, len(crops), self.batch):
            vectors[start : start + self.batch] = self.of_pixels(
                self.pixels(crops[start : start + self.batch])
            )
        return vectors

    @torch.inference_mode()
    def of_pixels(self, x: Tensor) -> NDArray[np.float32]:
        """The same in one forward pass, of what ``pixels`` made of them."""
        return cast(Tensor, self._engine(x)).numpy()

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts to float32 (n, dim), rows unit length, to be compared with those of ``embed``.

        Raises ``BadInput`` for a text that is empty or too long, and ``TextSearchOff`` where the model has no
        text tower.
        """
        if self._text is None:
            raise TextSearchOff(f"embedder {self.version} has no text tower; search with a picture")
        vectors = np.empty((len(texts), self.dim), np.float32)
        for start in range(0, len(texts), self.batch):
            said = self._text(texts[start : start + self.batch])
            vectors[start : start + self.batch] = assemble(self._project(said), self._blocks).numpy()
        return vectors


def check_width(architecture: str, width: int, weight: Tensor | None) -> None:
    """Raises ``Unverified`` when a projection's ``weight`` (dim, ...) does not take the trunk's numbers."""
    if weight is not None and weight.shape[1:] != (width,):
        raise Unverified(f"project.weight takes {weight.shape[-1]} numbers, {architecture} gives {width}")
