"""Collar, opening, pockets and belt: what tells one style of a garment from another."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from imgsearch_assets.sample.cloth import Cloth, plain_cloth, smooth_surface
from imgsearch_assets.sample.collars import collar_band, lapels, leaf_collar
from imgsearch_assets.sample.curves import Points, both_sides, box, flipped, outline, smooth, xy
from imgsearch_assets.sample.cuts import Cut, flank
from imgsearch_assets.sample.design import Design
from imgsearch_assets.sample.painter import Piece, Seam, Shape
from imgsearch_assets.sample.palette import METAL, RGB, shaded
from imgsearch_assets.sample.trims import belt, buttons, pockets


@dataclass(frozen=True)
class Garment:
    """A design cut out: its main cloth, the same without the pattern, the second colour, and ribbing."""

    design: Design
    cut: Cut
    cloth: Cloth
    ground: Cloth
    second: Cloth
    rib: Cloth

    @property
    def bottom(self) -> float:
        return self.cut.length + self.cut.hem_dip

    @property
    def middle(self) -> Points:
        return xy([(0, self.cut.neck_depth), (0, self.bottom - 0.5)])

    @property
    def button(self) -> RGB:
        d = self.design
        return d.pick("button", ((60, 48, 40), (236, 230, 218), METAL, shaded(d.colour.rgb, 0.6)))


def _tee(g: Garment) -> list[Shape]:
    shapes: list[Shape] = [collar_band(g.cut, g.rib, 2.0)]
    if g.design.chance("chest pocket", 0.2) and g.design.pattern not in ("chest print", "chest band"):
        shapes.append(
            Piece(
                xy([(5, 22), (15, 22), (15, 32), (10, 34.5), (5, 32)]),
                g.cloth,
                relief=0.2,
                edge=0.9,
            )
        )
    return shapes


def _polo(g: Garment) -> list[Shape]:
    shapes: list[Shape] = [Piece(box(-1.8, g.cut.neck_depth, 1.8, 22), g.rib, relief=0.3)]
    shapes += buttons(0, 9, 19, 3, g.button, 0.5)
    shapes += leaf_collar(replace(g.cut, neck_depth=6), g.rib, 9, 8)
    return shapes


def _tank(g: Garment) -> list[Shape]:
    return [collar_band(g.cut, g.rib, 1.4)]


def _shirt(g: Garment) -> list[Shape]:
    shapes: list[Shape] = [
        Piece(box(-1.7, g.cut.neck_depth, 1.7, g.bottom - 0.6), g.cloth, relief=0.2, edge=0.6)
    ]
    shapes += buttons(0, 8, min(g.bottom - 8, 84), 7, g.button, 0.55)
    count = (
        2 if g.design.style in ("flannel shirt", "denim shirt") or g.design.chance("two pockets", 0.2) else 1
    )
    if g.design.chance("pockets", 0.8) and g.design.style != "shirt dress":
        pair = pockets(22, 5, 9.5, 11, g.cloth, count == 2)
        shapes += pair if count == 2 else pair[1:]
    if g.design.style == "shirt dress":
        shapes.append(
            Piece(
                box(-g.cut.waist - 0.3, 40, g.cut.waist + 0.3, 43.5, 0.6),
                g.second if g.design.chance("belt", 0.5) else g.cloth,
                relief=0.4,
                edge=0.8,
            )
        )
    shapes += leaf_collar(g.cut, g.cloth, g.design.between("spread", 7, 11), g.design.between("point", 8, 12))
    return shapes


def _camp_shirt(g: Garment) -> list[Shape]:
    shapes: list[Shape] = [Seam(g.middle, 0.7, 0.3)]
    shapes += buttons(0.9, 18, g.bottom - 8, 4, g.button, 0.6)
    shapes += leaf_collar(g.cut, g.cloth, 12, 9)
    return shapes


def _blouse(g: Garment) -> list[Shape]:
    shapes: list[Shape] = [Seam(g.middle, 0.72, 0.3)]
    shapes += buttons(0, g.cut.neck_depth + 2, g.bottom - 6, 6, g.button, 0.45)
    if g.design.chance("bow", 0.45):
        bow = outline(
            [
                (0, g.cut.neck_depth),
                (7, g.cut.neck_depth - 4),
                (9, g.cut.neck_depth),
                (7, g.cut.neck_depth + 4),
                (0, g.cut.neck_depth),
            ]
        )
        tail = outline(
            [
                (0, g.cut.neck_depth),
                (4, g.cut.neck_depth + 9),
                (5, g.cut.neck_depth + 18),
                (1, g.cut.neck_depth + 17),
                (-0.5, g.cut.neck_depth),
            ]
        )
        shapes += [
            Piece(tail, g.cloth, 0.2),
            Piece(flipped(tail), g.cloth, -0.2),
            Piece(bow, g.cloth, 1.2),
            Piece(flipped(bow), g.cloth, -1.2),
        ]
    else:
        shapes += leaf_collar(g.cut, g.cloth, 9, 7)
    return shapes


def _sweater(g: Garment) -> list[Shape]:
    return [collar_band(g.cut, g.rib, 2.8)]


def _turtleneck(g: Garment) -> list[Shape]:
    shapes: list[Shape] = []
    roll = both_sides([(0, -9.5), (6.8, -9.2), (7.6, -6), (8.6, 0), (8, 4)], [(8, 4), (4, 6.4), (0, 7)])
    shapes += [
        Piece(roll, g.rib, tone=1.0),
        Seam(xy([(-7.8, -1), (0, 1.4), (7.8, -1)]), 0.75, 0.5),
    ]
    return shapes


def _cardigan(g: Garment) -> list[Shape]:
    shapes: list[Shape] = []
    half = outline(
        [
            (0, g.cut.neck_depth),
            (g.cut.neck_width * 0.55, g.cut.neck_depth * 0.42 - 1.5),
            (g.cut.neck_width, -3.4),
        ],
        [(g.cut.neck_width, -3.4), (g.cut.neck_width + 2.8, -2)],
        [
            (g.cut.neck_width + 2.8, -2),
            (g.cut.neck_width * 0.55 + 3, g.cut.neck_depth * 0.46),
            (2.2, g.cut.neck_depth + 3),
            (2.2, g.bottom),
        ],
        [(2.2, g.bottom), (0, g.bottom)],
    )
    shapes += [
        Piece(half, g.rib, relief=0.4),
        Piece(flipped(half), g.rib, relief=0.4),
        Seam(g.middle, 0.6, 0.35),
    ]
    shapes += buttons(1.1, g.cut.neck_depth + 3, g.bottom - 4, 5, g.button, 0.9)
    if g.design.chance("pockets", 0.6):
        shapes += pockets(g.cut.length - 22, 6, 11, 12, g.cloth, False)
    return shapes


def _hoodie(g: Garment) -> list[Shape]:
    shapes: list[Shape] = []
    pouch = both_sides([(0, 46), (9, 46)], [(9, 46), (15, 58), (15, 63)], [(15, 63), (0, 63)])
    shapes.append(Piece(pouch, g.ground if g.design.pattern != "melange" else g.cloth, relief=0.3, edge=0.9))
    fall = outline(
        [(g.cut.neck_width - 1, -4), (g.cut.neck_width + 4.5, 0), (8, 8), (0.3, 12)],
        [(0.3, 12), (3.5, 6), (g.cut.neck_width - 1, -4)],
    )
    shapes += [Piece(fall, g.ground, 0.6), Piece(flipped(fall), g.ground, -0.6)]
    shapes += [
        Seam(xy([(s * 2.2, 9), (s * 2.8, 18), (s * 2.4, 26)]), width_cm=0.6, rgb=g.design.second.rgb)
        for s in (-1, 1)
    ]
    if g.design.chance("zip", 0.4):
        shapes.append(Seam(xy([(0, 12), (0, g.bottom)]), width_cm=0.7, rgb=METAL))
    return shapes


def _zipped_jacket(g: Garment) -> list[Shape]:
    shapes: list[Shape] = []
    if g.design.style == "puffer jacket":
        side = smooth(flank(g.cut))
        step = g.design.pick("quilting", (6.5, 8.5, 11.0))
        for y in np.arange(10, g.cut.length - 1, step):
            x = float(np.interp(y, side[:, 1], side[:, 0])) if y > 21 else g.cut.chest - 5
            shapes.append(
                Seam(
                    xy([(-x, y), (-x / 2, y + 1.2), (0, y), (x / 2, y + 1.2), (x, y)]),
                    0.6,
                    0.7,
                )
            )
        shapes.append(
            Piece(
                both_sides([(0, -7), (8.4, -7.5)], [(8.4, -7.5), (9.5, 1), (7, 4.5), (0, 6.5)]),
                g.second if g.design.pattern == "colour block" else g.cloth,
            )
        )
    else:
        shapes.append(collar_band(g.cut, g.rib, 4.5))
        shapes += [Seam(xy([(s * 11, 40), (s * 17, 52)]), 0.55, 0.9) for s in (-1, 1)]
    shapes.append(
        Seam(g.middle, width_cm=1.0, rgb=METAL if g.design.chance("metal zip", 0.6) else g.design.second.rgb)
    )
    return shapes


def _denim_jacket(g: Garment) -> list[Shape]:
    shapes = pockets(20, 5, 11, 12, g.cloth, True)
    for s in (-1, 1):
        shapes += [
            Seam(xy([(s * 6, 32), (s * 4, g.cut.length - 5)]), 1.35, 0.25, True),
            Seam(xy([(s * 14, 32), (s * 11, g.cut.length - 5)]), 1.35, 0.25, True),
        ]
    shapes.append(
        Piece(
            box(-g.cut.hem, g.cut.length - 4.5, g.cut.hem, g.cut.length + 0.8, 0.6),
            g.cloth,
            np.pi / 2,
            0.97,
            0.4,
        )
    )
    shapes += [
        Seam(xy([(1.9, g.cut.neck_depth), (1.9, g.bottom)]), 1.3, 0.25, True),
        Seam(xy([(-1.9, g.cut.neck_depth), (-1.9, g.bottom)]), 0.7, 0.3),
    ]
    shapes += buttons(0, 10, g.bottom - 3, 6, METAL, 0.8)
    shapes += leaf_collar(g.cut, g.second if g.design.chance("fur collar", 0.25) else g.cloth, 12, 9)
    return shapes


def _biker_jacket(g: Garment) -> list[Shape]:
    shapes: list[Shape] = [Seam(xy([(9, 9), (3, 30), (2, g.bottom)]), width_cm=1.0, rgb=METAL)]
    shapes += [Seam(xy([(s * 10, 40), (s * 18, 36)]), width_cm=0.8, rgb=METAL) for s in (-1, 1)]
    shapes.append(Seam(xy([(-16, 24), (-8, 22)]), width_cm=0.8, rgb=METAL))
    shapes += lapels(replace(g.cut, neck_depth=24), g.cloth, 15)
    if g.design.chance("belt", 0.6):
        shapes += [
            Piece(box(-g.cut.hem, g.cut.length - 5, g.cut.hem, g.cut.length, 0.6), g.cloth, tone=0.95),
            Piece(box(3, g.cut.length - 5.4, 8, g.cut.length + 0.4, 0.6), smooth_surface(METAL, 0, 1, 0.5)),
        ]
    return shapes


def _lapelled(g: Garment) -> list[Shape]:
    shapes: list[Shape] = [Seam(xy([(0.4, g.cut.neck_depth), (0.6, g.bottom)]), 0.5, 0.5)]
    double = g.design.style == "trench coat" or g.design.chance("double breasted", 0.35)
    low = g.cut.neck_depth + (22 if g.design.style != "blazer" else 12)
    for x in (-6, 6) if double else (1.8,):
        shapes += buttons(
            x,
            g.cut.neck_depth + 4,
            min(low + (18 if g.cut.length > 80 else 4), g.bottom - 20),
            3 if g.cut.length > 80 else 2,
            g.button,
            1.1,
        )
    shapes += lapels(
        g.cut, g.second if g.design.chance("velvet", 0.08) else g.cloth, g.design.between("lapel", 11, 15.5)
    )
    if g.design.style == "blazer" or g.design.chance("flaps", 0.6):
        y = 50 if g.design.style == "blazer" else 58
        for s in (-1, 1):
            shapes.append(
                Piece(
                    box(min(s * 8, s * 20), y, max(s * 8, s * 20), y + 5.5, 0.8),
                    g.cloth,
                    tone=1.0,
                    relief=0.3,
                    edge=0.9,
                )
            )
    if g.design.style == "blazer":
        shapes.append(
            Piece(
                xy([(8, 22), (17, 20.6), (17, 23), (8, 24.4)]),
                g.second if g.design.chance("square", 0.3) else g.cloth,
                relief=0.2,
            )
        )
    if g.design.style == "trench coat":
        shapes += belt(g.cut, 46, g.cloth)
        for s in (-1, 1):
            shapes.append(
                Piece(
                    outline(
                        [(s * 8, -2), (s * 19, 3)],
                        [(s * 19, 3), (s * 18, 19), (s * 10, 21)],
                        [(s * 10, 21), (s * 8, -2)],
                    ),
                    g.cloth,
                    tone=1.01,
                    relief=0.3,
                    edge=0.8,
                )
            )
        shapes += lapels(g.cut, g.cloth, g.design.between("lapel", 11, 15.5))
    elif g.design.style == "wool coat" and g.design.chance("belt", 0.35):
        shapes += belt(g.cut, 46, g.cloth)
    return shapes


def _hooded_coat(g: Garment) -> list[Shape]:
    shapes: list[Shape] = [Piece(box(-2.6, 5, 2.6, g.bottom - 1, 0.5), g.cloth, relief=0.3, edge=0.8)]
    fall = outline(
        [(g.cut.neck_width - 1, -5), (g.cut.neck_width + 7, 0), (11, 9), (0.3, 12)],
        [(0.3, 12), (3.5, 5), (g.cut.neck_width - 1, -5)],
    )
    fur = (
        plain_cloth((196, 174, 142), "boucle")
        if g.design.style == "parka" and g.design.chance("fur", 0.6)
        else g.cloth
    )
    shapes += [Piece(fall, fur, 0.6), Piece(flipped(fall), fur, -0.6)]
    shapes += pockets(56, 7, 14, 17, g.cloth, True)
    if g.design.style == "duffle coat":
        for y in (17, 30, 43, 56):
            shapes += [
                Seam(xy([(-7, y), (7, y)]), width_cm=0.7, rgb=(70, 50, 36)),
                Piece(box(-3.4, y - 0.9, 3.4, y + 0.9, 0.9), smooth_surface((146, 106, 66), 0, 1, 0.3)),
            ]
    else:
        shapes += buttons(0, 14, g.bottom - 8, 6, METAL, 0.7)
        if g.design.chance("drawstring", 0.5):
            shapes.append(Seam(xy([(-g.cut.waist, 46), (0, 47), (g.cut.waist, 46)]), 0.6, 0.6))
    return shapes


def _dress(g: Garment) -> list[Shape]:
    shapes: list[Shape] = [collar_band(g.cut, g.ground, 1.2)]
    if g.design.style != "shift dress":
        y = g.cut.waist_y
        shapes.append(
            Piece(
                box(-g.cut.waist - 0.2, y - 1.5, g.cut.waist + 0.2, y + 2, 0.5),
                g.second if g.design.chance("belt", 0.4) else g.ground,
                relief=0.4,
                edge=0.7,
            )
        )
        rays = np.linspace(-0.75, 0.75, 7)
        shapes += [
            Seam(
                xy(
                    [
                        (r * g.cut.waist, y + 2),
                        (r * g.cut.hem * 0.75, (y + g.cut.length) / 2),
                        (r * g.cut.hem, g.cut.length),
                    ]
                ),
                0.86,
                0.8,
            )
            for r in rays
        ]
        if g.design.style == "maxi dress" and g.design.chance("tiers", 0.4):
            shapes += [Seam(xy([(-g.cut.hem, v), (0, v + 2), (g.cut.hem, v)]), 0.75, 0.8) for v in (88, 114)]
    return shapes


_FRONTS: dict[str, Callable[[Garment], list[Shape]]] = {
    "crew-neck tee": _tee,
    "long-sleeve tee": _tee,
    "ringer tee": _tee,
    "v-neck tee": _tee,
    "polo shirt": _polo,
    "tank top": _tank,
    "Oxford shirt": _shirt,
    "flannel shirt": _shirt,
    "denim shirt": _shirt,
    "shirt dress": _shirt,
    "camp shirt": _camp_shirt,
    "blouse": _blouse,
    "crew-neck sweater": _sweater,
    "v-neck sweater": _sweater,
    "turtleneck": _turtleneck,
    "cardigan": _cardigan,
    "hoodie": _hoodie,
    "bomber jacket": _zipped_jacket,
    "puffer jacket": _zipped_jacket,
    "denim jacket": _denim_jacket,
    "biker jacket": _biker_jacket,
    "blazer": _lapelled,
    "wool coat": _lapelled,
    "trench coat": _lapelled,
    "parka": _hooded_coat,
    "duffle coat": _hooded_coat,
    "skater dress": _dress,
    "maxi dress": _dress,
    "shift dress": _dress,
}


def front(g: Garment) -> list[Shape]:
    """What is on the front of the garment; nothing for a style that has nothing there."""
    make = _FRONTS.get(g.design.style)
    return make(g) if make else []
