"""Hats, each from the front in centimetres of its own frame."""

from imgsearch_assets.sample.cloth import Cloth, design_cloth, plain_cloth, smooth_surface
from imgsearch_assets.sample.curves import both_sides, box, ellipse, outline, xy
from imgsearch_assets.sample.design import Design
from imgsearch_assets.sample.painter import Piece, Seam, Shape, Stud
from imgsearch_assets.sample.palette import shaded


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
