import numpy as np
import pytest
from numpy.typing import NDArray

from imgsearch_assets.sample.design import new_design
from imgsearch_assets.sample.scenes import packshot, street
from imgsearch_assets.training.augment import SIDE, before, blurred, compressed, framed, lit, rephotographed

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def shirt() -> Picture:
    rng = np.random.default_rng(3)
    return packshot(new_design(rng, "shirt"), rng, "front").picture


def test_a_seed_gives_the_same_picture_again_and_another_seed_another(shirt: Picture) -> None:
    ground = np.full((40, 40, 3), 90, np.uint8)
    first, again, other = (rephotographed(shirt, np.random.default_rng(s), ground) for s in (1, 1, 2))
    assert first.shape == (SIDE, SIDE, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("shape", [(8, 8, 3), (9, 300, 3), (1000, 700, 3)])
def test_pictures_of_any_size_are_taken(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, shape, np.uint8)
    for _ in range(5):
        assert rephotographed(picture, rng, picture).shape == (SIDE, SIDE, 3)


def test_the_picture_given_is_left_as_it_was(shirt: Picture) -> None:
    kept = shirt.copy()
    for seed in range(8):
        rephotographed(shirt, np.random.default_rng(seed), np.zeros((8, 8, 3), np.uint8))
    assert np.array_equal(shirt, kept)


def test_a_thing_before_plain_ground_is_put_before_another() -> None:
    rng = np.random.default_rng(2)
    grain = rng.normal(0, 1.5, (90, 80, 1))
    wall = np.linspace(180, 230, 80)[None, :, None] + grain
    picture = np.repeat(np.clip(wall, 0, 255).astype(np.uint8), 3, axis=2)
    picture[30:60, 20:60] = (180, 30, 40)
    green = np.zeros((10, 10, 3), np.uint8)
    green[..., 1] = 200
    moved = before(picture, green).astype(int)
    assert (np.abs(moved[:20] - green[0, 0].astype(int)) <= 2).mean() > 0.95
    assert np.array_equal(moved[35:55, 25:55], picture[35:55, 25:55])


def test_a_thing_before_a_busy_ground_stays_there() -> None:
    rng = np.random.default_rng(5)
    picture = rng.integers(0, 256, (60, 60, 3), np.uint8)
    assert before(picture, np.zeros((10, 10, 3), np.uint8)) is picture


def test_each_step_changes_the_picture_and_keeps_what_it_shows() -> None:
    rng = np.random.default_rng(7)
    picture = street(new_design(rng, "coat"), rng).picture
    square = framed(picture, rng)
    for step in (lit, blurred, compressed):
        changed = step(square, np.random.default_rng(11))
        assert changed.shape == square.shape
        assert not np.array_equal(changed, square)
        same = np.corrcoef(changed.ravel().astype(float), square.ravel().astype(float))[0, 1]
        assert same > 0.85
