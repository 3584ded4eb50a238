from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from imgsearch_assets.datasets.dataset import Dataset, Labelled
from imgsearch_assets.datasets.split import Leak, alike, apart, differences, leaks, split
from imgsearch_assets.sample.drawing import encode


def blobs(seed: int) -> NDArray[np.uint8]:
    """A picture like no other: uint8 (160, 120, 3)."""
    rough = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), np.uint8)
    return np.asarray(cv2.resize(rough, (120, 160), interpolation=cv2.INTER_CUBIC), np.uint8)


def dataset(root: Path, products: list[str]) -> Dataset:
    """A picture of every one of ``products``."""
    pictures = []
    for number, product in enumerate(products):
        path = root / f"{number}.jpg"
        path.write_bytes(encode(blobs(number), 90))
        pictures.append(Labelled(path, product))
    return Dataset("shop", root, tuple(pictures))


def listed(root: Path, products: list[str]) -> Dataset:
    """Without files: for what does not look at them."""
    return Dataset("shop", root, tuple(Labelled(root / f"{i}.jpg", one) for i, one in enumerate(products)))


@given(st.lists(st.text(max_size=3), max_size=30), st.lists(st.text(max_size=3)), st.integers(0, 9))
def test_a_product_is_on_one_side_whoever_joins(first: list[str], later: list[str], seed: int) -> None:
    before, after = (split(listed(Path("/d"), some), 0.4, seed) for some in (first, first + later))
    assert {one.product for one in after.train if one.product}.isdisjoint(
        one.product for one in after.held_out
    )
    assert set(before.train) <= set(after.train)
    assert set(before.held_out) <= set(after.held_out)


def test_the_share_is_about_what_was_asked_for() -> None:
    many = listed(Path("/d"), [f"p{number}" for number in range(2000)])
    assert len(split(many, 0.25).held_out) == pytest.approx(500, abs=60)
    assert split(many, 0.0).held_out == ()
    assert split(many, 1.0).train == ()
    assert split(many, 0.25, seed=1).held_out != split(many, 0.25).held_out


def test_what_the_data_set_says_holds() -> None:
    roles = ("train", "query", "gallery")
    pictures = tuple(
        Labelled(Path(f"/d/{role}{i}.jpg"), f"{role}{i}", role=role) for role in roles for i in "ab"
    )
    parts = split(Dataset("own", Path("/d"), pictures), 0.5)
    assert [{one.role for one in part} for part in (parts.train, parts.held_out)] == [
        {"train"},
        {"query", "gallery"},
    ]


def test_the_version_is_of_the_data_the_seed_and_the_share(tmp_path: Path) -> None:
    there = dataset(tmp_path, ["a", "b"])
    versions = [split(there, 0.5).version, split(there, 0.5, 1).version, split(there, 0.4).version]
    (tmp_path / "1.jpg").write_bytes(encode(blobs(9), 90))
    versions.append(split(replace(there), 0.5).version)
    assert len(set(versions)) == 4
    assert split(replace(there), 0.5).version == versions[-1]


def test_leaks_of_every_sort(tmp_path: Path) -> None:
    there = dataset(tmp_path, ["a", "b", "c", "a", "x", "y", "z"])
    train, held_out = there.pictures[:3], there.pictures[3:]
    assert [leak.why for leak in leaks(train, held_out)] == ["product"]
    (tmp_path / "4.jpg").write_bytes((tmp_path / "1.jpg").read_bytes())
    smaller = cv2.convertScaleAbs(cv2.resize(blobs(2), (90, 120), interpolation=cv2.INTER_AREA), alpha=1.05)
    (tmp_path / "5.jpg").write_bytes(encode(np.asarray(smaller, np.uint8), 50))
    (tmp_path / "6.jpg").write_bytes(b"no picture")
    counted: list[int] = []
    assert leaks(train, held_out, counted.append) == [
        Leak(train[0], held_out[0], "product"),
        Leak(train[1], held_out[1], "bytes"),
        Leak(train[2], held_out[2], "alike"),
    ]
    assert sum(counted) == 7


def test_a_leak_is_refused_and_named(tmp_path: Path) -> None:
    there = dataset(tmp_path, [f"p{number}" for number in range(12)])
    parts = split(there, 0.5)
    assert apart(parts) == (parts, [])
    for one in parts.held_out:
        one.path.write_bytes(parts.train[0].path.read_bytes())
    mended, left_out = apart(parts)
    assert mended.train == parts.train[1:]
    assert {(leak.train, leak.why) for leak in left_out} == {(parts.train[0], "bytes")}
    assert len(left_out) == len(parts.held_out)
    assert not leaks(mended.train, mended.held_out)


def test_colour_tells_pictures_apart_and_light_does_not() -> None:
    picture = blobs(0)
    assert differences(picture) @ differences(cv2.convertScaleAbs(picture, alpha=0.8)) > 0.99
    assert differences(picture) @ differences(picture[:, :, ::-1].copy()) < 0.9
    assert not differences(np.full((20, 20, 3), 7, np.uint8)).any()


def test_a_picture_of_nothing_is_like_nothing() -> None:
    rows = np.zeros((2, 3), np.float32)
    assert alike(rows, rows, 0.98) == []
    assert alike(rows, rows[:0], 0.98) == []
