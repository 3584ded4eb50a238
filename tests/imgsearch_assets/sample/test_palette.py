import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsearch_assets.sample.palette import (
    BY_NAME,
    COLOURS,
    Colour,
    companion,
    dyed,
    mixed,
    nearest_family,
    shaded,
)


def test_colour_names_are_unique() -> None:
    assert len(BY_NAME) == len(COLOURS)


@pytest.mark.parametrize("colour", COLOURS, ids=lambda colour: colour.name)
def test_every_colour_is_of_its_own_family(colour: Colour) -> None:
    assert nearest_family(colour.rgb) == colour.family


@given(st.integers(0, 2**32 - 1), st.sampled_from(COLOURS))
def test_a_companion_can_be_told_from_its_colour(seed: int, colour: Colour) -> None:
    other = companion(colour, np.random.default_rng(seed))
    assert sum(abs(a - b) for a, b in zip(colour.rgb, other.rgb, strict=True)) > 50


@given(st.integers(0, 2**32 - 1), st.sampled_from(COLOURS))
def test_dyes_keep_the_name_and_stay_colours(seed: int, colour: Colour) -> None:
    lot = dyed(colour, np.random.default_rng(seed))
    assert lot.name == colour.name
    assert all(0 <= channel <= 255 for channel in lot.rgb)


def test_mixing_and_shading() -> None:
    assert mixed((0, 0, 0), (200, 100, 50), 0.5) == (100, 50, 25)
    assert shaded((100, 200, 250), 2.0) == (200, 255, 255)
