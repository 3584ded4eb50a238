import numpy as np
import pytest

from imgsearch_assets.sample.textures import TEXTURES, TILE_PX, UNIT, hand, periodic_noise, texture_tile


@pytest.mark.parametrize("texture", TEXTURES)
def test_a_texture_repeats_without_a_seam_and_keeps_the_colour(texture: str) -> None:
    tile = texture_tile(texture)[:, :, 0].astype(float)
    assert tile.shape == (TILE_PX, TILE_PX)
    assert abs(tile.mean() - UNIT) < 0.12 * UNIT
    for axis in (0, 1):
        steps = np.abs(np.diff(tile, axis=axis)).mean(axis=1 - axis)
        seam = np.abs(np.take(tile, 0, axis) - np.take(tile, -1, axis)).mean()
        assert seam <= steps.max() + 1
    assert 0 <= hand(texture).gloss <= 1


def test_a_texture_is_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        texture_tile("denim")[0, 0] = 0


def test_noise_is_centred_and_repeats() -> None:
    noise = periodic_noise(np.random.default_rng(0), 8, 8, 128)
    assert abs(noise.mean()) < 1e-3
    assert noise.std() == pytest.approx(1, abs=0.01)
    assert np.abs(noise[0] - noise[-1]).mean() < 2 * np.abs(np.diff(noise, axis=0)).mean()
