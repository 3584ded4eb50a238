import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.cache.pictures import Item, PictureFeatures
from serving.cache.values import checked
from serving.images.box import Box


def unit(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, 8))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def box(number: int) -> Box:
    return Box(number / 10_000, 0, 1, 1)


def features(items: int = 2, parts: int = 3, seed: int = 0) -> PictureFeatures:
    seen = tuple(Item(box(number), f"dress\n{number}", 0.25 * number) for number in range(items))
    return PictureFeatures(seen, dict(zip(map(box, range(parts)), unit(parts, seed), strict=True)))


def same(one: PictureFeatures | None, other: PictureFeatures) -> bool:
    return (
        one is not None
        and one.items == other.items
        and list(one.parts) == list(other.parts)
        and all(np.array_equal(one.parts[part], row) for part, row in other.parts.items())
    )


@given(st.integers(0, 20), st.integers(1, 20), st.integers(0, 1_000))
def test_it_comes_back_to_the_bit(items: int, parts: int, seed: int) -> None:
    kept = features(items, parts, seed)
    assert same(PictureFeatures.from_bytes(kept.to_bytes()), kept)


@given(st.binary(max_size=300))
def test_what_is_none_reads_as_absent(data: bytes) -> None:
    assert PictureFeatures.from_bytes(data) is None


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_what_is_damaged_reads_as_absent(at: int, flip: int) -> None:
    data = bytearray(features().to_bytes())
    assert PictureFeatures.from_bytes(bytes(data[: at % len(data)])) is None
    data[at % len(data)] ^= flip
    assert PictureFeatures.from_bytes(bytes(data)) is None


def test_another_layout_reads_as_absent() -> None:
    assert PictureFeatures.from_bytes(checked(b"[2,[],[]]\n")) is None


@pytest.mark.parametrize(
    "head",
    [
        b"[]",
        b'{"a":1,"b":2,"c":3}',
        b"[1,[],[7]]",
        b'[1,[["0,0,1"]],["0,0,10000,10000"]]',
        b'[1,[["0,0,0,0","dress",0.5]],["0,0,10000,10000"]]',
        b'[1,[["0,0,10000,10000","dress","much"]],["0,0,10000,10000"]]',
        b'[1,[],["0,0,10000,10000","0,0,5000,5000"]]',
        b'[1,[],["0,0,10000,10000"]]',
    ],
)
def test_what_is_whole_and_wrong_reads_as_absent(head: bytes) -> None:
    for rows in (b"", b"\0" * 32, np.full(8, np.nan, "<f4").tobytes()):
        assert PictureFeatures.from_bytes(checked(head + b"\n" + rows)) is None


def test_parts_are_added_and_the_latest_stay() -> None:
    kept = features(parts=3)
    rows = unit(40, 5)
    assert same(
        kept.having({box(1): rows[0]}),
        PictureFeatures(
            kept.items, {box(0): kept.parts[box(0)], box(2): kept.parts[box(2)], box(1): rows[0]}
        ),
    )
    many = kept.having(dict(zip(map(box, range(100, 140)), rows, strict=True)))
    assert list(many.parts) == [box(number) for number in range(108, 140)]
