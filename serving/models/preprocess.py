"""From encoded picture to network input: the one way, in batch and online (promise P12)."""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from serving.images.decode import MAX_BYTES, MAX_PIXELS, decode

# A picture is decoded at the smallest scale that leaves this many pixels on its shorter side: enough for an
# item that fills half the picture to reach the networks unmagnified.
AT_LEAST: Literal[448] = 448

Level = Annotated[float, Field(allow_inf_nan=False)]
Width = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def open_picture(
    data: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """Encoded bytes to what detector and embedder take: uint8 (h, w, 3) RGB. Raises ``BadImage``."""
    return decode(data, max_bytes=max_bytes, max_pixels=max_pixels, at_least=AT_LEAST)


class Preprocessing(BaseModel):
    """What is done to a picture before the network sees it; part of a bundle, and of a generation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decode_at_least: Literal[448] = AT_LEAST
    size: int = Field(default=224, ge=32, le=1024)  # pixels a side of the square that the network sees
    # Stretched to the square; or scaled until it covers the square, and what stands over at the ends lost.
    fit: Literal["stretch", "crop"] = "stretch"
    # Averaging where it shrinks. Within one grey level of Pillow's, and five times as fast on bytes.
    resample: Literal["bilinear", "bicubic"] = "bilinear"
    antialias: Literal[True] = True
    # (value - mean) / scale, of grey levels 0 to 255: one number, or one each of red, green and blue.
    mean: Level | tuple[Level, Level, Level] = 127.0
    scale: Width | tuple[Width, Width, Width] = 128.0  # EfficientNet-Lite's own

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
        """What ``pixels`` gives to float32 as the trunk takes it."""
        mean, scale = _by_channel(self.mean, pixels), _by_channel(self.scale, pixels)
        return pixels.to(torch.float32).sub_(mean).div_(scale)

    def example(self) -> Tensor:
        """Pixels of one picture that is noise, always the same: uint8 (1, 3, size, size), channels last."""
        noise = torch.Generator().manual_seed(0)
        shape = (1, 3, self.size, self.size)
        pixels = torch.randint(0, 256, shape, generator=noise, dtype=torch.uint8)
        return pixels.contiguous(memory_format=torch.channels_last)

    def _fit(self, picture: NDArray[np.uint8]) -> Tensor:
        # torch shares the array's memory, and takes neither one that may not be written nor a flipped view.
        shared = torch.from_numpy(np.require(picture, requirements=("C", "W"))).permute(2, 0, 1)[None]
        height, width = shared.shape[2:]
        size = (self.size, self.size)
        if self.fit == "crop":
            shorter = min(height, width)
            size = (self.size * height // shorter, self.size * width // shorter)
        resized = F.interpolate(
            shared, size, mode=self.resample, antialias=self.antialias, align_corners=False
        )[0]
        top, left = (size[0] - self.size) // 2, (size[1] - self.size) // 2
        return resized[:, top : top + self.size, left : left + self.size]


def _by_channel(values: float | tuple[float, ...], like: Tensor) -> float | Tensor:
    """One number as it is, three as float32 (3, 1, 1)."""
    if isinstance(values, float):
        return values
    return torch.tensor(values, dtype=torch.float32, device=like.device)[:, None, None]
