"""Bags, each from the front in centimetres of its own frame."""

import numpy as np

from imgsearch_assets.sample.cloth import Cloth, design_cloth, plain_cloth, smooth_surface
from imgsearch_assets.sample.curves import Points, both_sides, box, ellipse, outline, smooth, xy
from imgsearch_assets.sample.design import Design
from imgsearch_assets.sample.painter import Piece, Seam, Shape, Stud
from imgsearch_assets.sample.palette import METAL, RGB, shaded


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
