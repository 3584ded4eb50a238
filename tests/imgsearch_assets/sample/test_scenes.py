import numpy as np
import pytest

from imgsearch_assets.sample.design import CATEGORIES, new_design
from imgsearch_assets.sample.scenes import PACKSHOTS, packshot, street, training_scene
from serving.images.box import Box, crop


@pytest.mark.parametrize("kind", PACKSHOTS)
@pytest.mark.parametrize("category", CATEGORIES)
def test_a_packshot_shows_one_garment_and_says_where(category: str, kind: str) -> None:
    design = new_design(np.random.default_rng(1), category)
    scene = packshot(design, np.random.default_rng(2), kind)
    assert scene.picture.shape == (720, 600, 3)
    assert scene.picture.dtype == np.uint8
    ((box, named),) = scene.items
    assert named == category
    assert 0.04 < box.area <= 1


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_street_picture_has_its_product_first(category: str) -> None:
    design = new_design(np.random.default_rng(3), category)
    for seed in range(4):
        scene = street(design, np.random.default_rng(seed))
        assert scene.picture.ndim == 3
        assert scene.items[0][1] == category
        assert 1 <= len(scene.items) <= 5
        assert all(isinstance(box, Box) and box.area > 0 for box, _ in scene.items)


def test_one_product_keeps_its_colour_over_its_pictures() -> None:
    for seed in range(8):
        design = new_design(np.random.default_rng(seed), "sweater")
        means = []
        for kind in PACKSHOTS:
            scene = packshot(design, np.random.default_rng(seed + 50), kind)
            item = crop(scene.picture, scene.items[0][0])
            height, width = item.shape[:2]
            middle = item[height // 3 : height // 3 * 2, width // 3 : width // 3 * 2]
            means.append(middle.reshape(-1, 3).mean(axis=0))
        assert np.ptp(means, axis=0).max() < 60


def test_training_scenes_are_many_sided_and_repeatable() -> None:
    seen = set()
    for seed in range(25):
        picture, items = training_scene(np.random.default_rng(seed))
        assert picture.dtype == np.uint8
        assert items
        seen |= {category for _, category in items}
    assert len(seen) > 6
    again, _ = training_scene(np.random.default_rng(24))
    np.testing.assert_array_equal(picture, again)
