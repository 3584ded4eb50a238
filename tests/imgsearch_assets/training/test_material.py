"""A data set to learn from can be kept, and is the same when it is read again or is refused."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from imgsearch_assets.datasets.scenes import HELD_OUT, Drawn
from imgsearch_assets.training.boxed import Boxed
from imgsearch_assets.training.material import Material, gather, read
from imgsearch_assets.training.settings import Source
from serving.errors import BadInput, Unverified
from serving.object_store import LocalObjectStore
from tests.imgsearch_assets.training.squares import coco_squares


@pytest.fixture
def store(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path / "objects")


def photos(folder: Path, count: int = 24) -> Source:
    """Of two kinds, each picture another."""
    for number in range(count):
        kind = folder / ("hat", "shoe")[number % 2]
        kind.mkdir(parents=True, exist_ok=True)
        small = np.random.default_rng(number).integers(0, 256, (8, 8, 3)).astype(np.uint8)
        picture = cv2.resize(small, (96, 96), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(kind / f"{number}.jpg"), picture)
    return Source(data=str(folder))


def test_pictures_with_boxes(tmp_path: Path, store: LocalObjectStore) -> None:
    source = Source(model="detector", data=f"coco:{coco_squares(tmp_path / 'squares')}")
    found = gather(source, tmp_path / "work")
    assert read(store, found.keep(store)) == found
    assert len(found.learned) + len(found.held_out) == 24
    assert {row["category"] for row in found.learned.counts()} == {"red", "green"}
    assert sum(int(row["boxes"]) for row in found.learned.counts()) == len(found.learned)
    assert found.leaks() == []
    more = gather(source.model_copy(update={"held_out": 0.5}), tmp_path / "work")
    assert len(more.held_out) > len(found.held_out)
    other = gather(source.model_copy(update={"held_out": 0.5, "seed": 1}), tmp_path / "work")
    assert len({found.version, more.version, other.version}) == 3


def test_drawn_scenes_are_a_promise_to_draw_them(tmp_path: Path, store: LocalObjectStore) -> None:
    found = gather(Source(model="detector", drawn=9), tmp_path)
    again = read(store, found.keep(store))
    assert again == found
    assert (len(again.learned), len(again.held_out), again.content) == (9, len(HELD_OUT), "")
    assert again.learned.counts()[0]["category"].startswith("any of t-shirt")
    assert again.leaks() == []
    taught = Boxed(Drawn(1234, HELD_OUT.first + 395, 9), HELD_OUT)
    assert Material(found.source, taught, "").leaks() == ["5 drawn scenes are learned from and held out"]


def test_photographs_are_the_same_when_they_are_read_again(tmp_path: Path, store: LocalObjectStore) -> None:
    source = photos(tmp_path / "photos")
    found = gather(source, tmp_path / "work")
    key = found.keep(store)
    assert key == f"datasets/{found.version}.json"
    assert read(store, key) == found
    assert gather(source, tmp_path / "work").version == found.version
    assert found.leaks() == []

    learned = found.learned.pictures[0].path
    learned.write_bytes(found.learned.pictures[1].path.read_bytes())
    with pytest.raises(
        BadInput, match=rf"^pictures of the data set {found.version} have changed since; mater"
    ):
        read(store, key)
    learned.unlink()
    with pytest.raises(BadInput, match=rf"^{learned} of the data set {found.version} is gone; materialize"):
        read(store, key)
    store.put(key, b"{}")
    with pytest.raises(Unverified, match=r"^datasets/.* is no data set to learn from; materialize training_"):
        read(store, key)


def test_a_copy_on_the_other_side_is_a_leak(tmp_path: Path) -> None:
    found = gather(photos(tmp_path / "photos"), tmp_path / "work")
    held = found.held_out.pictures[0].path
    found.learned.pictures[0].path.write_bytes(held.read_bytes())
    assert any(held.name in said and said.endswith("the same file") for said in found.leaks())


def test_an_embedder_has_no_use_for_images(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="images is where the pictures of coco:FILE lie, of which a detector"):
        gather(Source(images="somewhere"), tmp_path)
