"""What is sewn or printed on a garment: buttons, pockets, belts, bands, prints."""

import numpy as np

from imgsearch_assets.sample.cloth import Cloth, smooth_surface
from imgsearch_assets.sample.curves import box, ellipse, flipped, outline, smooth, xy
from imgsearch_assets.sample.cuts import Cut, flank
from imgsearch_assets.sample.design import Design
from imgsearch_assets.sample.painter import Piece, Seam, Shape, Stud
from imgsearch_assets.sample.palette import RGB


def buttons(x: float, top: float, bottom: float, count: int, rgb: RGB, radius: float = 0.65) -> list[Shape]:
    """A row of ``count`` buttons from ``top`` to ``bottom``."""
    ys = np.linspace(top, bottom, count)
    return [Stud(x, float(y), radius, rgb) for y in ys]


def pockets(y: float, x: float, wide: float, deep: float, cloth: Cloth, flap: bool) -> list[Shape]:
    """A pair of patch pockets, their tops at ``y``, each from ``x`` outwards."""
    shapes: list[Shape] = []
    for side in (-1, 1):
        x0, x1 = sorted((x * side, (x + wide) * side))
        shapes.append(Piece(box(x0, y, x1, y + deep, 1.0), cloth, tone=0.99, relief=0.25, edge=0.9))
        if flap:
            shapes.append(
                Piece(
                    box(x0 - 0.4, y - 1, x1 + 0.4, y + deep * 0.3, 0.8),
                    cloth,
                    tone=1.02,
                    relief=0.3,
                    edge=0.7,
                )
            )
    return shapes


def belt(cut: Cut, y: float, cloth: Cloth) -> list[Shape]:
    """A tied belt at the height ``y``."""
    wide = cut.waist + 0.8
    tail = outline(
        [(1, y + 2), (5, y + 14), (6, y + 24)],
        [(6, y + 24), (2.4, y + 25)],
        [(2.4, y + 25), (1.5, y + 14), (-1, y + 2)],
    )
    band = box(-wide, y - 2.2, wide, y + 2.2, 0.8)
    return [
        Piece(band, cloth, np.pi / 2, 0.96, 0.5, 0.9),
        Piece(tail, cloth, 0, 1.0),
        Piece(box(-2.4, y - 2.8, 2.4, y + 2.8, 1.0), cloth, 0.8, 1.0, edge=1.0),
    ]


def chest_print(d: Design) -> list[Shape]:
    """A graphic on the chest, its shape and place the design's own."""
    x, y, size = 0.0, d.between("print y", 20, 28), d.between("print size", 6, 11)
    ink, other = (smooth_surface(c.rgb, 0.5, 0.0, 0.0) for c in (d.second, d.third))
    kind = d.pick("print", ("sun", "hills", "bars", "star", "rings", "wave", "pocket", "heart"))
    match kind:
        case "sun":
            return [
                Piece(ellipse(x, y, size, size), ink, relief=0, edge=0),
                *(
                    Piece(
                        box(x - size, y + size * v, x + size, y + size * (v + 0.12)), other, relief=0, edge=0
                    )
                    for v in (0.1, 0.4, 0.7)
                ),
            ]
        case "hills":
            far = xy(
                [(x - size * 1.3, y + size), (x - size * 0.3, y - size * 0.8), (x + size * 0.5, y + size)]
            )
            near = xy(
                [(x - size * 0.4, y + size), (x + size * 0.5, y - size * 0.3), (x + size * 1.4, y + size)]
            )
            return [
                Piece(
                    ellipse(x + size * 0.6, y - size * 0.7, size * 0.35, size * 0.35), other, relief=0, edge=0
                ),
                Piece(far, ink, relief=0, edge=0),
                Piece(near, other, relief=0, edge=0),
            ]
        case "bars":
            return [
                Piece(
                    box(x - size * w, y + i * size * 0.42, x + size * w, y + i * size * 0.42 + size * 0.26),
                    ink if i % 2 == 0 else other,
                    relief=0,
                    edge=0,
                )
                for i, w in enumerate((1.2, 0.9, 1.1, 0.6))
            ]
        case "star":
            t = np.arange(10) * np.pi / 5 - np.pi / 2
            r = np.where(np.arange(10) % 2 == 0, size, size * 0.42)
            return [
                Piece(
                    np.stack([x + r * np.cos(t), y + r * np.sin(t)], 1).astype(np.float32),
                    ink,
                    relief=0,
                    edge=0,
                )
            ]
        case "rings":
            return [
                Piece(ellipse(x, y, size * v, size * v), ink if i % 2 == 0 else other, relief=0, edge=0)
                for i, v in enumerate((1.0, 0.72, 0.44))
            ]
        case "wave":
            t = np.linspace(-1.3, 1.3, 25)
            return [
                Seam(
                    np.stack([x + t * size, y + v * size + np.sin(t * 5) * size * 0.25], 1).astype(
                        np.float32
                    ),
                    width_cm=size * 0.17,
                    rgb=(d.second if i != 1 else d.third).rgb,
                )
                for i, v in enumerate((-0.6, 0, 0.6))
            ]
        case "pocket":
            return [
                Piece(
                    xy([(4, y - 5), (15, y - 5), (15, y + 5), (9.5, y + 8), (4, y + 5)]),
                    ink,
                    relief=0.3,
                )
            ]
        case _:
            t = np.linspace(0, 2 * np.pi, 40)
            heart = (
                np.stack(
                    [
                        16 * np.sin(t) ** 3,
                        -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)),
                    ],
                    1,
                )
                / 16
            )
            return [Piece((heart * size + (x, y)).astype(np.float32), ink, relief=0, edge=0)]


def chest_band(cut: Cut, d: Design, second: Cloth) -> Shape:
    """A band of the second colour across the chest."""
    y, depth = d.between("band y", 22, 32), d.between("band depth", 5, 11)
    side = smooth(flank(cut))
    x0, x1 = (float(np.interp(v, side[:, 1], side[:, 0])) - 0.2 for v in (y, y + depth))
    return Piece(xy([(-x0, y), (x0, y), (x1, y + depth), (-x1, y + depth)]), second, relief=0.2, edge=0.1)


def lower_block(cut: Cut, d: Design, second: Cloth) -> Shape:
    """The lower part in the second colour."""
    y = d.between("block", 0.3, 0.62) * cut.length
    side = smooth(flank(cut))
    below = side[side[:, 1] >= y]
    x = float(np.interp(y, side[:, 1], side[:, 0]))
    half = np.concatenate(
        [
            xy([(0, y), (x, y)]),
            below,
            xy([(cut.hem * 0.5, cut.length + cut.hem_dip * 0.8), (0, cut.length + cut.hem_dip)]),
        ]
    )
    return Piece(np.concatenate([half, flipped(half)[::-1]]), second, edge=0.4)
