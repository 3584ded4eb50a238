"""Garments that hang from the shoulders: from the tank top to the coat, and dresses."""

from dataclasses import dataclass, replace

import numpy as np

from imgsearch_assets.sample.body import Pose
from imgsearch_assets.sample.cloth import Cloth, design_cloth, plain_cloth, smooth_surface
from imgsearch_assets.sample.curves import (
    Points,
    along,
    both_sides,
    box,
    ellipse,
    flipped,
    outline,
    smooth,
    tube,
    xy,
)
from imgsearch_assets.sample.design import Design
from imgsearch_assets.sample.painter import Piece, Seam, Shape, Stud
from imgsearch_assets.sample.palette import RGB, shaded

METAL: RGB = (178, 172, 158)


@dataclass(frozen=True)
class Cut:
    """Measures in cm; widths are half-widths. ``sleeve`` is the fraction of the arm that is covered."""

    length: float
    chest: float
    waist: float
    hem: float
    sleeve: float
    sleeve_width: float = 9.0
    cuff_width: float = 6.5
    neck_width: float = 8.0
    neck_depth: float = 6.0
    v_neck: bool = False
    drop: float = 0.0  # how far the shoulder seam falls off the shoulder
    hem_dip: float = 1.0
    ribbed: bool = False
    waist_y: float = 41.0


def _cut(d: Design) -> Cut:
    b = d.between
    match d.style:
        case "crew-neck tee" | "ringer tee":
            return Cut(
                b("l", 60, 70),
                b("c", 23, 27),
                b("w", 22, 26),
                b("h", 23, 27),
                b("s", 0.3, 0.44),
                b("sw", 9, 11),
                b("cw", 8, 10.5),
                neck_depth=b("n", 5, 8),
            )
        case "v-neck tee":
            return Cut(
                b("l", 60, 69),
                b("c", 22, 25),
                b("w", 20, 24),
                b("h", 22, 25),
                b("s", 0.28, 0.4),
                9,
                8,
                neck_depth=b("n", 13, 18),
                v_neck=True,
            )
        case "long-sleeve tee":
            return Cut(
                b("l", 61, 69),
                b("c", 22, 25),
                b("w", 20, 24),
                b("h", 22, 25),
                b("s", 0.9, 1),
                8.5,
                5,
                neck_depth=b("n", 5, 9),
            )
        case "polo shirt":
            return Cut(
                b("l", 62, 70),
                b("c", 23, 26),
                b("w", 22, 25),
                b("h", 23, 26),
                b("s", 0.32, 0.42),
                9.5,
                8,
                neck_depth=5,
            )
        case "tank top":
            return Cut(
                b("l", 58, 68),
                b("c", 20, 24),
                b("w", 19, 23),
                b("h", 20, 25),
                0,
                neck_width=b("nw", 9, 11),
                neck_depth=b("n", 11, 17),
                drop=-4.5,
            )
        case "Oxford shirt" | "flannel shirt" | "denim shirt":
            return Cut(
                b("l", 68, 76),
                b("c", 24, 28),
                b("w", 22, 27),
                b("h", 23, 28),
                b("s", 0.93, 1),
                9.5,
                5.5,
                neck_depth=4,
                hem_dip=b("d", 3, 7),
            )
        case "camp shirt":
            return Cut(
                b("l", 64, 71),
                b("c", 26, 29),
                b("w", 26, 29),
                b("h", 27, 30),
                b("s", 0.42, 0.5),
                11,
                11,
                neck_depth=13,
                v_neck=True,
                drop=1,
            )
        case "blouse":
            return Cut(
                b("l", 60, 68),
                b("c", 22, 25),
                b("w", 19, 24),
                b("h", 23, 28),
                b("s", 0.8, 1),
                9,
                b("cw", 5, 9),
                neck_depth=b("n", 8, 14),
                v_neck=True,
            )
        case "hoodie":
            return Cut(
                b("l", 64, 71),
                b("c", 27, 31),
                b("w", 26, 30),
                b("h", 23, 27),
                1,
                11.5,
                6,
                neck_depth=9,
                drop=2,
                ribbed=True,
            )
        case "cardigan":
            return Cut(
                b("l", 60, 80),
                b("c", 24, 29),
                b("w", 23, 28),
                b("h", 24, 29),
                0.97,
                10,
                6,
                neck_depth=b("n", 22, 32),
                v_neck=True,
                ribbed=True,
            )
        case "turtleneck" | "crew-neck sweater" | "v-neck sweater":
            v = d.style == "v-neck sweater"
            return Cut(
                b("l", 60, 69),
                b("c", 24, 29),
                b("w", 23, 28),
                b("h", 22, 26),
                0.98,
                b("sw", 9, 12),
                6,
                neck_depth=b("n", 15, 19) if v else 6,
                v_neck=v,
                ribbed=True,
            )
        case "bomber jacket" | "puffer jacket":
            return Cut(
                b("l", 58, 66),
                b("c", 28, 32),
                b("w", 28, 32),
                b("h", 24, 28),
                1,
                12,
                7,
                neck_depth=5,
                drop=1.5,
                ribbed=d.style == "bomber jacket",
            )
        case "denim jacket" | "biker jacket":
            return Cut(
                b("l", 55, 62),
                b("c", 25, 28),
                b("w", 23, 26),
                b("h", 23, 26),
                0.98,
                10,
                6.5,
                neck_depth=6,
                v_neck=d.style == "biker jacket",
            )
        case "blazer":
            return Cut(
                b("l", 70, 78),
                b("c", 25, 28),
                b("w", 21, 25),
                b("h", 25, 29),
                0.97,
                10,
                7,
                neck_depth=b("n", 30, 40),
                v_neck=True,
            )
        case "trench coat" | "wool coat":
            return Cut(
                b("l", 95, 120),
                b("c", 26, 30),
                b("w", 23, 28),
                b("h", 30, 39),
                0.98,
                11,
                8,
                neck_depth=b("n", 16, 30),
                v_neck=True,
            )
        case "parka" | "duffle coat":
            return Cut(
                b("l", 82, 98),
                b("c", 29, 33),
                b("w", 28, 32),
                b("h", 30, 35),
                1,
                12,
                8,
                neck_depth=5,
                drop=1.5,
            )
        case "shift dress":
            return Cut(
                b("l", 88, 102),
                b("c", 22, 24),
                b("w", 20, 23),
                b("h", 25, 30),
                d.pick("s", (0.0, 0.3, 0.5)),
                8.5,
                9,
                neck_width=9,
                neck_depth=b("n", 5, 9),
            )
        case "skater dress":
            return Cut(
                b("l", 86, 98),
                21,
                b("w", 15.5, 17.5),
                b("h", 38, 50),
                d.pick("s", (0.0, 0.25, 0.5, 0.95)),
                8,
                6.5,
                neck_width=10,
                neck_depth=b("n", 7, 13),
                waist_y=38,
            )
        case "maxi dress":
            return Cut(
                b("l", 128, 146),
                21,
                b("w", 16.5, 19),
                b("h", 32, 46),
                d.pick("s", (0.0, 0.3, 0.95)),
                8.5,
                d.pick("cw", (6.0, 11.0)),
                neck_width=9,
                neck_depth=b("n", 13, 20),
                v_neck=True,
            )
        case "slip dress":
            return Cut(
                b("l", 98, 128),
                19.5,
                b("w", 17, 19),
                b("h", 24, 32),
                0,
                neck_width=12,
                neck_depth=b("n", 17, 21),
                v_neck=d.chance("v", 0.7),
            )
        case "shirt dress":
            return Cut(
                b("l", 92, 116),
                b("c", 23, 26),
                b("w", 20, 23),
                b("h", 28, 38),
                d.pick("s", (0.45, 0.95)),
                9.5,
                7,
                neck_depth=6,
                hem_dip=4,
            )
        case _:
            raise ValueError(f"{d.style!r} does not hang from the shoulders")


def _neckline(cut: Cut) -> list[tuple[float, float]]:
    """The right half of the front neckline, from the middle up to the side of the neck."""
    depth, width = cut.neck_depth, cut.neck_width
    if cut.v_neck:
        return [(0, depth), (width * 0.55, depth * 0.42 - 1.5), (width, -3)]
    return [(0, depth), (width * 0.55, depth - 1.2), (width * 0.93, depth * 0.35), (width, -3)]


def _flank(cut: Cut) -> list[tuple[float, float]]:
    """Underarm to hem, right side."""
    y = cut.waist_y
    points = [(cut.chest, 21.0), (cut.waist, y)]
    if cut.length > 80:
        below = min(max((cut.hem - cut.waist) * 0.45, 0), 9)
        points += [(cut.waist + below, y + (cut.length - y) * 0.35)]
    return [*points, (cut.hem, cut.length)]


def _trunk(cut: Cut, opening: float = 0.0, right_only: bool = False) -> Points:
    """Front of the body; from ``opening`` cm beside the middle on when it is one of two fronts."""
    tip = (18.5 + cut.drop, 2.2 + cut.drop * 0.4)
    armhole = [tip, (tip[0] - 1.8, 12), (cut.chest, 21)]
    hem = [
        (cut.hem, cut.length),
        (cut.hem * 0.5, cut.length + cut.hem_dip * 0.8),
        (opening, cut.length + cut.hem_dip),
    ]
    runs = (_neckline(cut), [(cut.neck_width, -3), tip], armhole, _flank(cut), hem)
    return outline(*runs) if right_only else both_sides(*runs)


def _sleeve(cut: Cut, pose: Pose, side: int) -> tuple[Points, Points, float]:
    """(outline, the end of the sleeve as a line, its angle from straight down)."""
    arm = along(pose.arm(side), 0.0, cut.sleeve, 9)
    widths = np.linspace(cut.sleeve_width, cut.cuff_width, 9, dtype=np.float32)
    left, right = tube(arm, widths)
    outer, inner = (left, right) if side < 0 else (right, left)
    if outer[4, 0] * side < inner[4, 0] * side:
        outer, inner = inner, outer
    tip, pit = (
        xy([(18.5 + cut.drop) * side, 2.2 + cut.drop * 0.4]),
        xy([(cut.chest - 1) * side, 21]),
    )
    keep = inner[2:][inner[2:, 1] > 20] if cut.sleeve > 0.35 else inner[-2:]
    upper = np.concatenate([tip[None], outer[3:] if cut.sleeve > 0.35 else outer[-3:]])
    lower = np.concatenate([keep[::-1], pit[None]])
    inside = np.stack([pit, xy([tip[0] - 2.0 * side, 12]), tip])
    way = arm[-1] - arm[-3]
    return (
        outline(upper, lower, inside),
        xy([outer[-1], inner[-1]]),
        float(np.arctan2(way[0], way[1])),
    )


def _cuff(end: Points, angle: float, depth: float, cloth: Cloth, tone: float = 0.94) -> Piece:
    way = xy([np.sin(angle), np.cos(angle)])
    across = (end[1] - end[0]) * 0.06
    top = end - way * depth
    return Piece(xy([top[0], top[1], end[1] - across, end[0] + across]), cloth, -angle, tone, 0.7)


def top_shapes(d: Design, pose: Pose) -> list[Shape]:
    """The garment ``d`` on a body in ``pose``."""
    cut = _cut(d)
    cloth = design_cloth(d)
    second = plain_cloth(d.second.rgb, d.texture)
    ground = plain_cloth(d.colour.rgb, d.texture) if d.pattern != "plain" else cloth
    rib = plain_cloth(
        (d.second if d.style == "ringer tee" or d.chance("contrast rib", 0.15) else d.colour).rgb, "rib"
    )
    blocked = second if d.pattern == "colour block" else cloth
    shapes: list[Shape] = [*_back(d, cut, ground, second)]

    worn_over = d.category in ("jacket", "coat") or d.style == "cardigan"
    strap = d.style == "slip dress"
    if not strap:
        shapes.append(Piece(_trunk(cut), cloth))
    else:
        shapes += _slip(cut, cloth)
    if d.pattern == "colour block":
        shapes.append(_lower_block(cut, d, second))
    if d.pattern == "chest band":
        shapes.append(_band(cut, d, second))
    if d.pattern == "chest print":
        shapes += _print(d)
    if cut.sleeve > 0:
        shapes += _sleeves(d, cut, pose, blocked if d.chance("block sleeves", 0.5) else cloth, rib)
    if cut.ribbed:
        shapes.append(_waistband(cut, rib))
    elif not strap and d.texture != "leather":
        hem = xy(
            [
                (-cut.hem + 0.4, cut.length - 2.2),
                (0, cut.length + cut.hem_dip - 2.2),
                (cut.hem - 0.4, cut.length - 2.2),
            ]
        )
        shapes.append(Seam(hem, 0.82, 0.25, dashed=d.texture == "denim"))
    shapes += _front(d, cut, pose, cloth, ground, rib, second, worn_over)
    return shapes


def _back(d: Design, cut: Cut, ground: Cloth, second: Cloth) -> list[Shape]:
    """What shows inside the neck: the back of the garment, and its hood."""
    inside = both_sides(
        [(0, -1.2), (cut.neck_width * 0.6, -1.8), (cut.neck_width + 0.5, -3.4)],
        [
            (cut.neck_width + 0.5, -3.4),
            (min(cut.neck_width + 3, 15.5 + cut.drop), 8),
            (0, cut.neck_depth + 2),
        ],
    )
    lining = second if d.category in ("jacket", "coat") and d.chance("lining", 0.5) else ground
    shapes: list[Shape] = (
        [] if d.style == "slip dress" else [Piece(inside, lining, tone=0.58, relief=0.3, behind=True)]
    )
    if d.style in ("hoodie", "parka", "duffle coat"):
        hood = both_sides([(0, -17), (9, -15), (14.5, -6), (13.5, 3), (6, 6), (0, 7)])
        shapes.append(Piece(hood, ground, tone=0.86, behind=True))
        hollow = both_sides([(0, -12.5), (6, -11), (9, -4), (6, 3), (0, 5)])
        shapes.append(Piece(hollow, lining, tone=0.5, relief=0.4, behind=True))
    return shapes


def _slip(cut: Cut, cloth: Cloth) -> list[Shape]:
    top = [(0, cut.neck_depth), (5, cut.neck_depth - 2), (10.5, 10), (14, 14), (cut.chest, 22)]
    hem = [(cut.hem, cut.length), (0, cut.length + 1.5)]
    straps: list[Shape] = [
        Piece(xy([(10 * s, -2.6), (11 * s, -2.6), (11.4 * s, 11), (10 * s, 11)]), cloth, edge=0.2)
        for s in (-1, 1)
    ]
    return [*straps, Piece(both_sides(top, _flank(cut), hem), cloth)]


def _lower_block(cut: Cut, d: Design, second: Cloth) -> Shape:
    y = d.between("block", 0.3, 0.62) * cut.length
    side = smooth(_flank(cut))
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


def _band(cut: Cut, d: Design, second: Cloth) -> Shape:
    y, depth = d.between("band y", 22, 32), d.between("band depth", 5, 11)
    side = smooth(_flank(cut))
    x0, x1 = (float(np.interp(v, side[:, 1], side[:, 0])) - 0.2 for v in (y, y + depth))
    return Piece(xy([(-x0, y), (x0, y), (x1, y + depth), (-x1, y + depth)]), second, relief=0.2, edge=0.1)


def _print(d: Design) -> list[Shape]:
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


def _sleeves(d: Design, cut: Cut, pose: Pose, cloth: Cloth, rib: Cloth) -> list[Shape]:
    shapes: list[Shape] = []
    for side in (-1, 1):
        shape, end, angle = _sleeve(cut, pose, side)
        shapes.append(Piece(shape, cloth, -angle, relief=0.7))
        if d.style == "puffer jacket":
            shapes += _quilting_along(cut, pose, side)
        if cut.ribbed and cut.sleeve > 0.8:
            shapes.append(_cuff(end, angle, 6, rib))
        elif d.style == "ringer tee" or d.style == "polo shirt":
            shapes.append(_cuff(end, angle, 2.2, rib))
        elif d.category == "shirt" and cut.sleeve > 0.8:
            shapes += [_cuff(end, angle, 6.5, cloth, 0.97)]
        elif d.style == "trench coat" or d.style == "wool coat":
            way = xy([np.sin(angle), np.cos(angle)])
            shapes.append(Seam(end - way * 8, 0.7, 1.6 if d.style == "trench coat" else 0.3))
        else:
            way = xy([np.sin(angle), np.cos(angle)])
            shapes.append(Seam(end - way * 2, 0.82, 0.25))
    return shapes


def _quilting_along(cut: Cut, pose: Pose, side: int) -> list[Shape]:
    arm = along(pose.arm(side), 0.3, 0.97, 8)
    left, right = tube(arm, np.linspace(cut.sleeve_width, cut.cuff_width, 8, dtype=np.float32))
    return [Seam(xy([a, (a + b) / 2 + (0, 0.8), b]), 0.62, 0.6) for a, b in zip(left, right, strict=True)]


def _waistband(cut: Cut, rib: Cloth) -> Shape:
    x, y = cut.hem, cut.length
    band = both_sides(
        [(0, y - 5), (x + 0.3, y - 6)],
        [(x + 0.3, y - 6), (x - 0.8, y + 0.5)],
        [(x - 0.8, y + 0.5), (0, y + cut.hem_dip + 0.5)],
    )
    return Piece(band, rib, tone=0.96, relief=0.7)


def _collar_band(cut: Cut, cloth: Cloth, depth: float, tone: float = 0.96) -> Shape:
    inner = smooth(_neckline(cut))
    middle = xy([0, -4])
    outward = inner - middle
    outer = inner + outward / np.linalg.norm(outward, axis=1, keepdims=True) * depth
    outer[0, 0] = 0.0
    half = np.concatenate([inner, outer[::-1]])
    return Piece(np.concatenate([half, flipped(half)[::-1]]), cloth, tone=tone, relief=0.5)


def _leaf_collar(cut: Cut, cloth: Cloth, spread: float, drop: float) -> list[Shape]:
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


def _lapels(cut: Cut, cloth: Cloth, wide: float) -> list[Shape]:
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


def _placket(
    cut: Cut, x: float, top: float, bottom: float, count: int, rgb: RGB, radius: float = 0.65
) -> list[Shape]:
    ys = np.linspace(top, bottom, count)
    return [Stud(x, float(y), radius, rgb) for y in ys]


def _pockets(
    d: Design, y: float, x: float, wide: float, deep: float, cloth: Cloth, flap: bool
) -> list[Shape]:
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


def _front(
    d: Design, cut: Cut, pose: Pose, cloth: Cloth, ground: Cloth, rib: Cloth, second: Cloth, worn_over: bool
) -> list[Shape]:
    """Collar, opening, pockets and belt: what tells one style from another."""
    bottom = cut.length + cut.hem_dip
    middle = xy([(0, cut.neck_depth), (0, bottom - 0.5)])
    dark: RGB = (60, 48, 40)
    button: RGB = d.pick("button", (dark, (236, 230, 218), METAL, shaded(d.colour.rgb, 0.6)))
    shapes: list[Shape] = []
    match d.style:
        case "crew-neck tee" | "long-sleeve tee" | "ringer tee" | "v-neck tee":
            shapes.append(_collar_band(cut, rib, 2.0))
            if d.chance("chest pocket", 0.2) and d.pattern not in ("chest print", "chest band"):
                shapes.append(
                    Piece(
                        xy([(5, 22), (15, 22), (15, 32), (10, 34.5), (5, 32)]),
                        cloth,
                        relief=0.2,
                        edge=0.9,
                    )
                )
        case "polo shirt":
            shapes.append(Piece(box(-1.8, cut.neck_depth, 1.8, 22), rib, relief=0.3))
            shapes += _placket(cut, 0, 9, 19, 3, button, 0.5)
            shapes += _leaf_collar(replace(cut, neck_depth=6), rib, 9, 8)
        case "tank top":
            shapes.append(_collar_band(cut, rib, 1.4))
        case "Oxford shirt" | "flannel shirt" | "denim shirt" | "shirt dress":
            shapes += [Piece(box(-1.7, cut.neck_depth, 1.7, bottom - 0.6), cloth, relief=0.2, edge=0.6)]
            shapes += _placket(cut, 0, 8, min(bottom - 8, 84), 7, button, 0.55)
            count = 2 if d.style in ("flannel shirt", "denim shirt") or d.chance("two pockets", 0.2) else 1
            if d.chance("pockets", 0.8) and d.style != "shirt dress":
                pockets = _pockets(d, 22, 5, 9.5, 11, cloth, count == 2)
                shapes += pockets if count == 2 else pockets[1:]
            if d.style == "shirt dress":
                shapes.append(
                    Piece(
                        box(-cut.waist - 0.3, 40, cut.waist + 0.3, 43.5, 0.6),
                        second if d.chance("belt", 0.5) else cloth,
                        relief=0.4,
                        edge=0.8,
                    )
                )
            shapes += _leaf_collar(cut, cloth, d.between("spread", 7, 11), d.between("point", 8, 12))
        case "camp shirt":
            shapes.append(Seam(middle, 0.7, 0.3))
            shapes += _placket(cut, 0.9, 18, bottom - 8, 4, button, 0.6)
            shapes += _leaf_collar(cut, cloth, 12, 9)
        case "blouse":
            shapes.append(Seam(middle, 0.72, 0.3))
            shapes += _placket(cut, 0, cut.neck_depth + 2, bottom - 6, 6, button, 0.45)
            if d.chance("bow", 0.45):
                bow = outline(
                    [
                        (0, cut.neck_depth),
                        (7, cut.neck_depth - 4),
                        (9, cut.neck_depth),
                        (7, cut.neck_depth + 4),
                        (0, cut.neck_depth),
                    ]
                )
                tail = outline(
                    [
                        (0, cut.neck_depth),
                        (4, cut.neck_depth + 9),
                        (5, cut.neck_depth + 18),
                        (1, cut.neck_depth + 17),
                        (-0.5, cut.neck_depth),
                    ]
                )
                shapes += [
                    Piece(tail, cloth, 0.2),
                    Piece(flipped(tail), cloth, -0.2),
                    Piece(bow, cloth, 1.2),
                    Piece(flipped(bow), cloth, -1.2),
                ]
            else:
                shapes += _leaf_collar(cut, cloth, 9, 7)
        case "crew-neck sweater" | "v-neck sweater":
            shapes.append(_collar_band(cut, rib, 2.8))
        case "turtleneck":
            roll = both_sides(
                [(0, -9.5), (6.8, -9.2), (7.6, -6), (8.6, 0), (8, 4)], [(8, 4), (4, 6.4), (0, 7)]
            )
            shapes += [
                Piece(roll, rib, tone=1.0),
                Seam(xy([(-7.8, -1), (0, 1.4), (7.8, -1)]), 0.75, 0.5),
            ]
        case "cardigan":
            half = outline(
                [
                    (0, cut.neck_depth),
                    (cut.neck_width * 0.55, cut.neck_depth * 0.42 - 1.5),
                    (cut.neck_width, -3.4),
                ],
                [(cut.neck_width, -3.4), (cut.neck_width + 2.8, -2)],
                [
                    (cut.neck_width + 2.8, -2),
                    (cut.neck_width * 0.55 + 3, cut.neck_depth * 0.46),
                    (2.2, cut.neck_depth + 3),
                    (2.2, bottom),
                ],
                [(2.2, bottom), (0, bottom)],
            )
            shapes += [
                Piece(half, rib, relief=0.4),
                Piece(flipped(half), rib, relief=0.4),
                Seam(middle, 0.6, 0.35),
            ]
            shapes += _placket(cut, 1.1, cut.neck_depth + 3, bottom - 4, 5, button, 0.9)
            if d.chance("pockets", 0.6):
                shapes += _pockets(d, cut.length - 22, 6, 11, 12, cloth, False)
        case "hoodie":
            pouch = both_sides([(0, 46), (9, 46)], [(9, 46), (15, 58), (15, 63)], [(15, 63), (0, 63)])
            shapes.append(Piece(pouch, ground if d.pattern != "melange" else cloth, relief=0.3, edge=0.9))
            fall = outline(
                [(cut.neck_width - 1, -4), (cut.neck_width + 4.5, 0), (8, 8), (0.3, 12)],
                [(0.3, 12), (3.5, 6), (cut.neck_width - 1, -4)],
            )
            shapes += [Piece(fall, ground, 0.6), Piece(flipped(fall), ground, -0.6)]
            shapes += [
                Seam(xy([(s * 2.2, 9), (s * 2.8, 18), (s * 2.4, 26)]), width_cm=0.6, rgb=d.second.rgb)
                for s in (-1, 1)
            ]
            if d.chance("zip", 0.4):
                shapes.append(Seam(xy([(0, 12), (0, bottom)]), width_cm=0.7, rgb=METAL))
        case "bomber jacket" | "puffer jacket":
            if d.style == "puffer jacket":
                side = smooth(_flank(cut))
                step = d.pick("quilting", (6.5, 8.5, 11.0))
                for y in np.arange(10, cut.length - 1, step):
                    x = float(np.interp(y, side[:, 1], side[:, 0])) if y > 21 else cut.chest - 5
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
                        second if d.pattern == "colour block" else cloth,
                    )
                )
            else:
                shapes.append(_collar_band(cut, rib, 4.5))
                shapes += [Seam(xy([(s * 11, 40), (s * 17, 52)]), 0.55, 0.9) for s in (-1, 1)]
            shapes.append(
                Seam(middle, width_cm=1.0, rgb=METAL if d.chance("metal zip", 0.6) else d.second.rgb)
            )
        case "denim jacket":
            shapes += _pockets(d, 20, 5, 11, 12, cloth, True)
            for s in (-1, 1):
                shapes += [
                    Seam(xy([(s * 6, 32), (s * 4, cut.length - 5)]), 1.35, 0.25, True),
                    Seam(xy([(s * 14, 32), (s * 11, cut.length - 5)]), 1.35, 0.25, True),
                ]
            shapes.append(
                Piece(
                    box(-cut.hem, cut.length - 4.5, cut.hem, cut.length + 0.8, 0.6),
                    cloth,
                    np.pi / 2,
                    0.97,
                    0.4,
                )
            )
            shapes += [
                Seam(xy([(1.9, cut.neck_depth), (1.9, bottom)]), 1.3, 0.25, True),
                Seam(xy([(-1.9, cut.neck_depth), (-1.9, bottom)]), 0.7, 0.3),
            ]
            shapes += _placket(cut, 0, 10, bottom - 3, 6, METAL, 0.8)
            shapes += _leaf_collar(cut, second if d.chance("fur collar", 0.25) else cloth, 12, 9)
        case "biker jacket":
            shapes.append(Seam(xy([(9, 9), (3, 30), (2, bottom)]), width_cm=1.0, rgb=METAL))
            shapes += [Seam(xy([(s * 10, 40), (s * 18, 36)]), width_cm=0.8, rgb=METAL) for s in (-1, 1)]
            shapes.append(Seam(xy([(-16, 24), (-8, 22)]), width_cm=0.8, rgb=METAL))
            shapes += _lapels(replace(cut, neck_depth=24), cloth, 15)
            if d.chance("belt", 0.6):
                shapes += [
                    Piece(box(-cut.hem, cut.length - 5, cut.hem, cut.length, 0.6), cloth, tone=0.95),
                    Piece(
                        box(3, cut.length - 5.4, 8, cut.length + 0.4, 0.6), smooth_surface(METAL, 0, 1, 0.5)
                    ),
                ]
        case "blazer" | "wool coat" | "trench coat":
            shapes.append(Seam(xy([(0.4, cut.neck_depth), (0.6, bottom)]), 0.5, 0.5))
            double = d.style == "trench coat" or d.chance("double breasted", 0.35)
            low = cut.neck_depth + (22 if d.style != "blazer" else 12)
            for x in (-6, 6) if double else (1.8,):
                shapes += _placket(
                    cut,
                    x,
                    cut.neck_depth + 4,
                    min(low + (18 if cut.length > 80 else 4), bottom - 20),
                    3 if cut.length > 80 else 2,
                    button,
                    1.1,
                )
            shapes += _lapels(
                cut, second if d.chance("velvet", 0.08) else cloth, d.between("lapel", 11, 15.5)
            )
            if d.style == "blazer" or d.chance("flaps", 0.6):
                y = 50 if d.style == "blazer" else 58
                for s in (-1, 1):
                    shapes.append(
                        Piece(
                            box(min(s * 8, s * 20), y, max(s * 8, s * 20), y + 5.5, 0.8),
                            cloth,
                            tone=1.0,
                            relief=0.3,
                            edge=0.9,
                        )
                    )
            if d.style == "blazer":
                shapes.append(
                    Piece(
                        xy([(8, 22), (17, 20.6), (17, 23), (8, 24.4)]),
                        second if d.chance("square", 0.3) else cloth,
                        relief=0.2,
                    )
                )
            if d.style == "trench coat":
                shapes += _belt(cut, 46, cloth)
                for s in (-1, 1):
                    shapes.append(
                        Piece(
                            outline(
                                [(s * 8, -2), (s * 19, 3)],
                                [(s * 19, 3), (s * 18, 19), (s * 10, 21)],
                                [(s * 10, 21), (s * 8, -2)],
                            ),
                            cloth,
                            tone=1.01,
                            relief=0.3,
                            edge=0.8,
                        )
                    )
                shapes += _lapels(cut, cloth, d.between("lapel", 11, 15.5))
            elif d.style == "wool coat" and d.chance("belt", 0.35):
                shapes += _belt(cut, 46, cloth)
        case "parka" | "duffle coat":
            shapes.append(Piece(box(-2.6, 5, 2.6, bottom - 1, 0.5), cloth, relief=0.3, edge=0.8))
            fall = outline(
                [(cut.neck_width - 1, -5), (cut.neck_width + 7, 0), (11, 9), (0.3, 12)],
                [(0.3, 12), (3.5, 5), (cut.neck_width - 1, -5)],
            )
            fur = (
                plain_cloth((196, 174, 142), "boucle")
                if d.style == "parka" and d.chance("fur", 0.6)
                else cloth
            )
            shapes += [Piece(fall, fur, 0.6), Piece(flipped(fall), fur, -0.6)]
            shapes += _pockets(d, 56, 7, 14, 17, cloth, True)
            if d.style == "duffle coat":
                for y in (17, 30, 43, 56):
                    shapes += [
                        Seam(xy([(-7, y), (7, y)]), width_cm=0.7, rgb=(70, 50, 36)),
                        Piece(
                            box(-3.4, y - 0.9, 3.4, y + 0.9, 0.9), smooth_surface((146, 106, 66), 0, 1, 0.3)
                        ),
                    ]
            else:
                shapes += _placket(cut, 0, 14, bottom - 8, 6, METAL, 0.7)
                if d.chance("drawstring", 0.5):
                    shapes.append(Seam(xy([(-cut.waist, 46), (0, 47), (cut.waist, 46)]), 0.6, 0.6))
        case "skater dress" | "maxi dress" | "shift dress":
            shapes.append(_collar_band(cut, ground, 1.2))
            if d.style != "shift dress":
                y = cut.waist_y
                shapes.append(
                    Piece(
                        box(-cut.waist - 0.2, y - 1.5, cut.waist + 0.2, y + 2, 0.5),
                        second if d.chance("belt", 0.4) else ground,
                        relief=0.4,
                        edge=0.7,
                    )
                )
                rays = np.linspace(-0.75, 0.75, 7)
                shapes += [
                    Seam(
                        xy(
                            [
                                (r * cut.waist, y + 2),
                                (r * cut.hem * 0.75, (y + cut.length) / 2),
                                (r * cut.hem, cut.length),
                            ]
                        ),
                        0.86,
                        0.8,
                    )
                    for r in rays
                ]
                if d.style == "maxi dress" and d.chance("tiers", 0.4):
                    shapes += [
                        Seam(xy([(-cut.hem, v), (0, v + 2), (cut.hem, v)]), 0.75, 0.8) for v in (88, 114)
                    ]
        case "slip dress":
            pass
    return shapes


def _belt(cut: Cut, y: float, cloth: Cloth) -> list[Shape]:
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
