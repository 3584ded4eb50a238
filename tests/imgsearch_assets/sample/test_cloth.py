import numpy as np

from imgsearch_assets.sample.cloth import design_cloth, plain_cloth, smooth_surface
from imgsearch_assets.sample.design import new_design
from imgsearch_assets.sample.textures import PX_PER_CM, TILE_PX


def test_cloth_is_seen_at_about_the_size_of_the_picture() -> None:
    cloth = plain_cloth((120, 60, 30), "denim")
    for px_per_cm in (2.0, 5.0, 8.0, 16.0, 40.0):
        tile, tile_px_per_cm = cloth.at(px_per_cm)
        assert tile.shape[0] == TILE_PX * tile_px_per_cm / PX_PER_CM
    assert cloth.at(40.0)[1] == PX_PER_CM
    assert cloth.at(2.0)[1] == PX_PER_CM / 8


def test_plain_cloth_has_the_colour_asked_for() -> None:
    mean = plain_cloth((120, 60, 30), "poplin").mips[0].reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(mean, [120, 60, 30], atol=4)


def test_the_cloth_of_a_design_is_woven_once() -> None:
    design = new_design(np.random.default_rng(4))
    assert design_cloth(design) is design_cloth(design)


def test_a_smooth_surface_has_no_weave() -> None:
    assert smooth_surface((1, 2, 3), 0, 1, 0).mips[0].reshape(-1, 3).std(axis=0).max() == 0
