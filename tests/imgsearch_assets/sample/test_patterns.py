from dataclasses import replace

import numpy as np
import pytest

from imgsearch_assets.sample.design import new_design
from imgsearch_assets.sample.patterns import PLACED, pattern_tile
from imgsearch_assets.sample.textures import TILE_PX

PRINTED = (
    "stripes",
    "breton",
    "pinstripes",
    "gingham",
    "tartan",
    "windowpane",
    "herringbone",
    "chevron",
    "argyle",
    "nordic",
    "dots",
    "floral",
    "leaves",
    "camouflage",
    "abstract",
    "leopard",
    "tie-dye",
    "melange",
)
DESIGN = new_design(np.random.default_rng(3))


@pytest.mark.parametrize("pattern", PRINTED)
def test_a_pattern_shows_and_is_the_same_every_time(pattern: str) -> None:
    design = replace(DESIGN, pattern=pattern)
    tile = pattern_tile(design)
    assert tile is not None
    assert tile.shape == (TILE_PX, TILE_PX, 3)
    assert tile.dtype == np.uint8
    assert tile.reshape(-1, 3).std(axis=0).max() > 5
    again = pattern_tile(design)
    assert again is not None
    np.testing.assert_array_equal(tile, again)


@pytest.mark.parametrize("pattern", sorted(PLACED))
def test_what_the_outline_places_is_no_tile(pattern: str) -> None:
    assert pattern_tile(replace(DESIGN, pattern=pattern)) is None


@pytest.mark.parametrize("pattern", ["dots", "floral", "leaves", "abstract", "gingham", "argyle"])
def test_a_pattern_repeats_without_a_seam(pattern: str) -> None:
    tile = pattern_tile(replace(DESIGN, pattern=pattern))
    assert tile is not None
    plane = tile.astype(float).mean(axis=2)
    for axis in (0, 1):
        steps = np.abs(np.diff(plane, axis=axis)).mean(axis=1 - axis)
        seam = np.abs(np.take(plane, 0, axis) - np.take(plane, -1, axis)).mean()
        assert seam <= steps.max() + 2
