from collections.abc import Callable

import numpy as np
import pytest

from imgsearch_assets.sample import backdrops

Backdrop = Callable[[np.random.Generator, int, int], backdrops.Picture]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("make", [backdrops.surface, backdrops.street])
def test_a_backdrop_fills_the_picture(make: Backdrop, seed: int) -> None:
    picture = make(np.random.default_rng(seed), 161, 203)
    assert picture.shape == (161, 203, 3)
    assert picture.dtype == np.uint8


def test_paper_is_light() -> None:
    for tinted in (False, True):
        assert backdrops.studio(np.random.default_rng(0), 160, 200, tinted).mean() > 180


def test_grain_changes_pixels_but_not_the_picture() -> None:
    grey = np.full((200, 200, 3), 120, np.uint8)
    noisy = backdrops.grained(grey, np.random.default_rng(0), 0.5)
    assert noisy.std() > 2
    assert abs(float(noisy.mean()) - 120) < 1
