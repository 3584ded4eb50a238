"""Shoes, each from the side in centimetres of its own frame."""

import numpy as np

from imgsearch_assets.sample.cloth import Cloth, design_cloth, plain_cloth, smooth_surface
from imgsearch_assets.sample.curves import ellipse, outline, smooth, xy
from imgsearch_assets.sample.design import Design
from imgsearch_assets.sample.painter import Piece, Seam, Shape, Stud
from imgsearch_assets.sample.palette import METAL, RGB, shaded

_RUBBER: tuple[RGB, ...] = ((238, 236, 230), (232, 222, 200), (44, 44, 46), (150, 104, 66))


def shoe_shapes(d: Design) -> list[Shape]:
    """One shoe from the side, its toe to the right, the sole's bottom on y = 0, 28 cm long."""
    cloth, second = design_cloth(d), plain_cloth(d.second.rgb, d.texture)
    if d.style in ("sneaker", "high-top"):
        return _sneaker(d, cloth, second)
    if d.style == "pump":
        return _pump(d, cloth)
    return _leather_shoe(d, cloth)


def _sneaker(d: Design, cloth: Cloth, second: Cloth) -> list[Shape]:
    high = d.between("high", 15, 19) if d.style == "high-top" else d.between("low", 7.5, 9.5)
    thick = d.between("sole", 2.6, 4.6)
    sole_rgb = d.pick("rubber", _RUBBER[:3]) if d.chance("plain sole", 0.75) else d.second.rgb
    rubber = smooth_surface(sole_rgb, 0, 1.0, 0.1)
    lining = smooth_surface((214, 208, 198), 0.3, 0.6, 0)
    mouth = outline(
        [(-12.8, -high), (-9, -high - 0.6), (-3.2, -high + 1.4)],
        [(-3.2, -high + 1.4), (-8, -high + 2.6), (-12.8, -high)],
    )
    upper = outline(
        [(-13.6, -thick), (-14, -high * 0.6), (-13, -high)],
        [(-13, -high), (-8, -high + 1.6), (-3.4, -high + 1.2)],
        [(-3.4, -high + 1.2), (1.5, -8.6), (8, -6.6), (13, -5.4), (14.4, -thick)],
        [(14.4, -thick), (-13.6, -thick)],
    )
    shapes: list[Shape] = [Piece(mouth, lining, tone=0.6), Piece(upper, cloth)]
    toe = outline(
        [(14.3, -thick), (13.2, -5.3), (9.6, -6.2), (7.4, -5), (6.6, -thick)], [(6.6, -thick), (14.3, -thick)]
    )
    heel = outline(
        [(-13.6, -thick), (-14, -high * 0.6), (-13, -high)],
        [(-13, -high), (-11.4, -high + 0.6), (-9.6, -high * 0.5), (-9.8, -thick)],
        [(-9.8, -thick), (-13.6, -thick)],
    )
    trim = second if d.pattern == "colour block" or d.chance("contrast heel", 0.5) else cloth
    shapes.append(Piece(heel, trim, tone=0.98, relief=0.6))
    shapes.append(
        Piece(
            toe,
            rubber if d.texture == "canvas" else (trim if d.chance("contrast toe", 0.4) else cloth),
            relief=0.6,
            edge=0.8,
        )
    )
    if d.chance("side mark", 0.8):
        shapes += _side_mark(d)
    lace = d.pick("laces", ((240, 238, 232), (44, 44, 46), d.second.rgb))
    tongue_x = np.linspace(-3.2, 3.6, 5 if d.style == "sneaker" else 7)
    upper_line = smooth([(-3.4, -high + 1.2), (1.5, -8.6), (8, -6.6), (13, -5.4)])
    for x in tongue_x:
        y = float(np.interp(x, upper_line[:, 0], upper_line[:, 1]))
        shapes.append(Seam(xy([(x - 0.4, y + 0.2), (x - 1.2, y + 2.6)]), width_cm=0.9, rgb=lace))
    sole = outline(
        [(-14.4, -thick - 0.6), (-4, -thick + 0.3), (6, -thick + 0.1), (14.8, -thick - 0.5)],
        [(14.8, -thick - 0.5), (15.6, -1.4), (14, 0)],
        [(14, 0), (-13.6, 0)],
        [(-13.6, 0), (-14.8, -1.4), (-14.4, -thick - 0.6)],
    )
    shapes.append(Piece(sole, rubber))
    if d.chance("sole line", 0.5):
        shapes.append(
            Seam(
                xy([(-14.2, -thick * 0.5), (0, -thick * 0.42), (15, -thick * 0.5)]),
                width_cm=0.5,
                rgb=d.second.rgb,
            )
        )
    return shapes


def _side_mark(d: Design) -> list[Shape]:
    rgb = (d.third if d.pattern == "colour block" else d.second).rgb
    match d.pick("mark", ("stripes", "wave", "disc", "bolt")):
        case "stripes":
            return [Seam(xy([(x, -7.4), (x + 1.6, -4)]), width_cm=0.9, rgb=rgb) for x in (-5.4, -3.4, -1.4)]
        case "wave":
            return [Seam(xy([(-10, -5.2), (-4, -4), (2, -5.6), (-1, -7.4)]), width_cm=1.0, rgb=rgb)]
        case "disc":
            return [Stud(-9.4, -8.5 if d.style == "high-top" else -6.2, 1.7, rgb)]
        case _:
            return [Seam(xy([(-8, -7), (-4, -5), (-5, -4.6), (0, -4.2)]), width_cm=0.9, rgb=rgb)]


def _leather_shoe(d: Design, cloth: Cloth) -> list[Shape]:
    boot = d.style == "ankle boot"
    high = d.between("shaft", 17, 24) if boot else 7.4
    heel = d.between("heel", 2.2, 6.5) if boot else d.between("low heel", 1.6, 2.6)
    sole_rgb = d.pick("sole", ((52, 42, 36), (34, 34, 36), (128, 86, 54)))
    rubber = smooth_surface(sole_rgb, 0, 0.9, 0.2)
    lift = heel - 1.2
    mouth_front = -2.4 if boot else 1.0
    mouth = outline(
        [(-12.8, -high - lift), (mouth_front, -high - lift + (0 if boot else 1))],
        [(mouth_front, -high - lift + (0 if boot else 1)), (-6, -high - lift + 1.8), (-12.8, -high - lift)],
    )
    front = (
        [
            (mouth_front, -high - lift),
            (-0.5, -11 - lift * 0.6),
            (5, -7.4),
            (11, -5.4),
            (14.6, -2.4),
            (14.4, -1.2),
        ]
        if boot
        else [(1, -high - lift + 1), (4.5, -6.6), (10.5, -5.2), (14.4, -2.6), (14.2, -1.2)]
    )
    upper = outline(
        [(-13, -heel), (-14, -high * 0.45 - lift), (-13, -high - lift)],
        [(-13, -high - lift), (-6, -high - lift + 1.4), (mouth_front, -high - lift + (0 if boot else 1))],
        front,
        [(14.4, -1.2), (2, -1.2 - lift * 0.3), (-13, -heel)],
    )
    shapes: list[Shape] = [
        Piece(mouth, smooth_surface((120, 92, 70), 0, 0.5, 0), tone=0.6),
        Piece(upper, cloth),
    ]
    if boot:
        match d.pick("boot", ("elastic", "zip", "laces")):
            case "elastic":
                gore = xy(
                    [
                        (-9.6, -high - lift + 1.2),
                        (-4.6, -high - lift + 1),
                        (-6.4, -8 - lift),
                        (-7.6, -8 - lift),
                    ]
                )
                shapes.append(Piece(gore, plain_cloth((46, 44, 44), "rib"), relief=0.3))
            case "zip":
                shapes.append(Seam(xy([(-6, -high - lift + 1), (-6.6, -4 - lift)]), width_cm=0.7, rgb=METAL))
            case _:
                for v in np.linspace(0, 1, 6):
                    x, y = -2.2 + v * 6, -high - lift + 1.5 + v * (high - 7 + lift)
                    shapes.append(Seam(xy([(x - 0.3, y), (x - 3, y + 0.8)]), width_cm=0.7, rgb=d.second.rgb))
        shapes.append(Seam(xy([(-1, -7.5 - lift * 0.6), (2, -4), (3, -1.6)]), 0.7, 0.35))
    else:
        shapes += [
            Seam(xy([(1, -6.4), (6, -5.6), (11, -4.4), (13, -3)]), 0.66, 0.5),
            Piece(xy([(0.6, -7.8), (4.6, -7), (3.4, -2.4), (-0.8, -2.8)]), cloth, 0.4, 0.95, 0.6, 0.9),
        ]
        match d.pick("loafer", ("bit", "tassel", "penny")):
            case "bit":
                shapes.append(Seam(xy([(0.4, -5.2), (3.8, -4.8)]), width_cm=1.0, rgb=(212, 178, 96)))
            case "tassel":
                shapes += [
                    Seam(xy([(3.4, -6.4), (x, -3.4)]), width_cm=0.9, rgb=d.second.rgb) for x in (4.4, 5.8)
                ]
            case _:
                shapes.append(Seam(xy([(1.2, -5.2), (2.8, -5)]), 0.35, 0.8))
    sole = outline(
        [(-13.4, -heel), (2, -1.4 - lift * 0.3), (14.8, -1.6)],
        [(14.8, -1.6), (15, 0)],
        [(15, 0), (3, 0), (-5, -lift - 0.3)],
        [(-5, -lift - 0.3), (-6, 0)],
        [(-6, 0), (-13, 0)],
        [(-13, 0), (-13.6, -heel)],
    )
    shapes.append(Piece(sole, rubber))
    return shapes


def _pump(d: Design, cloth: Cloth) -> list[Shape]:
    heel = d.between("heel", 4.5, 10)
    block = d.chance("block", 0.4)
    upper = outline(
        [(-12.4, -heel), (-13.4, -heel - 3), (-12.4, -heel - 6.4)],
        [(-12.4, -heel - 6.4), (-6, -heel - 3.6), (0, -4.4 - heel * 0.22), (5, -5.4)],
        [(5, -5.4), (10, -4), (14.8, -0.8)],
        [(14.8, -0.6), (6, -0.6), (0, -heel * 0.28), (-12.4, -heel)],
    )
    inside = outline(
        [(-12, -heel - 6.2), (-6, -heel - 5.2), (2, -6.2 - heel * 0.1), (5, -5.4)],
        [(5, -5.4), (0, -4.4 - heel * 0.22), (-6, -heel - 3.6), (-12, -heel - 6.2)],
    )
    wide = 2.6 if block else 0.7
    post = outline(
        [(-12.8, -heel - 0.6), (-12.2, -heel * 0.4), (-11.8, 0)],
        [(-11.8, 0), (-11.8 + wide, 0)],
        [(-11.8 + wide, 0), (-10.4 + wide * 0.8, -heel * 0.5), (-6.4, -heel * 0.72)],
        [(-6.4, -heel * 0.72), (-12.8, -heel - 0.6)],
    )
    shapes: list[Shape] = [
        Piece(inside, smooth_surface((222, 198, 168), 0, 0.5, 0), tone=0.75),
        Piece(post, cloth, tone=0.85),
        Piece(upper, cloth),
    ]
    shapes.append(
        Seam(
            xy([(14.6, -0.4), (6, -0.3), (0, -heel * 0.26), (-8, -heel * 0.75)]),
            width_cm=0.5,
            rgb=(40, 34, 32),
        )
    )
    if d.chance("strap", 0.4):
        shapes.append(
            Seam(
                xy([(-11.8, -heel - 6), (-6, -heel - 9), (-3, -heel * 0.6 - 5)]),
                width_cm=0.9,
                rgb=shaded(d.colour.rgb, 0.9),
            )
        )
    if d.chance("bow", 0.3):
        shapes += [Piece(ellipse(x, -5.6, 1.5, 1.0), cloth, 0.5, 1.05) for x in (4.2, 6.8)]
    return shapes
