"""Paints shapes of cloth on a picture: cut out, grained, folded, lit, laid one over the other.

Shapes are in centimetres of a garment's frame; a ``View`` says where on the picture that frame lies.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from imgsearch_assets.sample.cloth import SMOOTH_PX, Cloth
from imgsearch_assets.sample.curves import Points, smooth, xy
from imgsearch_assets.sample.palette import RGB
from imgsearch_assets.sample.textures import UNIT, periodic_noise

Picture = NDArray[np.uint8]
_FINE = 4  # fractional bits of cv2's drawing coordinates
# Light is worked out on a coarse grid of about so many points a centimetre.
_LIT_PER_CM = 1.3
# How far a piece darkens what it lies on, and the most that light makes of a tone.
_SHADOW_CM = 1.8
_BRIGHTEST = round(1.3 * UNIT)
_FOLD_TILE_PX = 256


@dataclass(frozen=True, slots=True)
class Piece:
    """A cut of cloth. ``angle`` (radians) turns the grain; ``tone`` below 1 is a lining or a shadow side.

    ``behind`` pieces lie behind the wearer's body.
    """

    outline: Points
    cloth: Cloth
    angle: float = 0.0
    tone: float = 1.0
    relief: float = 1.0
    edge: float = 0.5
    behind: bool = False


@dataclass(frozen=True, slots=True)
class Seam:
    """A line on what is painted so far: darker below 1, lighter above; dashed for stitches."""

    line: Points
    tone: float = 0.72
    width_cm: float = 0.3
    dashed: bool = False
    rgb: RGB | None = None


@dataclass(frozen=True, slots=True)
class Stud:
    """A button, a rivet, an eyelet."""

    x: float
    y: float
    radius_cm: float
    rgb: RGB


Shape = Piece | Seam | Stud


@dataclass(frozen=True)
class View:
    """Centimetres to pixels: float32 (2, 3), and the pixels a centimetre takes."""

    matrix: NDArray[np.float32]
    px_per_cm: float

    @classmethod
    def looking(
        cls,
        centre_cm: tuple[float, float],
        centre_px: tuple[float, float],
        px_per_cm: float,
        turn: float = 0.0,
        squeeze: float = 1.0,
        shear: float = 0.0,
    ) -> Self:
        """``centre_cm`` comes to lie on ``centre_px``; turned by radians, narrowed and sheared as seen."""
        c, s = np.cos(turn), np.sin(turn)
        linear = px_per_cm * np.array([[c, -s], [s, c]]) @ np.array([[squeeze, 0], [shear, 1]])
        offset = np.array(centre_px) - linear @ np.array(centre_cm)
        return cls(np.column_stack([linear, offset]).astype(np.float32), px_per_cm)

    def pixels(self, points: Points) -> Points:
        return points @ self.matrix[:, :2].T + self.matrix[:, 2]

    def moved(self, dx: float, dy: float) -> "View":
        return View(self.matrix + xy([[0, 0, dx], [0, 0, dy]]), self.px_per_cm)


@dataclass(frozen=True)
class Light:
    """Where light comes from (a vector on the picture towards it), how hard, and how cloth lies."""

    x: float
    y: float
    hardness: float
    fold_seed: int

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Self:
        angle = rng.uniform(-2.6, -0.54)
        return cls(np.cos(angle), np.sin(angle), rng.uniform(0.75, 1.2), int(rng.integers(2**31)))


class Layer:
    """What is painted (uint8 (h, w, 3) RGB) and how much of each pixel it covers (uint8 (h, w))."""

    def __init__(self, height: int, width: int) -> None:
        self.rgb: Picture = np.zeros((height, width, 3), np.uint8)
        self.cover: Picture = np.zeros((height, width), np.uint8)

    def paint(self, shapes: Iterable[Shape], view: View, light: Light) -> Picture:
        """Lay ``shapes`` over what is there, in order; returns what they cover, uint8 (h, w)."""
        covered = np.zeros_like(self.cover)
        for number, shape in enumerate(shapes):
            if isinstance(shape, Piece):
                self._piece(shape, view, light, number, covered)
            elif isinstance(shape, Seam):
                self._seam(shape, view)
            else:
                self._stud(shape, view)
        return covered

    def _piece(self, piece: Piece, view: View, light: Light, number: int, covered: Picture) -> None:
        points = view.pixels(piece.outline)
        height, width = self.cover.shape
        coarse = int(2 ** np.clip(round(np.log2(view.px_per_cm / _LIT_PER_CM)), 1, 4))
        pad = max(coarse, round(_SHADOW_CM * view.px_per_cm))
        x0, y0 = (max(int(v) - pad, 0) for v in points.min(axis=0))
        x1, y1 = (int(v) + pad + 1 for v in points.max(axis=0))
        x1, y1 = min(x1, width), min(y1, height)
        if x1 - x0 < 2 or y1 - y0 < 2:
            return
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillPoly(mask, [_fixed(points - xy([x0, y0]))], 255, cv2.LINE_AA, _FINE)
        tone, shine, shadow = _lit(piece, mask, view, light, number, coarse)
        cloth = _cut(piece, view, x0, y0, cv2.merge([tone] * 3))
        if shine is not None:
            cloth = cv2.add(cloth, cv2.merge([shine] * 3))
        weight = mask.astype(np.float32) * np.float32(1 / 255)
        under = self.rgb[y0:y1, x0:x1]
        under_shaded = cv2.multiply(under, cv2.merge([shadow] * 3), scale=1 / UNIT)
        self.rgb[y0:y1, x0:x1] = cv2.blendLinear(cloth, under_shaded, weight, 1 - weight)
        # A pixel that was bare takes the cloth's own colour: the cover alone says how much of it shows.
        bare = self.cover[y0:y1, x0:x1] == 0
        cv2.copyTo(cloth, (bare & (mask > 0)).astype(np.uint8), self.rgb[y0:y1, x0:x1])
        for cover in (self.cover[y0:y1, x0:x1], covered[y0:y1, x0:x1]):
            cv2.max(cover, mask, cover)

    def _seam(self, seam: Seam, view: View) -> None:
        points = view.pixels(smooth(seam.line))
        thickness = max(round(seam.width_cm * view.px_per_cm), 1)
        height, width = self.cover.shape
        x0, y0 = (max(int(v) - thickness - 2, 0) for v in points.min(axis=0))
        x1, y1 = (
            min(int(points[:, 0].max()) + thickness + 3, width),
            min(int(points[:, 1].max()) + thickness + 3, height),
        )
        if x1 - x0 < 2 or y1 - y0 < 2:
            return
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        runs = [_fixed(points - xy([x0, y0]))]
        if seam.dashed:
            runs = _dashes(points - xy([x0, y0]), max(view.px_per_cm * 0.55, 3.0))
        cv2.polylines(mask, runs, False, 255, thickness, cv2.LINE_AA, _FINE)
        cv2.min(mask, self.cover[y0:y1, x0:x1], mask)
        area = self.rgb[y0:y1, x0:x1]
        weight = mask.astype(np.float32) * np.float32(1 / 255)
        if seam.rgb is not None:
            over = np.full_like(area, seam.rgb)
        else:
            over = cv2.convertScaleAbs(area, alpha=seam.tone)
        self.rgb[y0:y1, x0:x1] = cv2.blendLinear(over, area, weight, 1 - weight)

    def _stud(self, stud: Stud, view: View) -> None:
        x, y = view.pixels(xy([(stud.x, stud.y)]))[0]
        radius = max(stud.radius_cm * view.px_per_cm, 1.0)
        dark = tuple(int(channel * 0.55) for channel in stud.rgb)
        light = tuple(min(int(channel * 1.25 + 25), 255) for channel in stud.rgb)
        for dx, scale, rgb in (
            (radius * 0.22, 1.05, dark),
            (0.0, 1.0, stud.rgb),
            (-radius * 0.3, 0.3, light),
        ):
            centre = (round((x + dx) * 16), round((y + dx) * 16))
            cv2.circle(self.rgb, centre, round(radius * scale * 16), rgb, -1, cv2.LINE_AA, _FINE)

    def laid_on(self, ground: Picture) -> None:
        """Cover ``ground`` (uint8 (h, w, 3), changed in place) with this layer."""
        x, y, w, h = cv2.boundingRect(self.cover)
        if w == 0:
            return
        area = (slice(y, y + h), slice(x, x + w))
        weight = self.cover[area].astype(np.float32) * np.float32(1 / 255)
        ground[area] = cv2.blendLinear(self.rgb[area], ground[area], weight, 1 - weight)


def cast_shadow(
    cover: Picture, ground: Picture, dx: float, dy: float, blur_px: float, strength: float
) -> None:
    """Darken ``ground`` (uint8 (h, w, 3), in place) where what covers ``cover`` stands in the light."""
    height, width = cover.shape
    small = cv2.resize(cover, (width // 8, height // 8), interpolation=cv2.INTER_AREA)
    shift = xy([[1, 0, dx / 8], [0, 1, dy / 8]])
    small = cv2.warpAffine(small, shift, (small.shape[1], small.shape[0]))
    small = cv2.GaussianBlur(small, (0, 0), max(blur_px / 8, 0.5))
    tone = np.clip(UNIT * (1 - strength * small.astype(np.float32) / 255), 0, 255).astype(np.uint8)
    tone = cv2.resize(tone, (width, height), interpolation=cv2.INTER_LINEAR)
    cv2.multiply(ground, cv2.merge([tone] * 3), ground, scale=1 / UNIT)


def _fixed(points: Points) -> NDArray[np.int32]:
    return np.round(points * (1 << _FINE)).astype(np.int32)


def _dashes(points: Points, dash_px: float) -> list[NDArray[np.int32]]:
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    marks = np.arange(0, lengths[-1], dash_px)
    x, y = (np.interp(marks, lengths, points[:, i]) for i in (0, 1))
    ends = _fixed(np.stack([x, y], axis=1).astype(np.float32))
    return [ends[i : i + 2] for i in range(0, len(ends) - 1, 2)]


def _cut(piece: Piece, view: View, x0: int, y0: int, tone: Picture) -> Picture:
    """The cloth as it lies over the piece, lit by ``tone`` (uint8 (h, w, 3)): uint8 (h, w, 3)."""
    tile, tile_px_per_cm = piece.cloth.at(view.px_per_cm)
    cut: Picture
    if tile.shape[0] <= SMOOTH_PX:
        cut = cv2.multiply(tone, (*(int(channel) / UNIT for channel in tile[0, 0]), 0))
        return cut
    to_pixels = np.vstack([view.matrix, [0, 0, 1]]).astype(np.float64)
    to_cm = np.linalg.inv(to_pixels)
    c, s = np.cos(piece.angle), np.sin(piece.angle)
    grain = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) * np.array([[tile_px_per_cm], [tile_px_per_cm], [1]])
    corner = np.array([[1, 0, x0], [0, 1, y0], [0, 0, 1]])
    matrix = (grain @ to_cm @ corner)[:2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cut = cv2.warpAffine(tile, matrix, tone.shape[1::-1], flags=flags, borderMode=cv2.BORDER_WRAP)
    cv2.multiply(cut, tone, cut, scale=1 / UNIT)
    return cut


@lru_cache(maxsize=1)
def _fold_tiles() -> tuple[NDArray[np.float32], ...]:
    """Creases along y, in four tempers: float32 (_FOLD_TILE_PX, _FOLD_TILE_PX), about -1..1."""
    tiles = []
    for seed in range(4):
        rng = np.random.default_rng(1000 + seed)
        broad = periodic_noise(rng, 7, 3, _FOLD_TILE_PX)
        sharp = 1 - 2 * np.abs(np.tanh(periodic_noise(rng, 10, 4, _FOLD_TILE_PX)))
        tiles.append((0.55 * broad + 0.45 * sharp).astype(np.float32))
    return tuple(tiles)


def _lit(
    piece: Piece, mask: Picture, view: View, light: Light, number: int, coarse: int
) -> tuple[Picture, Picture | None, Picture]:
    """(tone of the piece, highlights to add or ``None``, tone of its shadow below), each uint8 (h, w)."""
    height, width = mask.shape
    small = cv2.resize(mask, (-(-width // coarse), -(-height // coarse)), interpolation=cv2.INTER_AREA)
    hand = piece.cloth.hand
    cm = view.px_per_cm / coarse
    height_map = cv2.GaussianBlur(small, (0, 0), max(2.6 * cm, 0.8)).astype(np.float32) / 255
    near = cv2.GaussianBlur(small, (0, 0), max(0.7 * cm, 0.6)).astype(np.float32) / 255

    tile = _fold_tiles()[(light.fold_seed + number) % 4]
    px = 6.5 / cm  # fold-tile pixels for a coarse pixel: a crease every few centimetres
    c, s = np.cos(piece.angle), np.sin(piece.angle)
    offset = (light.fold_seed >> 4) * 7 + number * 53
    matrix = xy([[c * px, s * px, offset % 251], [-s * px, c * px, (offset * 3) % 241]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    folds = cv2.warpAffine(tile, matrix, small.shape[::-1], flags=flags, borderMode=cv2.BORDER_WRAP)

    surface = height_map * (7.0 * piece.relief * hand.relief) + folds * (0.5 * hand.folds * piece.relief)
    dx = cv2.Sobel(surface, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    dy = cv2.Sobel(surface, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    slope = (dx * light.x + dy * light.y) * light.hardness * np.float32(min(cm, 2.0) * 0.62)
    rim = np.clip((near - 0.5) * 2, 0, 1)
    tone = (
        piece.tone
        * (1 - slope + 0.055 * hand.folds * piece.relief * folds)
        * (1 - piece.edge * 0.32 * (1 - rim))
    )
    full = (width, height)
    lit = cv2.resize(
        np.clip(tone * UNIT, 18, _BRIGHTEST).astype(np.uint8), full, interpolation=cv2.INTER_LINEAR
    )

    shine = None
    if hand.gloss > 0:
        glint = np.clip(-slope * 1.6 + 0.25 * folds - 0.12, 0, 1) ** 1.5 * (hand.gloss * 150)
        shine = cv2.resize(np.clip(glint, 0, 120).astype(np.uint8), full, interpolation=cv2.INTER_LINEAR)

    down = min(max(round(0.8 * cm), 1), small.shape[0] - 1)
    dark = np.zeros_like(near)
    dark[down:] = near[: len(near) - down]
    shade = (UNIT * (1 - 0.42 * dark)).astype(np.uint8)
    return lit, shine, cv2.resize(shade, full, interpolation=cv2.INTER_LINEAR)
