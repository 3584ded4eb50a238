"""How cloth is made: textures as tiles of light and shade that repeat without a seam."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

TILE_PX = 512
PX_PER_CM = 16

# Tones are uint8 with this as "leave as it is".
UNIT = 128

Plane = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Hand:
    """How a texture hangs and shines: strength of folds, of roundness and of highlights, 0..1."""

    folds: float
    relief: float
    gloss: float


_HANDS: dict[str, Hand] = {
    "jersey": Hand(0.8, 0.8, 0.0),
    "slub": Hand(0.8, 0.8, 0.0),
    "rib": Hand(0.4, 0.9, 0.0),
    "pique": Hand(0.6, 0.8, 0.0),
    "poplin": Hand(1.0, 0.8, 0.05),
    "linen": Hand(1.2, 0.7, 0.0),
    "flannel": Hand(0.7, 0.9, 0.0),
    "denim": Hand(0.8, 0.9, 0.0),
    "satin": Hand(1.5, 0.9, 0.8),
    "crepe": Hand(1.0, 0.8, 0.1),
    "knit": Hand(0.4, 1.0, 0.0),
    "cable": Hand(0.3, 1.1, 0.0),
    "chunky": Hand(0.3, 1.2, 0.0),
    "fleece": Hand(0.5, 1.1, 0.0),
    "nylon": Hand(1.2, 1.1, 0.45),
    "wool": Hand(0.4, 0.9, 0.0),
    "tweed": Hand(0.35, 0.9, 0.0),
    "boucle": Hand(0.25, 1.1, 0.0),
    "corduroy": Hand(0.5, 0.9, 0.05),
    "gabardine": Hand(0.7, 0.9, 0.05),
    "leather": Hand(0.6, 1.2, 0.7),
    "suede": Hand(0.3, 1.1, 0.05),
    "canvas": Hand(0.4, 0.9, 0.0),
    "quilted": Hand(0.2, 1.2, 0.6),
    "felt": Hand(0.15, 1.2, 0.0),
    "straw": Hand(0.1, 1.1, 0.1),
}
TEXTURES: tuple[str, ...] = tuple(_HANDS)


def hand(texture: str) -> Hand:
    return _HANDS[texture]


def periodic_noise(rng: np.random.Generator, cells_x: int, cells_y: int, size: int = TILE_PX) -> Plane:
    """Smooth noise that repeats every ``size`` pixels: float32 (size, size), mean 0, deviation 1."""
    coarse = np.pad(rng.standard_normal((cells_y, cells_x)).astype(np.float32), 2, mode="wrap")
    wide = (size * (cells_x + 4) // cells_x, size * (cells_y + 4) // cells_y)
    fine = cv2.resize(coarse, wide, interpolation=cv2.INTER_CUBIC)
    x, y = (wide[0] - size) // 2, (wide[1] - size) // 2
    plane = fine[y : y + size, x : x + size]
    return np.ascontiguousarray((plane - plane.mean()) / (plane.std() + 1e-6))


@lru_cache(maxsize=1)
def _grid() -> tuple[Plane, Plane]:
    y, x = np.mgrid[0:TILE_PX, 0:TILE_PX].astype(np.float32)
    return x, y


def _wave(coordinate: Plane, period_px: float) -> Plane:
    """-1..1, highest in the middle of each period."""
    wave: Plane = -np.cos(coordinate * np.float32(2 * np.pi / period_px))
    return wave


def _grain(rng: np.random.Generator, strength: float, cells_x: int = 256, cells_y: int = 256) -> Plane:
    return strength * periodic_noise(rng, cells_x, cells_y)


def _smooth_cloth(rng: np.random.Generator) -> Plane:
    return _grain(rng, 0.02)


def _slub(rng: np.random.Generator) -> Plane:
    return _grain(rng, 0.045, 24, 256) + _grain(rng, 0.02)


def _weave(rng: np.random.Generator) -> Plane:
    x, y = _grid()
    return 0.03 * _wave(x, 4) * _wave(y, 4) + _grain(rng, 0.025)


def _linen(rng: np.random.Generator) -> Plane:
    return _grain(rng, 0.035, 20, 256) + _grain(rng, 0.035, 256, 20)


def _rib(rng: np.random.Generator) -> Plane:
    x, _ = _grid()
    return 0.13 * _wave(x, 12.8) + _grain(rng, 0.025)


def _pique(rng: np.random.Generator) -> Plane:
    x, y = _grid()
    return 0.06 * _wave(x + y, 8) * _wave(x - y, 8) + _grain(rng, 0.02)


def _twill(rng: np.random.Generator) -> Plane:
    x, y = _grid()
    return 0.035 * _wave(x + y, 512 / 96) + _grain(rng, 0.02)


def _denim(rng: np.random.Generator) -> Plane:
    x, y = _grid()
    return 0.07 * _wave(x + 2 * y, 512 / 64) + _grain(rng, 0.05, 256, 128) + _grain(rng, 0.035, 64, 10)


def _stitches(rng: np.random.Generator, width_px: float, strength: float) -> Plane:
    """Columns of the V of stocking stitch."""
    x, y = _grid()
    across = np.abs((x % width_px) / width_px - 0.5) * 2  # 0 in the middle of a column, 1 between two
    legs = _wave(y - across * width_px * 0.55, width_px * 0.75 if 512 % (width_px * 0.75) == 0 else width_px)
    stitches: Plane = strength * (0.6 * legs + 0.4 * (1 - 2 * across**3)) + _grain(rng, 0.03)
    return stitches


def _knit(rng: np.random.Generator) -> Plane:
    return _stitches(rng, 8, 0.12)


def _chunky(rng: np.random.Generator) -> Plane:
    return _stitches(rng, 32, 0.17)


def _cable(rng: np.random.Generator) -> Plane:
    x, y = _grid()
    inside = (x % 128) / 128  # a cable and a purl ground every 8 cm
    strand_a = 0.3 + 0.13 * np.sin(y * 2 * np.pi / 64)
    strand_b = 0.3 - 0.13 * np.sin(y * 2 * np.pi / 64)
    cord = np.maximum(1 - np.abs(inside - strand_a) / 0.13, 1 - np.abs(inside - strand_b) / 0.13)
    cables: Plane = (
        0.24 * np.clip(cord, 0, 1) - 0.08 + 0.05 * _wave(y, 8) * (cord < 0) + _stitches(rng, 8, 0.05)
    )
    return cables


def _fleece(rng: np.random.Generator) -> Plane:
    return _grain(rng, 0.03, 128, 128) + _grain(rng, 0.025, 40, 40)


def _wool(rng: np.random.Generator) -> Plane:
    return _grain(rng, 0.04, 128, 128) + _grain(rng, 0.03)


def _tweed(rng: np.random.Generator) -> Plane:
    x, y = _grid()
    bones = _wave(x + np.abs((y % 64) - 32), 16)
    return 0.08 * bones + _grain(rng, 0.12, 128, 128) + _grain(rng, 0.06)


def _boucle(rng: np.random.Generator) -> Plane:
    curls: Plane = np.abs(_grain(rng, 0.16, 80, 80)) - np.float32(0.12)
    return curls + _grain(rng, 0.04)


def _corduroy(rng: np.random.Generator) -> Plane:
    x, _ = _grid()
    return 0.17 * _wave(x, 512 / 56) + _grain(rng, 0.03, 256, 64)


def _leather(rng: np.random.Generator) -> Plane:
    creases: Plane = np.exp(-5 * np.abs(periodic_noise(rng, 96, 96)))
    return -0.09 * creases + _grain(rng, 0.025, 24, 24) + 0.01


def _suede(rng: np.random.Generator) -> Plane:
    return _grain(rng, 0.05, 128, 128) + _grain(rng, 0.05, 14, 14)


def _canvas(rng: np.random.Generator) -> Plane:
    x, y = _grid()
    return 0.06 * _wave(x, 8) * _wave(y, 8) + _grain(rng, 0.04, 128, 128)


def _quilted(rng: np.random.Generator) -> Plane:
    x, y = _grid()
    ridge = np.minimum(np.abs(((x + y) % 64) - 32), np.abs(((x - y) % 64) - 32)) / 32  # 0 mid-seam .. 1
    seam = np.minimum(((x + y) % 64), ((x - y) % 64))
    quilt: Plane = (
        0.16 * (1 - ridge) - 0.22 * np.exp(-(np.minimum(seam, 64 - seam) ** 2) / 8) + _grain(rng, 0.02)
    )
    return quilt


def _straw(rng: np.random.Generator) -> Plane:
    x, y = _grid()
    return 0.13 * _wave(x, 16) * _wave(y, 8) + _grain(rng, 0.06, 128, 128)


_MAKERS: dict[str, Callable[[np.random.Generator], Plane]] = {
    "slub": _slub,
    "rib": _rib,
    "pique": _pique,
    "poplin": _weave,
    "linen": _linen,
    "flannel": _wool,
    "denim": _denim,
    "knit": _knit,
    "cable": _cable,
    "chunky": _chunky,
    "fleece": _fleece,
    "wool": _wool,
    "tweed": _tweed,
    "boucle": _boucle,
    "corduroy": _corduroy,
    "gabardine": _twill,
    "leather": _leather,
    "suede": _suede,
    "canvas": _canvas,
    "quilted": _quilted,
    "felt": _suede,
    "straw": _straw,
}


@cache
def texture_tile(texture: str) -> NDArray[np.uint8]:
    """The texture's tone, ``UNIT`` where it changes nothing: uint8 (TILE_PX, TILE_PX, 3), read-only.

    The same in every process: the noise in it is seeded by the texture's place in the list.
    """
    rng = np.random.default_rng(TEXTURES.index(texture))
    plane = 1 + _MAKERS.get(texture, _smooth_cloth)(rng)
    tile = np.clip(plane * UNIT, 30, 230).astype(np.uint8)
    tile = np.repeat(tile[:, :, None], 3, axis=2)
    tile.setflags(write=False)
    return tile
