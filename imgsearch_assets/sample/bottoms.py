"""Garments that hang from the waist: skirts, trousers, shorts."""

import numpy as np

from imgsearch_assets.sample.body import Pose
from imgsearch_assets.sample.cloth import Cloth, design_cloth, plain_cloth
from imgsearch_assets.sample.curves import along, both_sides, box, outline, smooth, tube, xy
from imgsearch_assets.sample.design import Design
from imgsearch_assets.sample.painter import Piece, Seam, Shape, Stud
from imgsearch_assets.sample.palette import METAL

_WAIST_Y = 42.0
_WAIST, _HIPS = 16.0, 19.5


def skirt_shapes(d: Design, pose: Pose) -> list[Shape]:
    b = d.between
    cloth, second = design_cloth(d), plain_cloth(d.second.rgb, d.texture)
    match d.style:
        case "pencil skirt":
            length, hem = b("l", 52, 66), b("h", 17.5, 20.5)
        case "A-line skirt":
            length, hem = b("l", 42, 60), b("h", 26, 36)
        case "pleated skirt":
            length, hem = b("l", 40, 78), b("h", 30, 44)
        case _:
            length, hem = b("l", 62, 90), b("h", 36, 48)
    top, bottom = _WAIST_Y, _WAIST_Y + length
    hips = _HIPS + max((hem - _HIPS) * 0.3, 0)
    side = [
        (_WAIST, top),
        (hips, top + 20),
        ((hips + hem) / 2 + 0.5, top + 20 + (length - 20) * 0.5),
        (hem, bottom),
    ]
    shapes: list[Shape] = [
        Piece(
            both_sides([(0, top + 0.6), (_WAIST, top)], [(_WAIST, top), (_WAIST - 1, top + 4), (0, top + 5)]),
            cloth,
            tone=0.55,
            behind=True,
        )
    ]
    hem_line = [(hem, bottom), (hem * 0.6, bottom + 1.8), (0, bottom + 2.4)]
    if d.style == "pleated skirt":
        hem_line = [
            (hem * (1 - i / 9), bottom + 1.2 + (1.4 if i % 2 else 0) + 1.2 * i / 9) for i in range(10)
        ]
    shapes.append(Piece(both_sides([(0, top + 1.4), (_WAIST, top)], side, hem_line), cloth))
    flank = smooth(side)

    def ray(share: float, tone: float, width: float) -> Seam:
        ys = np.linspace(top + 4, bottom + 1, 6)
        xs = np.interp(ys, flank[:, 1], flank[:, 0]) * share
        return Seam(np.stack([xs, ys], 1).astype(np.float32), tone, width)

    match d.style:
        case "pleated skirt":
            count = d.pick("pleats", (9, 12, 16))
            for share in np.linspace(-0.92, 0.92, count):
                shapes += [ray(share, 0.68, 0.5), ray(share + 0.5 / count, 1.1, 0.8)]
        case "tiered skirt":
            for v in (0.36, 0.68):
                y = top + length * v
                x = float(np.interp(y, flank[:, 1], flank[:, 0]))
                shapes.append(Seam(xy([(-x, y), (0, y + 2), (x, y)]), 0.66, 0.9))
                for share in np.linspace(-0.85, 0.85, 9):
                    shapes.append(Seam(xy([(share * x, y + 1.6), (share * x * 1.06, y + 9)]), 0.86, 0.6))
        case "pencil skirt":
            shapes.append(Seam(xy([(0, bottom - d.between("slit", 4, 18)), (0.3, bottom + 2)]), 0.45, 0.7))
            shapes += [Seam(xy([(s * 8, top + 4), (s * 9, top + 15)]), 0.8, 0.25) for s in (-1, 1)]
        case _:
            shapes += [ray(share, 0.86, 0.9) for share in (-0.55, 0.5)]
            if d.texture in ("denim", "corduroy") or d.chance("buttons", 0.3):
                shapes.append(Seam(xy([(0, top + 4), (0, bottom + 2)]), 0.65, 0.4))
                shapes += [Stud(0, float(y), 0.8, METAL) for y in np.linspace(top + 7, bottom - 5, 6)]
                shapes += _slanted_pockets(top)
    shapes.append(
        _band(second if d.chance("contrast band", 0.2) else cloth, _WAIST, top, d.between("band", 3, 5.5))
    )
    return shapes


def _band(cloth: Cloth, half_width: float, top: float, depth: float) -> Piece:
    x = half_width
    ring = both_sides(
        [(0, top + 1.4), (x, top)],
        [(x, top), (x + 0.5, top + depth)],
        [(x + 0.5, top + depth), (0, top + depth + 1.4)],
    )
    return Piece(ring, cloth, np.pi / 2, 0.96, 0.5, 0.8)


def _slanted_pockets(top: float) -> list[Shape]:
    return [
        Seam(xy([(s * 11, top + 4.5), (s * 14.5, top + 9), (s * 18.4, top + 15)]), 0.6, 0.5) for s in (-1, 1)
    ]


def _legs_cut(d: Design) -> tuple[float, tuple[float, float, float]]:
    """(fraction of the leg covered, half-widths at thigh, knee and hem)."""
    b = d.between
    match d.style:
        case "jeans":
            hem = d.pick("leg", (7.0, 8.5, 10.5))
            return b("l", 0.95, 1.02), (b("t", 11, 12.5), 8.0 + (hem - 7) * 0.5, hem)
        case "chinos":
            return b("l", 0.93, 1.0), (12, b("k", 9, 10), b("h", 7.8, 9))
        case "wide-leg trousers":
            return b("l", 0.96, 1.03), (13, b("k", 13, 15), b("h", 14, 19))
        case "joggers":
            return b("l", 0.95, 1.0), (12.8, b("k", 9.5, 11), 6.2)
        case "flared trousers":
            return b("l", 0.98, 1.03), (11.5, 8.3, b("h", 14, 18))
        case "running shorts":
            return b("l", 0.2, 0.28), (13, 14, b("h", 14, 15.5))
        case _:
            return b("l", 0.3, 0.48), (12.5, 12.5, b("h", 11.5, 14))


def legs_shapes(d: Design, pose: Pose) -> list[Shape]:
    """Trousers and shorts."""
    cover, (thigh, knee, hem) = _legs_cut(d)
    cloth, second = design_cloth(d), plain_cloth(d.second.rgb, d.texture)
    ground = plain_cloth(d.colour.rgb, d.texture)
    top = _WAIST_Y
    shapes: list[Shape] = [
        Piece(
            both_sides([(0, top + 0.6), (_WAIST, top)], [(_WAIST, top), (_WAIST - 1, top + 5), (0, top + 6)]),
            ground,
            tone=0.5,
            behind=True,
        )
    ]
    for side in (-1, 1):
        shapes += _leg(d, pose, side, cover, (thigh, knee, hem), cloth, second)
    shapes.append(Seam(xy([(0, top + 4), (0.4, top + 18), (0, 77)]), 0.68, 0.35))
    stretch = d.style in ("joggers", "running shorts", "swim shorts")
    if stretch:
        shapes.append(_band(plain_cloth(d.colour.rgb, "rib"), _WAIST + 0.3, top, 5))
        shapes += [
            Seam(
                xy([(s * 1, top + 4), (s * 2.2, top + 10), (s * 1.6, top + 15)]),
                width_cm=0.6,
                rgb=d.second.rgb,
            )
            for s in (-1, 1)
        ]
    else:
        shapes.append(_band(cloth, _WAIST, top, 4.2))
        shapes += [Piece(box(x - 0.6, top - 0.2, x + 0.6, top + 6, 0.3), cloth, edge=0.8) for x in (-10, 10)]
        shapes.append(Stud(0, top + 3.4, 0.9, METAL))
        shapes.append(
            Seam(
                xy([(2.6, top + 6), (2.6, top + 16), (0.4, top + 20)]),
                1.3 if d.texture == "denim" else 0.75,
                0.25,
                d.texture == "denim",
            )
        )
        shapes += _slanted_pockets(top)
    return shapes


def _leg(
    d: Design,
    pose: Pose,
    side: int,
    cover: float,
    widths: tuple[float, float, float],
    cloth: Cloth,
    second: Cloth,
) -> list[Shape]:
    thigh, knee, hem = widths
    leg = along(pose.leg(side), 0.1, min(cover, 1.0), 8)
    if cover > 1:
        leg = np.concatenate([leg, leg[-1:] + xy([0, (cover - 1) * 86])])
    places = np.linspace(0, cover, len(leg))
    half = np.interp(places, [0, 0.12, 0.5, 1.0], [thigh, thigh, knee, hem]).astype(np.float32)
    if cover < 0.6:
        half = np.linspace(thigh - 1, hem, len(leg), dtype=np.float32)
    left, right = tube(leg, half)
    outer, inner = (left, right) if left[:, 0].mean() * side > right[:, 0].mean() * side else (right, left)
    # Each leg keeps to its own side, a little farther the lower.
    gap = 0.3 + np.maximum(inner[:, 1] - 77, 0) * (0.09 if cover < 0.6 else 0.02)
    inner = np.stack([np.maximum(inner[:, 0] * side, gap) * side, inner[:, 1]], 1).astype(np.float32)
    below = inner[inner[:, 1] > 79]
    inner = below if len(below) > 1 else inner[-2:]
    waist = xy([(0, _WAIST_Y + 1.4), (_WAIST * side, _WAIST_Y)])
    hip = np.concatenate([xy([(_WAIST * side, _WAIST_Y), (_HIPS * side, _WAIST_Y + 18)]), outer[1:]])
    bottom = xy([outer[-1], (outer[-1] + inner[-1]) / 2 + (0, 0.8), inner[-1]])
    crotch = np.concatenate([inner[::-1], xy([(0, 77)])])
    way = leg[-1] - leg[-3]
    angle = float(np.arctan2(way[0], way[1]))
    shapes: list[Shape] = [
        Piece(outline(waist, hip, bottom, crotch, xy([(0, 77), (0, _WAIST_Y + 1.4)])), cloth, -angle)
    ]
    if d.pattern == "side stripe":
        inset = outer + (inner.mean(axis=0) - outer.mean(axis=0)) / 9
        shapes.append(
            Seam(
                np.concatenate(
                    [
                        xy([((_WAIST - 1.6) * side, _WAIST_Y + 4), ((_HIPS - 1.6) * side, _WAIST_Y + 18)]),
                        inset[1:],
                    ]
                ),
                width_cm=2.4,
                rgb=d.second.rgb,
            )
        )
    if d.style in ("chinos", "wide-leg trousers") and d.chance("crease", 0.6):
        shapes.append(Seam(leg[1:], 1.12, 0.4))
    way = way / np.linalg.norm(way)
    end = xy([outer[-1], inner[-1]])
    if d.style == "joggers":
        shapes.append(
            Piece(
                xy([end[0] - way * 6, end[1] - way * 6, end[1], end[0]]),
                plain_cloth(d.colour.rgb, "rib"),
                -angle,
                0.95,
                0.6,
            )
        )
    elif d.chance("turn-up", 0.25) and d.style in ("jeans", "chinos", "chino shorts", "denim shorts"):
        flare = (end[0] - end[1]) * 0.03
        shapes.append(
            Piece(
                xy([end[0] - way * 4 + flare, end[1] - way * 4 - flare, end[1] - flare, end[0] + flare]),
                cloth,
                -angle,
                1.12 if d.texture == "denim" else 0.97,
                0.5,
                0.9,
            )
        )
    else:
        shapes.append(Seam(end - way * 2, 1.25 if d.texture == "denim" else 0.82, 0.25, d.texture == "denim"))
    if d.texture == "denim" and d.chance("faded", 0.6):
        fade = along(leg, 0.05, 0.55, 6)
        shapes += [Seam(fade, tone, width) for tone, width in ((1.05, 9.0), (1.06, 6.0), (1.06, 3.5))]
    if d.chance("cargo", 0.3) and d.style in ("chinos", "chino shorts", "joggers"):
        x, y = outer[2 if cover > 0.6 else 4]
        shapes.append(
            Piece(
                box(min(x, x - 11 * side), y, max(x, x - 11 * side), y + 14, 1),
                cloth,
                tone=1.0,
                relief=0.4,
                edge=1.0,
            )
        )
    return shapes
