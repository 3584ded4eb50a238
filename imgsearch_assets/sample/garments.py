"""A design as shapes to paint: on a body, or in its own frame, where its pictures are taken."""

import numpy as np

from imgsearch_assets.sample.bags import bag_shapes
from imgsearch_assets.sample.body import Pose
from imgsearch_assets.sample.bottoms import legs_shapes, skirt_shapes
from imgsearch_assets.sample.design import CATEGORIES, Design, new_design
from imgsearch_assets.sample.hats import hat_shapes
from imgsearch_assets.sample.painter import Piece, Shape
from imgsearch_assets.sample.shoes import shoe_shapes
from imgsearch_assets.sample.tops import top_shapes

__all__ = ["CATEGORIES", "Design", "extent", "garment", "new_design"]

LOWER = ("skirt", "trousers", "shorts")

Frame = tuple[float, float, float, float]


def garment(design: Design, pose: Pose) -> list[Shape]:
    """The garment's shapes in painting order, in centimetres; pieces behind a wearer come first.

    Clothes are in the body's frame, shoes, bags and hats in their own.
    """
    match design.category:
        case "skirt":
            return skirt_shapes(design, pose)
        case "trousers" | "shorts":
            return legs_shapes(design, pose)
        case "shoe":
            return shoe_shapes(design)
        case "bag":
            return bag_shapes(design)
        case "hat":
            return hat_shapes(design)
        case _:
            return top_shapes(design, pose)


def extent(shapes: list[Shape]) -> Frame:
    """Left, top, right, bottom of the pieces, in centimetres."""
    points = np.concatenate([shape.outline for shape in shapes if isinstance(shape, Piece)])
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)
