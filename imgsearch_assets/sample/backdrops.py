"""What garments are seen against: the studio's paper, streets out of focus, floors and beds."""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from imgsearch_assets.sample.cloth import smooth_surface
from imgsearch_assets.sample.curves import box, outline, xy
from imgsearch_assets.sample.painter import Piece
from imgsearch_assets.sample.palette import COLOURS, RGB, ink, mixed, shaded
from imgsearch_assets.sample.textures import UNIT, periodic_noise, texture_tile

Picture = NDArray[np.uint8]


def _gradient(height: int, width: int, top: RGB, bottom: RGB) -> Picture:
    t = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    column = ink(top) * (1 - t) + ink(bottom) * t
    return np.repeat(column.astype(np.uint8)[:, None, :], width, axis=1)


def studio(rng: np.random.Generator, height: int, width: int, tinted: bool) -> Picture:
    """Seamless paper, white or softly tinted, brighter where the lamp stands: uint8 (h, w, 3)."""
    if tinted:
        base = mixed((238, 235, 230), COLOURS[int(rng.integers(len(COLOURS)))].rgb, rng.uniform(0.12, 0.3))
    else:
        level = int(rng.integers(236, 250))
        base = (level, level, level - int(rng.integers(0, 5)))
    paper = _gradient(height, width, shaded(base, 1.02), shaded(base, rng.uniform(0.9, 0.97)))
    x, y = rng.uniform(0.2, 0.8) * width, rng.uniform(0.1, 0.5) * height
    glow = np.zeros((height // 16, width // 16), np.uint8)
    cv2.circle(glow, (int(x / 16), int(y / 16)), max(width // 40, 2), 255, -1)
    glow = cv2.GaussianBlur(glow, (0, 0), width / 70)
    glow = cv2.resize(glow, (width, height), interpolation=cv2.INTER_CUBIC)
    picture: Picture = cv2.add(paper, cv2.merge([cv2.convertScaleAbs(glow, alpha=0.12)] * 3))
    return picture


@lru_cache(maxsize=1)
def _film() -> Picture:
    """Grain about ``UNIT``: uint8 (1024, 1024, 3)."""
    grain = np.random.default_rng(99).standard_normal((1024, 1024)) * 16 + UNIT
    return np.repeat(np.clip(grain, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def grained(picture: Picture, rng: np.random.Generator, strength: float) -> Picture:
    """The picture with a sensor's noise, ``strength`` 0..1: uint8 (h, w, 3)."""
    height, width = picture.shape[:2]
    y, x = rng.integers(0, 1024 - np.array([height, width]) + 1)
    film = _film()[y : y + height, x : x + width]
    noisy: Picture = cv2.addWeighted(picture, 1.0, film, strength, -UNIT * strength)
    return noisy


def _textured(
    height: int, width: int, rgb: RGB, texture: str, rng: np.random.Generator, zoom: float
) -> Picture:
    """A surface of one colour with a texture, seen from so far: uint8 (h, w, 3)."""
    tile = texture_tile(texture)
    dx, dy = rng.integers(0, tile.shape[0], 2)
    matrix = xy([[zoom, 0, dx], [0, zoom, dy]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    tone = cv2.warpAffine(tile, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_WRAP)
    surface: Picture = cv2.multiply(tone, (*(channel / UNIT for channel in rgb), 0))
    return surface


def _bricks(rng: np.random.Generator, height: int, width: int) -> Picture:
    base = np.array([(150, 84, 66), (176, 160, 146), (120, 112, 108), (196, 120, 92)])[rng.integers(4)]
    wall = np.full((height, width, 3), (base * 0.72 + 50).astype(int), np.uint8)
    rows = int(rng.integers(14, 24))
    deep = height / rows
    long = deep * rng.uniform(2.2, 3.0)
    for row in range(rows + 1):
        shift = (row % 2) * long / 2
        for column in range(int(width / long) + 2):
            rgb = np.clip(base * rng.uniform(0.84, 1.14), 0, 255)
            x, y = int(column * long - shift), int(row * deep)
            cv2.rectangle(wall, (x + 1, y + 1), (int(x + long) - 2, int(y + deep) - 2), rgb.tolist(), -1)
    return wall


def _planks(rng: np.random.Generator, height: int, width: int) -> Picture:
    base = np.array([(160, 118, 80), (196, 164, 126), (104, 76, 56), (188, 182, 172)])[rng.integers(4)]
    wide = int(rng.integers(width // 9, width // 4))
    floor = np.empty((height, width, 3), np.uint8)
    for x in range(0, width, wide):
        floor[:, x : x + wide] = np.clip(base * rng.uniform(0.86, 1.12), 0, 255).astype(np.uint8)
    grain = periodic_noise(rng, 48, 5, 256)
    tone = cv2.resize(np.clip(UNIT * (1 + 0.07 * grain), 0, 255).astype(np.uint8), (width, height))
    floor[:] = cv2.multiply(floor, cv2.merge([tone] * 3), scale=1 / UNIT)
    for x in range(wide, width, wide):
        cv2.line(floor, (x, 0), (x, height), (base * 0.5).tolist(), 2)
    return floor


def _tiles(rng: np.random.Generator, height: int, width: int) -> Picture:
    a, b = np.array(
        [
            ((226, 222, 214), (70, 74, 80)),
            ((214, 206, 190), (150, 170, 176)),
            ((236, 234, 230), (222, 218, 210)),
        ]
    )[rng.integers(3)]
    side = int(rng.integers(width // 9, width // 4))
    y, x = np.mgrid[0:height, 0:width] // side
    floor: Picture = np.where(((x + y) % 2)[:, :, None] == 0, a, b).astype(np.uint8)
    for v in range(0, max(height, width), side):
        cv2.line(floor, (v, 0), (v, height), (150, 146, 140), 1)
        cv2.line(floor, (0, v), (width, v), (150, 146, 140), 1)
    return floor


def surface(rng: np.random.Generator, height: int, width: int) -> Picture:
    """A floor, a bed or a table, seen from above: uint8 (h, w, 3)."""
    kind = int(rng.integers(5))
    if kind == 0:
        return _planks(rng, height, width)
    if kind == 1:
        return _tiles(rng, height, width)
    rgb = COLOURS[int(rng.integers(len(COLOURS)))].rgb
    soft = mixed(rgb, (200, 200, 200), 0.55)
    if kind == 2:
        return _textured(height, width, soft, "boucle", rng, rng.uniform(0.5, 1.0))
    sheet = _textured(height, width, soft, "linen", rng, rng.uniform(0.4, 0.8))
    folds = periodic_noise(rng, 4, 5, 256)
    strength = 0.09 if kind == 3 else 0.05
    tone = cv2.resize(
        np.clip(UNIT * (1 + strength * folds), 0, 255).astype(np.uint8),
        (width, height),
        interpolation=cv2.INTER_CUBIC,
    )
    picture: Picture = cv2.multiply(sheet, cv2.merge([tone] * 3), scale=1 / UNIT)
    return picture


def street(rng: np.random.Generator, height: int, width: int) -> Picture:
    """A place behind a person, out of focus: uint8 (h, w, 3)."""
    # Worked out at half size: it is out of focus anyway.
    h, w = height // 2, width // 2
    kind = int(rng.integers(5))
    if kind == 0:
        wall = _bricks(rng, h, w)
    elif kind == 1:
        wall = _textured(h, w, COLOURS[int(rng.integers(len(COLOURS)))].rgb, "suede", rng, 1.0)
        wall = cv2.addWeighted(wall, 0.55, np.full_like(wall, 200), 0.45, 0)
    elif kind == 2:
        wall = _foliage(rng, h, w)
    else:
        wall = _city(rng, h, w)
    horizon = int(h * rng.uniform(0.68, 0.9))
    ground = [(128, 126, 124), (150, 140, 128), (92, 94, 98), (120, 130, 96)][int(rng.integers(4))]
    wall[horizon:] = _textured(h - horizon, w, ground, "tweed", rng, 0.9)
    if kind < 2:
        _furnish(rng, wall, horizon)
    blurred = cv2.GaussianBlur(wall, (0, 0), rng.uniform(0.8, 3.0))
    picture: Picture = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
    return picture


def _foliage(rng: np.random.Generator, h: int, w: int) -> Picture:
    greens = np.array([(52, 84, 44), (88, 122, 60), (120, 148, 84), (36, 58, 38), (156, 168, 104)])
    leaves = np.full((h, w, 3), greens[3], np.uint8)
    for _ in range(110):
        x, y, r = int(rng.integers(w)), int(rng.integers(h)), int(rng.integers(6, max(h // 10, 8)))
        angle = int(rng.integers(180))
        rgb = np.clip(greens[rng.integers(5)] * rng.uniform(0.8, 1.2), 0, 255)
        cv2.ellipse(leaves, (x, y), (r, max(r // 3, 2)), angle, 0, 360, rgb.tolist(), -1, cv2.LINE_AA)
    return leaves


def _city(rng: np.random.Generator, h: int, w: int) -> Picture:
    sky = np.array([(196, 212, 226), (226, 214, 200), (62, 66, 92), (174, 180, 186)])[rng.integers(4)]
    scene = np.full((h, w, 3), sky, np.uint8)
    for _ in range(int(rng.integers(4, 8))):
        x, wide, high = (
            int(rng.integers(-w // 6, w)),
            int(rng.integers(w // 7, w // 2)),
            int(rng.integers(h // 3, h)),
        )
        rgb = np.array(COLOURS[int(rng.integers(len(COLOURS)))].rgb) * 0.4 + 80 * rng.uniform(0.7, 1.3)
        cv2.rectangle(scene, (x, h - high), (x + wide, h), rgb.tolist(), -1)
        lit = np.clip(rgb * rng.choice([0.7, 1.5]), 0, 255).tolist()
        step = max(wide // 5, 8)
        for wx in range(x + step // 3, x + wide - step // 2, step):
            for wy in range(h - high + step // 2, h, int(step * 1.5)):
                cv2.rectangle(scene, (wx, wy), (wx + step // 2, wy + step), lit, -1)
    for _ in range(int(rng.integers(0, 14))):  # lamps out of focus
        centre, r = (int(rng.integers(w)), int(rng.integers(h))), int(rng.integers(5, 16))
        glow = scene.copy()
        cv2.circle(
            glow,
            centre,
            r,
            [(255, 224, 160), (255, 170, 120), (190, 220, 255)][int(rng.integers(3))],
            -1,
            cv2.LINE_AA,
        )
        scene = cv2.addWeighted(glow, 0.45, scene, 0.55, 0)
    return scene


def _furnish(rng: np.random.Generator, wall: Picture, horizon: int) -> None:
    """Doors, windows, posters, bins before a wall, in place."""
    width = wall.shape[1]
    for _ in range(int(rng.integers(1, 4))):
        rgb = COLOURS[int(rng.integers(len(COLOURS)))].rgb
        x, wide = int(rng.integers(-20, width)), int(rng.integers(width // 8, width // 3))
        top = int(rng.integers(0, max(horizon - 30, 1)))
        bottom = horizon if rng.random() < 0.5 else min(top + wide, horizon)
        cv2.rectangle(wall, (x, top), (x + wide, bottom), rgb, -1)
        cv2.rectangle(wall, (x, top), (x + wide, bottom), shaded(rgb, 0.6), 3)
        cv2.line(wall, (x + wide // 2, top), (x + wide // 2, bottom), shaded(rgb, 0.75), 2)


def obstacle(
    rng: np.random.Generator, at_px: tuple[float, float], wide_px: float, height: int
) -> list[Piece]:
    """A pole, a paper cup or a leaf before the camera; coordinates are pixels."""
    x, y = at_px
    rgb = COLOURS[int(rng.integers(len(COLOURS)))].rgb
    kind = int(rng.integers(3))
    if kind == 0:
        return [
            Piece(
                box(x - wide_px * 0.4, -9, x + wide_px * 0.4, height + 9),
                smooth_surface(shaded(rgb, 0.7), 0, 1, 0.2),
            )
        ]
    if kind == 1:  # a paper cup
        w, h = wide_px * 0.5, wide_px * 0.75
        cup = xy([(x - w, y - h), (x + w, y - h), (x + w * 0.7, y + h), (x - w * 0.7, y + h)])
        band = xy(
            [
                (x - w * 0.94, y - h * 0.5),
                (x + w * 0.94, y - h * 0.5),
                (x + w * 0.78, y + h * 0.4),
                (x - w * 0.78, y + h * 0.4),
            ]
        )
        lid = box(x - w * 1.1, y - h * 1.2, x + w * 1.1, y - h * 0.95, w * 0.1)
        colours = ((240, 236, 228), rgb, (250, 248, 244))
        return [
            Piece(p, smooth_surface(c, 0, 0.9, 0.1)) for p, c in zip((cup, band, lid), colours, strict=True)
        ]
    leaf = outline(
        [(x - wide_px, y + wide_px), (x - wide_px * 0.2, y - wide_px * 0.5), (x + wide_px, y - wide_px)],
        [(x + wide_px, y - wide_px), (x + wide_px * 0.3, y + wide_px * 0.6), (x - wide_px, y + wide_px)],
    )
    return [Piece(leaf, smooth_surface((62, 104, 58), 0.5, 0.7, 0.1))]
