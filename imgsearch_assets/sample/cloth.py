"""Cloth: pattern times texture, at the sizes it is seen at."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from imgsearch_assets.sample.design import Design
from imgsearch_assets.sample.palette import RGB
from imgsearch_assets.sample.patterns import pattern_tile
from imgsearch_assets.sample.textures import PX_PER_CM, UNIT, Hand, hand, texture_tile

# The side of the tile of a surface without weave; nothing is cut from it, its one colour is taken.
SMOOTH_PX = 4


@dataclass(frozen=True)
class Cloth:
    """``mips[i]`` is the tile halved ``i`` times, uint8 (s, s, 3) RGB; every one of them repeats."""

    mips: tuple[NDArray[np.uint8], ...]
    hand: Hand

    @classmethod
    def woven(cls, tile: NDArray[np.uint8], hand: Hand) -> Self:
        mips = [tile]
        for _ in range(3):
            half = mips[-1].shape[0] // 2
            mips.append(cv2.resize(mips[-1], (half, half), interpolation=cv2.INTER_AREA))
        return cls(tuple(mips), hand)

    def at(self, px_per_cm: float) -> tuple[NDArray[np.uint8], float]:
        """The tile to look at from so far away, and its own pixels per centimetre."""
        level = int(np.clip(np.floor(np.log2(PX_PER_CM / px_per_cm) + 0.35), 0, len(self.mips) - 1))
        return self.mips[level], PX_PER_CM / 2**level


# A design's cloth is asked for once a piece and picture; a picture shows a handful of designs.
@lru_cache(maxsize=48)
def plain_cloth(rgb: RGB, texture: str) -> Cloth:
    """Cloth of one colour."""
    tile = cv2.multiply(texture_tile(texture), (*(channel / UNIT for channel in rgb), 0))
    return Cloth.woven(tile, hand(texture))


@lru_cache(maxsize=24)
def design_cloth(design: Design) -> Cloth:
    """The main cloth of a design."""
    tile = pattern_tile(design)
    if tile is None:
        return plain_cloth(design.colour.rgb, design.texture)
    tinted = cv2.multiply(tile, texture_tile(design.texture), scale=1 / UNIT)
    return Cloth.woven(tinted, hand(design.texture))


@lru_cache(maxsize=256)
def smooth_surface(rgb: RGB, folds: float, relief: float, gloss: float) -> Cloth:
    """Skin, hair, rubber, metal: one colour and no weave. The tile is tiny, for speed."""
    return Cloth((np.full((SMOOTH_PX, SMOOTH_PX, 3), rgb, np.uint8),), Hand(folds, relief, gloss))
