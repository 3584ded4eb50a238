"""A picture as somebody else's telephone would have taken it: what an embedder ought not to mind.

Every function is a picture in, a picture out (uint8 (h, w, 3) RGB), and decides by the generator it is given
and nothing else, so that a seed gives the same pictures again.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

# Pixels a side of what ``rephotographed`` gives: what the networks take, so that nothing is resized twice.
SIDE = 224
_WORKING = 320  # pixels of the shorter side before the warp: sharp enough for a crop, cheap enough for many
_LEAST_AREA = 0.5  # of the picture that is left in the frame
_BACKDROP = 4  # grey levels that paper, wall or floor behind a packshot differ by from a pixel to the next
_PLAIN = 24.0  # standard deviation of the border of a picture before plain ground, grey levels


def rephotographed(picture: Picture, rng: np.random.Generator, ground: Picture | None = None) -> Picture:
    """``picture`` framed, lit, blurred and compressed another way, uint8 (224, 224, 3).

    Where ``ground`` (of any size) is given and the thing stands before plain ground, half the time it stands
    before ``ground`` instead.
    """
    small = _shrunk(picture)
    if ground is not None and rng.random() < 0.5:
        small = before(small, ground)
    seen = framed(small, rng)
    if rng.random() < 0.8:
        seen = lit(seen, rng)
    if rng.random() < 0.25:
        seen = blurred(seen, rng)
    return compressed(seen, rng) if rng.random() < 0.5 else seen


def framed(picture: Picture, rng: np.random.Generator) -> Picture:
    """A part of the picture, seen a little from the side, now and then in a mirror: uint8 (224, 224, 3)."""
    height, width = picture.shape[:2]
    area, aspect = rng.uniform(_LEAST_AREA, 1.0), np.exp(rng.uniform(-0.15, 0.15))
    wide, tall = min(np.sqrt(area * aspect), 1.0), min(np.sqrt(area / aspect), 1.0)
    x, y = rng.uniform(0, 1 - wide), rng.uniform(0, 1 - tall)
    corners = np.array([(x, y), (x + wide, y), (x + wide, y + tall), (x, y + tall)])
    # Perspective: each corner leans on its own; together they turn.
    corners += rng.normal(0, 0.025, (4, 2)) * (wide, tall)
    angle = rng.normal(0, 0.06)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = corners.mean(0)
    corners = (corners - middle) @ turn.T + middle
    if rng.random() < 0.5:
        corners = corners[[1, 0, 3, 2]]
    source = (corners * (width, height)).astype(np.float32)
    target = np.array([(0, 0), (SIDE, 0), (SIDE, SIDE), (0, SIDE)], np.float32)
    matrix = cv2.getPerspectiveTransform(source, target)
    seen = cv2.warpPerspective(picture, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(seen, np.uint8)


def lit(picture: Picture, rng: np.random.Generator) -> Picture:
    """Another exposure, contrast, white balance and strength of colour."""
    levels = picture.astype(np.float32)
    levels = (levels - 128) * rng.uniform(0.8, 1.2) + 128 * rng.uniform(0.8, 1.25)
    levels *= rng.uniform(0.92, 1.08, 3).astype(np.float32)
    grey = levels.mean(2, keepdims=True)
    levels = grey + (levels - grey) * rng.uniform(0.7, 1.25)
    return np.asarray(np.clip(levels, 0, 255), np.uint8)


def blurred(picture: Picture, rng: np.random.Generator) -> Picture:
    """Out of focus, or moved by a hand."""
    if rng.random() < 0.5:
        soft: Picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.4))
        return soft
    length = int(rng.integers(2, 6))
    line = np.zeros((length, length), np.float32)
    end = (length - 1, int(rng.integers(length)))
    cv2.line(line, (0, length - 1 - end[1]), end, 1.0)
    moved: Picture = cv2.filter2D(picture, -1, line / line.sum()).astype(np.uint8)
    return moved


def compressed(picture: Picture, rng: np.random.Generator) -> Picture:
    """As JPEG of quality 35 to 90."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 91))]
    # OpenCV takes red for blue, both times.
    _, data = cv2.imencode(".jpg", picture, quality)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def before(picture: Picture, ground: Picture) -> Picture:
    """The thing of ``picture`` before ``ground``; the picture itself where it stands before nothing plain.

    Plain ground is what a flood from the corners reaches.
    """
    height, width = picture.shape[:2]
    border = np.concatenate((picture[0], picture[-1], picture[:, 0], picture[:, -1])).astype(np.float32)
    if border.std(0).max() > _PLAIN:
        return picture
    # The mask of a flood has a frame one pixel wide; 255 is what is written to it.
    mask = np.zeros((height + 2, width + 2), np.uint8)
    flags = 4 | cv2.FLOODFILL_MASK_ONLY | (255 << 8)
    soft = cv2.GaussianBlur(picture, (0, 0), 1.5)
    for seed in ((0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)):
        if not mask[seed[1] + 1, seed[0] + 1]:
            cv2.floodFill(soft, mask, seed, 0, (_BACKDROP,) * 3, (_BACKDROP,) * 3, flags)
    share = cv2.GaussianBlur(mask[1:-1, 1:-1], (0, 0), 1.0).astype(np.float32)[..., None] / 255
    if not 0.1 < share.mean() < 0.9:  # the flood ran into the thing, or nowhere
        return picture
    behind = cv2.resize(ground, (width, height), interpolation=cv2.INTER_AREA)
    mixed: Picture = (picture * (1 - share) + behind * share).astype(np.uint8)
    return mixed


def _shrunk(picture: Picture) -> Picture:
    scale = _WORKING / min(picture.shape[:2])
    if scale >= 1:
        return np.ascontiguousarray(picture)
    small: Picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return small
