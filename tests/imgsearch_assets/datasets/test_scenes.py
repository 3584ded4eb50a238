import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgsearch_assets.datasets.dataset import Labelled
from imgsearch_assets.datasets.scenes import HELD_OUT, Drawn, Mirrored, Pictures, refuse_leaks
from imgsearch_assets.sample.design import CATEGORIES
from serving.errors import BadInput
from serving.images.box import Box


def test_a_drawn_scene_is_its_seed_and_number() -> None:
    scenes, later = Drawn(0, 0, 5), Drawn(0, 3, 2)
    picture, truth = scenes.scene(3)
    same, same_truth = later.scene(0)
    assert np.array_equal(picture, same)
    assert truth == same_truth
    assert scenes.content(3) == later.content(0) != scenes.content(4)
    assert scenes.categories == CATEGORIES
    assert len({one.fingerprint for one in (scenes, later, Drawn(1, 0, 5), Drawn(0, 0, 5))}) == 3


def test_pictures_on_disk(tmp_path: Path) -> None:
    items = ((Box(0.1, 0.1, 0.5, 0.5), "hat"),)
    Image.new("RGB", (64, 48), "red").save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "c.png").write_bytes(b"hello")
    scenes = Pictures(
        tuple(Labelled(tmp_path / f"{name}.png", items=items) for name in "abc"), ("hat",), "v1"
    )
    picture, truth = scenes.scene(0)
    assert picture.shape == (48, 64, 3)
    assert truth == items
    assert scenes.content(0) == scenes.content(1) != scenes.content(2)
    assert scenes.fingerprint != Pictures(scenes.pictures, ("hat",), "v2").fingerprint
    # The error reaches whoever asked another process for the scene.
    with pytest.raises(
        BadInput, match=r"c\.png cannot be read as a picture .* take it out of the data set"
    ) as no:
        scenes.scene(2)
    assert str(pickle.loads(pickle.dumps(no.value))) == str(no.value)  # noqa: S301 - as a pool does


def test_a_picture_in_both_parts_is_refused() -> None:
    refuse_leaks(Drawn(0, 0, 5), Drawn(0, 5, 5))
    refuse_leaks(Drawn(1234, 0, 100_000), HELD_OUT)
    with pytest.raises(BadInput) as refused:
        refuse_leaks(Drawn(0, 0, 5), Drawn(0, 3, 5))
    assert str(refused.value) == (
        "2 of 5 held-out pictures are among those learned from, picture 0 of the held-out ones first; "
        "take them out of one part"
    )


def test_a_mirror_shows_every_scene_twice() -> None:
    scenes = Mirrored(Drawn(0, 0, 5))
    assert len(scenes) == 10
    picture, truth = scenes.scene(6)
    mirrored, turned = scenes.scene(7)
    assert np.array_equal(picture, Drawn(0, 0, 5).scene(3)[0])
    assert np.array_equal(mirrored[:, ::-1], picture)
    for (box, kind), (other, same) in zip(truth, turned, strict=True):
        assert same == kind
        assert (other.x0, other.y0, other.x1, other.y1) == pytest.approx(
            (1 - box.x1, box.y0, 1 - box.x0, box.y1), abs=1e-4
        )
    assert len({scenes.content(i) for i in range(10)}) == 10
    assert scenes.fingerprint != Drawn(0, 0, 5).fingerprint
