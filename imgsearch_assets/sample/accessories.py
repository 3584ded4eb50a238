"""Shoes, bags and hats, each in centimetres of its own frame (the origin at its middle)."""

import numpy as np

from imgsearch_assets.sample.cloth import Cloth, design_cloth, plain_cloth, smooth_surface
from imgsearch_assets.sample.curves import Points, both_sides, box, ellipse, outline, smooth, xy
from imgsearch_assets.sample.design import Design
from imgsearch_assets.sample.painter import Piece, Seam, Shape, Stud
from imgsearch_assets.sample.palette import RGB, shaded
from imgsearch_assets.sample.tops import METAL

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


def bag_shapes(d: Design) -> list[Shape]:
    """A bag from the front, about 30 cm wide, its middle at the origin."""
    cloth, second = design_cloth(d), plain_cloth(d.second.rgb, d.texture)
    brown: RGB = d.pick("strap", ((104, 68, 42), (40, 36, 34), shaded(d.colour.rgb, 0.75)))
    strap = plain_cloth(brown, "leather")
    match d.style:
        case "tote bag":
            return _tote(d, cloth, second, strap)
        case "handbag":
            return _handbag(d, cloth, second, strap)
        case "backpack":
            return _backpack(d, cloth, second, strap)
        case _:
            return _shoulder_bag(d, cloth, brown)


def _handle(x: float, foot_y: float, top_y: float, width: float, cloth: Cloth, tone: float = 1.0) -> Piece:
    outer = smooth(
        [
            (-x - width, foot_y),
            (-x * 0.9 - width, (foot_y + top_y) / 2),
            (0, top_y - width),
            (x * 0.9 + width, (foot_y + top_y) / 2),
            (x + width, foot_y),
        ]
    )
    inner = smooth(
        [
            (x, foot_y),
            (x * 0.9 - width * 0.4, (foot_y + top_y) / 2),
            (0, top_y + width),
            (-x * 0.9 + width * 0.4, (foot_y + top_y) / 2),
            (-x, foot_y),
        ]
    )
    return Piece(np.concatenate([outer, inner]), cloth, tone=tone, relief=0.6)


def _tote(d: Design, cloth: Cloth, second: Cloth, strap: Cloth) -> list[Shape]:
    w, h = d.between("w", 17, 22), d.between("h", 15, 20)
    long = d.between("handle", 14, 26)
    handle = cloth if d.chance("own handle", 0.4) and d.texture == "canvas" else strap
    body = both_sides(
        [(0, -h), (w, -h)],
        [(w, -h), (w * 0.96, 0), (w * 0.9, h - 1.5)],
        [(w * 0.9, h - 1.5), (w * 0.86, h)],
        [(w * 0.86, h), (0, h + 0.4)],
    )
    shapes: list[Shape] = [
        _handle(w * 0.42, -h + 1, -h - long, 1.1, handle, 0.75),
        Piece(box(-w + 0.6, -h - 1, w - 0.6, -h + 2), cloth, tone=0.5),
        Piece(body, cloth),
    ]
    if d.pattern == "colour block":
        y = d.between("block", -0.2, 0.5) * h
        shapes.append(
            Piece(
                both_sides(
                    [(0, y), (w * 0.95, y)],
                    [(w * 0.95, y), (w * 0.9, h - 1.5), (w * 0.86, h)],
                    [(w * 0.86, h), (0, h + 0.4)],
                ),
                second,
            )
        )
    if d.pattern == "chest print":
        size = d.between("print", 5, 9)
        kind = d.pick("print kind", ("disc", "diamond", "bars"))
        ink = smooth_surface(d.second.rgb, 0.3, 0, 0)
        if kind == "bars":
            shapes += [Piece(box(-size, y - 1, size, y + 1), ink, relief=0, edge=0) for y in (-4, 0, 4, 8)]
        else:
            points = ellipse(0, 2, size, size, 36 if kind == "disc" else 4)
            shapes.append(Piece(points, ink, relief=0, edge=0))
    shapes.append(Seam(xy([(-w, -h + 2.6), (0, -h + 2.9), (w, -h + 2.6)]), 0.75, 0.3, d.texture == "canvas"))
    front = _handle(
        w * 0.45, -h + 9 if d.chance("long feet", 0.5) else -h + 2.5, -h - long * 0.92, 1.2, handle
    )
    return [*shapes, front]


def _handbag(d: Design, cloth: Cloth, second: Cloth, strap: Cloth) -> list[Shape]:
    w, h = d.between("w", 14, 18), d.between("h", 9, 13)
    taper = d.between("taper", 0.78, 1.0)
    body = both_sides(
        [(0, -h), (w * taper - 1, -h), (w * taper, -h + 1.5)],
        [(w * taper, -h + 1.5), (w, h - 2.5), (w - 2.5, h)],
        [(w - 2.5, h), (0, h + 0.3)],
    )
    lid = second if d.pattern == "colour block" else cloth
    deep = d.between("flap", 0.2, 1.0) * h
    flap = both_sides(
        [(0, -h - 0.6), (w * taper, -h - 0.2)],
        [(w * taper, -h - 0.2), (w * (taper + 0.02), deep * 0.5 - 3), (w * 0.5, deep * 0.9)],
        [(w * 0.5, deep * 0.9), (0, deep)],
    )
    handle = strap if d.chance("other handle", 0.5) else cloth
    return [
        _handle(w * 0.5, -h + 1, -h - d.between("handle", 9, 15), 1.1, handle),
        Piece(body, cloth),
        Piece(flap, lid, tone=1.0, relief=0.8, edge=0.9),
        Piece(
            box(-1.8, deep - 2.4, 1.8, deep + 1.6, 0.5),
            smooth_surface(d.pick("metal", ((214, 180, 98), METAL)), 0, 1, 0.8),
        ),
        *(Stud(s * w * 0.5, -h + 2, 0.9, METAL) for s in (-1, 1)),
    ]


def _backpack(d: Design, cloth: Cloth, second: Cloth, strap: Cloth) -> list[Shape]:
    w, h = d.between("w", 14, 16.5), d.between("h", 20, 23)
    body = both_sides(
        [(0, -h), (w * 0.6, -h + 0.6), (w, -h + 9)], [(w, -h + 9), (w + 0.6, h - 6), (w - 2, h), (0, h + 0.6)]
    )
    pocket_cloth = second if d.pattern == "colour block" or d.chance("contrast pocket", 0.25) else cloth
    y = d.between("pocket", 0, 5)
    pocket = both_sides(
        [(0, y), (w - 4, y + 0.2), (w - 2.6, y + 3)],
        [(w - 2.6, y + 3), (w - 2.4, h - 5), (w - 5, h - 2.6), (0, h - 2.4)],
    )
    shapes: list[Shape] = [_handle(3, -h + 1, -h - 5, 0.9, strap)]
    shapes += [
        Piece(
            outline(
                [(s * 9, -h + 5), (s * (w + 4), -4), (s * (w + 2), h - 4)],
                [(s * (w + 2), h - 4), (s * (w - 1), h - 4)],
                [(s * (w - 1), h - 4), (s * 6, -h + 5)],
            ),
            strap,
            tone=0.8,
        )
        for s in (-1, 1)
    ]
    shapes += [Piece(body, cloth), Piece(pocket, pocket_cloth, relief=0.8, edge=0.9)]
    if d.chance("lid", 0.45):
        lid = both_sides(
            [(0, -h - 0.4), (w * 0.62, -h + 0.4), (w + 0.4, -h + 9)],
            [(w + 0.4, -h + 9), (w - 2, -3), (0, -1.6)],
        )
        shapes += [Piece(lid, pocket_cloth, relief=0.8, edge=0.8)]
        shapes += [Piece(box(x - 1, -7, x + 1, 4, 0.4), strap) for x in (-6, 6)]
    else:
        shapes.append(
            Seam(
                xy([(-w + 0.6, 0), (-w + 1.6, -h + 9), (0, -h + 3), (w - 1.6, -h + 9), (w - 0.6, 0)]),
                0.5,
                0.8,
            )
        )
        shapes.append(Stud(w - 0.8, 0, 0.8, METAL))
    shapes.append(Seam(xy([(-w + 5, y + 3), (0, y + 2.6), (w - 5, y + 3)]), 0.5, 0.7))
    return shapes


def _shoulder_bag(d: Design, cloth: Cloth, brown: RGB) -> list[Shape]:
    w, h = d.between("w", 12, 16), d.between("h", 8, 11)
    curve = d.between("round", 2, 7)
    body = both_sides(
        [(0, -h), (w - 1, -h)],
        [(w - 1, -h), (w, -h + 2), (w - 0.6, h - curve), (w - curve, h)],
        [(w - curve, h), (0, h + 0.4)],
    )
    deep = d.between("flap", 0.35, 0.8) * h
    flap = both_sides(
        [(0, -h - 0.4), (w - 0.4, -h - 0.3)],
        [(w - 0.4, -h - 0.3), (w + 0.2, 0), (w * 0.6, deep)],
        [(w * 0.6, deep), (0, deep + 0.6)],
    )
    gold: RGB = d.pick("metal", ((214, 180, 98), METAL))
    drop = d.between("drop", 16, 30)
    line = smooth(
        [
            (-w + 0.6, -h + 1),
            (-w * 0.55, -h - drop * 0.7),
            (0, -h - drop),
            (w * 0.55, -h - drop * 0.7),
            (w - 0.6, -h + 1),
        ]
    )
    carrier: list[Shape] = [
        _ribbon(
            line,
            0.6,
            plain_cloth(brown, "leather")
            if d.chance("leather strap", 0.6)
            else smooth_surface(gold, 0, 1.2, 0.9),
        )
    ]
    clasp = Piece(ellipse(0, deep - 1.2, 1.7, 1.7), smooth_surface(gold, 0, 1, 0.9))
    return [*carrier, Piece(body, cloth), Piece(flap, cloth, edge=1.0), clasp]


def _ribbon(line: Points, half_width: float, cloth: Cloth) -> Piece:
    offset = np.gradient(line, axis=0)
    offset = np.stack([-offset[:, 1], offset[:, 0]], 1) / np.maximum(
        np.linalg.norm(offset, axis=1, keepdims=True), 1e-6
    )
    return Piece(
        np.concatenate([line - offset * half_width, (line + offset * half_width)[::-1]]).astype(np.float32),
        cloth,
    )


def hat_shapes(d: Design) -> list[Shape]:
    """A hat from the front, the middle of its rim at the origin, as wide as the head it sits on."""
    cloth, second = design_cloth(d), plain_cloth(d.second.rgb, d.texture)
    match d.style:
        case "baseball cap":
            return _cap(d, cloth, second)
        case "bucket hat":
            return _bucket(d, cloth)
        case "beanie":
            return _beanie(d, cloth, second)
        case _:
            return _fedora(d, cloth)


def _cap(d: Design, cloth: Cloth, second: Cloth) -> list[Shape]:
    crown = outline(
        [(-10.4, 1), (-10.6, -6), (-6, -12.2), (1, -13.4), (7.6, -10.8), (10.4, -4), (10.4, 1)],
        [(10.4, 1), (0, 2.4), (-10.4, 1)],
    )
    brim = outline(
        [(-4, 0.4), (6, -0.8), (13, -0.2), (20.5, 3.4)],
        [(20.5, 3.4), (18.5, 5.2), (8, 4.2), (-2, 3.2), (-4, 0.4)],
    )
    other = second if d.pattern == "colour block" or d.chance("contrast brim", 0.3) else cloth
    shapes: list[Shape] = [Piece(crown, cloth)]
    shapes += [Seam(xy([(1, -13.2), (x * 0.7, -8), (x, 1.4)]), 0.75, 0.3) for x in (-5, 1.5, 7)]
    shapes += [
        Piece(brim, other, 0.2, edge=0.9),
        Seam(xy([(2, 1.2), (12, 1.6), (18.4, 3.8)]), 0.8, 0.25, True),
    ]
    shapes.append(Stud(1, -13.4, 0.9, d.second.rgb if other is second else shaded(d.colour.rgb, 0.9)))
    if d.chance("badge", 0.7):
        ink = smooth_surface(d.second.rgb if other is not second else d.third.rgb, 0, 0.5, 0)
        kind = d.pick("badge kind", ("disc", "square", "bar", "star"))
        points = {
            "disc": ellipse(4.2, -5.4, 2.4, 2.4),
            "square": box(2, -7.4, 6.6, -3.4, 0.5),
            "bar": box(1.4, -6.2, 7.2, -4.2, 0.4),
            "star": ellipse(4.2, -5.4, 2.8, 2.8, 4),
        }[kind]
        shapes.append(Piece(points, ink, relief=0.3))
    return shapes


def _bucket(d: Design, cloth: Cloth) -> list[Shape]:
    w, droop = d.between("brim", 15, 19), d.between("droop", 3.5, 6.5)
    brim = both_sides(
        [(0, -2.6), (9.4, -3.4)],
        [(9.4, -3.4), (w, droop - 0.6)],
        [(w, droop - 0.6), (w * 0.6, droop + 2.4), (0, droop + 3.2)],
    )
    crown = both_sides(
        [(0, -12.6), (6, -12.2), (8.2, -11)], [(8.2, -11), (10.2, -2)], [(10.2, -2), (5, -0.6), (0, -0.2)]
    )
    shapes: list[Shape] = [
        Piece(brim, cloth, tone=0.93),
        Piece(crown, cloth),
        Seam(xy([(-8, -10.6), (0, -9.6), (8, -10.6)]), 0.75, 0.3),
    ]
    for v in (0.4, 0.7):
        x, y = 10 + (w - 10) * v, -2 + (droop + 2) * v
        shapes.append(
            Seam(
                xy([(-x, y), (-x * 0.6, y + 2.2), (0, y + 2.9), (x * 0.6, y + 2.2), (x, y)]),
                0.82,
                0.25,
                True,
            )
        )
    return shapes


def _beanie(d: Design, cloth: Cloth, second: Cloth) -> list[Shape]:
    high = d.between("high", 12, 17)
    crown = both_sides([(0, -high), (5.6, -high + 1), (9.8, -7), (10.6, 0)], [(10.6, 0), (0, 1)])
    deep = d.between("cuff", 4.5, 7)
    cuff = both_sides(
        [(0, -deep + 1), (10.8, -deep)],
        [(10.8, -deep), (11.3, -deep * 0.4), (11, 1.2)],
        [(11, 1.2), (5, 2.4), (0, 2.8)],
    )
    other = second if d.chance("contrast cuff", 0.3) else plain_cloth(d.colour.rgb, d.texture)
    shapes: list[Shape] = [Piece(crown, cloth), Piece(cuff, other, relief=0.8, edge=0.8)]
    if d.chance("pompom", 0.45):
        ball = plain_cloth(d.second.rgb, "boucle")
        shapes.insert(0, Piece(ellipse(0, -high - 2.4, 4, 4), ball))
    elif d.chance("label", 0.5):
        shapes.append(Piece(box(-2.6, -deep + 2, 2.6, -0.6, 0.3), smooth_surface(d.third.rgb, 0, 0.4, 0)))
    return shapes


def _fedora(d: Design, cloth: Cloth) -> list[Shape]:
    w = d.between("brim", 17, 23)
    dip = d.between("dip", -1.5, 2.5)
    brim = both_sides([(0, -3.4), (9, -3), (w, dip)], [(w, dip), (w * 0.62, 3.6), (0, 4.6)])
    crown = both_sides(
        [(0, -12.2), (2.8, -12.6), (6.8, -13.2), (9, -9), (10.2, -1.4)], [(10.2, -1.4), (5, 0.4), (0, 1)]
    )
    band = both_sides([(0, -3), (9.7, -5)], [(9.7, -5), (10.3, -1.2)], [(10.3, -1.2), (5, 0.5), (0, 1.1)])
    shapes: list[Shape] = [
        Piece(brim, cloth),
        Piece(crown, cloth),
        Seam(xy([(-1, -12.4), (0, -8.6), (0.6, -6)]), 0.85, 1.4),
        Piece(band, smooth_surface(d.second.rgb, 0.3, 0.7, 0.2), edge=0.4),
    ]
    if d.chance("bow", 0.4):
        shapes.append(
            Piece(box(6.4, -4.6, 9.4, -0.6, 0.6), smooth_surface(d.second.rgb, 0.3, 0.7, 0.2), tone=0.85)
        )
    return shapes
