"""What goes round a neck: bands, shirt collars, lapels."""

import numpy as np

from imgsearch_assets.sample.cloth import Cloth
from imgsearch_assets.sample.curves import both_sides, flipped, outline, smooth, xy
from imgsearch_assets.sample.cuts import Cut, neckline
from imgsearch_assets.sample.painter import Piece, Shape


def collar_band(cut: Cut, cloth: Cloth, depth: float) -> Shape:
    """A band ``depth`` cm wide along the neckline."""
    inner = smooth(neckline(cut))
    middle = xy([0, -4])
    outward = inner - middle
    outer = inner + outward / np.linalg.norm(outward, axis=1, keepdims=True) * depth
    outer[0, 0] = 0.0
    half = np.concatenate([inner, outer[::-1]])
    return Piece(np.concatenate([half, flipped(half)[::-1]]), cloth, tone=0.96, relief=0.5)


def leaf_collar(cut: Cut, cloth: Cloth, spread: float, drop: float) -> list[Shape]:
    """A shirt collar, its points at (``spread``, ``drop``)."""
    right = outline(
        [(cut.neck_width - 1.2, -5.2), (cut.neck_width + 2.4, -2.0)],
        [(cut.neck_width + 2.4, -2), (spread, drop)],
        [(spread, drop), (0.3, cut.neck_depth)],
        [(0.3, cut.neck_depth), (cut.neck_width * 0.6, 0), (cut.neck_width - 1.2, -5.2)],
    )
    stand = both_sides(
        [(0, -3.4), (cut.neck_width - 1, -5.2)],
        [(cut.neck_width - 1, -5.2), (cut.neck_width * 0.5, -1.6), (0, -0.8)],
    )
    return [
        Piece(stand, cloth, tone=0.8, relief=0.3, behind=True),
        Piece(right, cloth, 0.5, 1.03, 0.5),
        Piece(flipped(right), cloth, -0.5, 1.03, 0.5),
    ]


def lapels(cut: Cut, cloth: Cloth, wide: float) -> list[Shape]:
    """Lapels with a notch, ``wide`` cm from the middle to their points, and the collar above them."""
    n, depth = cut.neck_width, cut.neck_depth
    notch_y = depth * 0.38
    lapel = outline(
        [(n - 0.4, -3.6), (n + 2.2, 0)],
        [(n + 2.2, 0), (wide, notch_y)],
        [(wide, notch_y), (wide * 0.72, depth * 0.7), (0.4, depth + 1)],
        [(0.4, depth + 1), (n * 0.62, depth * 0.4), (n - 0.4, -3.6)],
    )
    collar = outline(
        [(n - 0.8, -5), (n + 3.4, -1)],
        [(n + 3.4, -1), (wide - 0.5, notch_y - 3.2)],
        [(wide - 0.5, notch_y - 3.2), (n * 0.86, notch_y + 1.5)],
        [(n * 0.86, notch_y + 1.5), (n - 0.8, -5)],
    )
    shapes: list[Shape] = []
    for piece in (lapel, collar):
        shapes += [Piece(piece, cloth, 0.35, 1.02, 0.5), Piece(flipped(piece), cloth, -0.35, 1.02, 0.5)]
    return shapes
