"""From encoded picture to network input: the one way, in batch and online (promise P12)."""

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn import functional as F

from serving.images.decode import MAX_BYTES, MAX_PIXELS, decode

# A JPEG is decoded at the smallest scale that leaves this many pixels on its shorter side: enough for an
# item that fills half the picture to reach the networks unmagnified.
AT_LEAST: Literal[448] = 448


def open_picture(
    data: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """Encoded bytes to what detector and embedder take: uint8 (h, w, 3) RGB. Raises ``BadImage``."""
    return decode(data, max_bytes=max_bytes, max_pixels=max_pixels, at_least=AT_LEAST)


class Preprocessing(BaseModel):
    """What is done to a picture before the network sees it; part of a bundle, and of a generation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decode_at_least: Literal[448] = AT_LEAST
    size: int = 224  # pixels a side; the picture is stretched to a square
    # Averaging where it shrinks. Within one grey level of Pillow's, and five times as fast on bytes.
    resample: Literal["bilinear"] = "bilinear"
    antialias: Literal[True] = True
    mean: float = 127.0
    scale: float = 128.0  # EfficientNet-Lite's own: (value - 127) / 128

    @property
    def fingerprint(self) -> str:
        """16 hex digits, equal exactly for equal preprocessing."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    def apply(self, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Pictures or crops, uint8 (h, w, 3) each, to float32 (n, 3, size, size), channels last."""
        return self.normalised(self.pixels(pictures))

    def pixels(self, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Pictures or crops, uint8 (h, w, 3) each, to uint8 (n, 3, size, size), channels last."""
        shape = (len(pictures), 3, self.size, self.size)
        rows = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)
        for row, picture in zip(rows, pictures, strict=True):
            row.copy_(self._fit(picture))
        return rows

    def normalised(self, pixels: Tensor) -> Tensor:
        """What ``pixels`` gives to float32 as the backbone takes it."""
        return pixels.to(torch.float32).sub_(self.mean).div_(self.scale)

    def _fit(self, picture: NDArray[np.uint8]) -> Tensor:
        # torch shares the array's memory, and takes neither one that may not be written nor a flipped view.
        shared = torch.from_numpy(np.require(picture, requirements=("C", "W"))).permute(2, 0, 1)[None]
        size = (self.size, self.size)
        return F.interpolate(shared, size, mode=self.resample, antialias=self.antialias, align_corners=False)[
            0
        ]
