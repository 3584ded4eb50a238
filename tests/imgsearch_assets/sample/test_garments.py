from collections.abc import Callable

import numpy as np
import pytest

from imgsearch_assets.sample.body import Pose
from imgsearch_assets.sample.design import STYLES, new_design
from imgsearch_assets.sample.garments import Design, extent, garment
from imgsearch_assets.sample.painter import Layer, Light, View

EVERY = [(category, style) for category, styles in STYLES.items() for style in styles]


def design_of(category: str, style: str, seed: int) -> Design:
    for attempt in range(200):
        design = new_design(np.random.default_rng([seed, attempt]), category)
        if design.style == style:
            return design
    raise AssertionError(f"no {style} in 200 designs")


@pytest.mark.parametrize(("category", "style"), EVERY, ids=[style for _, style in EVERY])
@pytest.mark.parametrize("pose", [Pose.laid, Pose.standing], ids=["laid", "standing"])
def test_every_style_can_be_painted_in_every_pose(
    category: str, style: str, pose: Callable[[np.random.Generator], Pose]
) -> None:
    for seed in range(3):
        shapes = garment(design_of(category, style, seed), pose(np.random.default_rng(seed)))
        x0, y0, x1, y1 = extent(shapes)
        assert 5 < x1 - x0 < 160
        assert 5 < y1 - y0 < 180
        layer = Layer(120, 100)
        view = View.looking(((x0 + x1) / 2, (y0 + y1) / 2), (50, 60), min(90 / (x1 - x0), 110 / (y1 - y0)))
        layer.paint(shapes, view, Light.drawn(np.random.default_rng(seed)))
        assert (layer.cover > 127).mean() > 0.08


def test_a_style_that_hangs_from_nowhere_is_an_error() -> None:
    design = new_design(np.random.default_rng(0), "dress")
    nonsense = Design(**(vars(design) | {"style": "cape"}))
    with pytest.raises(ValueError, match=r"^'cape' does not hang from the shoulders$"):
        garment(nonsense, Pose.laid(np.random.default_rng(0)))
