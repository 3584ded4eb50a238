"""Garments that hang from the shoulders: from the tank top to the coat, and dresses."""

import numpy as np

from imgsearch_assets.sample.body import Pose
from imgsearch_assets.sample.cloth import Cloth, design_cloth, plain_cloth
from imgsearch_assets.sample.curves import (
    Points,
    along,
    both_sides,
    outline,
    tube,
    xy,
)
from imgsearch_assets.sample.cuts import Cut, cut_of, flank, neckline
from imgsearch_assets.sample.design import Design
from imgsearch_assets.sample.fronts import Garment, front
from imgsearch_assets.sample.painter import Piece, Seam, Shape
from imgsearch_assets.sample.trims import chest_band, chest_print, lower_block


def _trunk(cut: Cut) -> Points:
    """The front of the body."""
    tip = (18.5 + cut.drop, 2.2 + cut.drop * 0.4)
    armhole = [tip, (tip[0] - 1.8, 12), (cut.chest, 21)]
    bottom = cut.length + cut.hem_dip
    hem = [(cut.hem, cut.length), (cut.hem * 0.5, bottom - cut.hem_dip * 0.2), (0, bottom)]
    return both_sides(neckline(cut), [(cut.neck_width, -3), tip], armhole, flank(cut), hem)


def _sleeve(cut: Cut, pose: Pose, side: int) -> tuple[Points, Points, float]:
    """(outline, the end of the sleeve as a line, its angle from straight down)."""
    arm = along(pose.arm(side), 0.0, cut.sleeve, 9)
    widths = np.linspace(cut.sleeve_width, cut.cuff_width, 9, dtype=np.float32)
    inner, outer = sorted(tube(arm, widths), key=lambda edge: float(edge[4, 0] * side))
    tip = xy([(18.5 + cut.drop) * side, 2.2 + cut.drop * 0.4])
    pit = xy([(cut.chest - 1) * side, 21])
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
    contrast = d.style == "ringer tee" or d.chance("contrast rib", 0.15)
    g = Garment(
        design=d,
        cut=cut_of(d),
        cloth=design_cloth(d),
        ground=plain_cloth(d.colour.rgb, d.texture),
        second=plain_cloth(d.second.rgb, d.texture),
        rib=plain_cloth((d.second if contrast else d.colour).rgb, "rib"),
    )
    return [*_back(g), *_body(g), *_sleeves(g, pose), *_hem(g), *front(g)]


def _body(g: Garment) -> list[Shape]:
    d, cut = g.design, g.cut
    shapes: list[Shape] = [Piece(_trunk(cut), g.cloth)]
    if d.style == "slip dress":
        shapes = _slip(cut, g.cloth)
    match d.pattern:
        case "colour block":
            shapes.append(lower_block(cut, d, g.second))
        case "chest band":
            shapes.append(chest_band(cut, d, g.second))
        case "chest print":
            shapes += chest_print(d)
    return shapes


def _hem(g: Garment) -> list[Shape]:
    cut = g.cut
    if cut.ribbed:
        return [_waistband(cut, g.rib)]
    if g.design.style == "slip dress" or g.design.texture == "leather":
        return []
    x, y = cut.hem - 0.4, cut.length - 2.2
    return [Seam(xy([(-x, y), (0, y + cut.hem_dip), (x, y)]), 0.82, 0.25, g.design.texture == "denim")]


def _back(g: Garment) -> list[Shape]:
    """What shows inside the neck: the back of the garment, and its hood."""
    d, cut = g.design, g.cut
    inside = both_sides(
        [(0, -1.2), (cut.neck_width * 0.6, -1.8), (cut.neck_width + 0.5, -3.4)],
        [
            (cut.neck_width + 0.5, -3.4),
            (min(cut.neck_width + 3, 15.5 + cut.drop), 8),
            (0, cut.neck_depth + 2),
        ],
    )
    lining = g.second if d.category in ("jacket", "coat") and d.chance("lining", 0.5) else g.ground
    shapes: list[Shape] = (
        [] if d.style == "slip dress" else [Piece(inside, lining, tone=0.58, relief=0.3, behind=True)]
    )
    if d.style in ("hoodie", "parka", "duffle coat"):
        hood = both_sides([(0, -17), (9, -15), (14.5, -6), (13.5, 3), (6, 6), (0, 7)])
        shapes.append(Piece(hood, g.ground, tone=0.86, behind=True))
        hollow = both_sides([(0, -12.5), (6, -11), (9, -4), (6, 3), (0, 5)])
        shapes.append(Piece(hollow, lining, tone=0.5, relief=0.4, behind=True))
    return shapes


def _slip(cut: Cut, cloth: Cloth) -> list[Shape]:
    """The body of a dress that hangs from two straps."""
    top = [(0, cut.neck_depth), (5, cut.neck_depth - 2), (10.5, 10), (14, 14), (cut.chest, 22)]
    hem = [(cut.hem, cut.length), (0, cut.length + 1.5)]
    straps: list[Shape] = [
        Piece(xy([(10 * s, -2.6), (11 * s, -2.6), (11.4 * s, 11), (10 * s, 11)]), cloth, edge=0.2)
        for s in (-1, 1)
    ]
    return [*straps, Piece(both_sides(top, flank(cut), hem), cloth)]


def _sleeves(g: Garment, pose: Pose) -> list[Shape]:
    d, cut, rib = g.design, g.cut, g.rib
    if cut.sleeve == 0:
        return []
    blocked = d.pattern == "colour block" and d.chance("block sleeves", 0.5)
    cloth = g.second if blocked else g.cloth
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
