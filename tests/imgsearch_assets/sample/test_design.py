import numpy as np
import pytest

from imgsearch_assets.sample.design import CATEGORIES, STYLES, new_design
from imgsearch_assets.sample.patterns import PLACED, pattern_tile
from imgsearch_assets.sample.textures import TEXTURES


def test_there_are_a_dozen_categories_and_each_has_styles() -> None:
    assert len(CATEGORIES) == 12
    assert set(STYLES) == set(CATEGORIES)


def test_every_texture_named_by_a_style_can_be_woven() -> None:
    named = {texture for styles in STYLES.values() for textures, _ in styles.values() for texture in textures}
    assert named <= set(TEXTURES)


def test_every_pattern_named_by_a_style_can_be_printed() -> None:
    design = new_design(np.random.default_rng(0))
    for pattern in {p for styles in STYLES.values() for _, patterns in styles.values() for p in patterns}:
        tile = pattern_tile(type(design)(**(vars(design) | {"pattern": pattern})))
        assert (tile is None) == (pattern in PLACED)


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_design_is_of_the_category_asked_for(category: str) -> None:
    design = new_design(np.random.default_rng(1), category)
    assert design.category == category
    assert design.style in STYLES[category]


def test_a_measure_is_the_same_whenever_it_is_asked_for() -> None:
    design = new_design(np.random.default_rng(2))
    assert design.between("length", 10, 20) == design.between("length", 10, 20)
    assert 10 <= design.between("length", 10, 20) < 20
    assert design.pick("collar", ("a", "b", "c")) in ("a", "b", "c")


def test_measures_are_even_over_designs_and_names() -> None:
    designs = [new_design(np.random.default_rng(seed)) for seed in range(200)]
    for name in ("length", "width"):
        mean = np.mean([design.between(name, 0, 1) for design in designs])
        assert 0.42 < mean < 0.58
    both = np.corrcoef([[d.between("length", 0, 1), d.between("width", 0, 1)] for d in designs], rowvar=False)
    assert abs(both[0, 1]) < 0.2
