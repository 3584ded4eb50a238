"""What is learned from and what is kept to measure with, by product, and neither knows the other.

Which side a product is on depends on its id and the seed alone: products that join later move no other.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from imgsearch_assets.datasets.dataset import Dataset, Labelled
from imgsearch_assets.progress import Advance, silent
from serving.errors import BadImage
from serving.images.decode import decode

_SIDE = 12  # cells of the smallest picture two pictures are compared in
# Cosine of two ``differences`` from which they are one picture. 400 photographs and 300 drawn packshots,
# halved, brightened and compressed again (JPEG 50), all stay above 0.987; the nearest pictures of different
# products come to 0.88 and 0.95.
SAME = 0.98
_BLOCK = 2**25  # pairs compared at once

Why = Literal["product", "bytes", "alike"]


@dataclass(frozen=True)
class Split:
    """Two parts of ``dataset``, drawn with ``seed``; ``share`` of the products are held out."""

    dataset: Dataset
    seed: int
    share: float
    train: tuple[Labelled, ...]
    held_out: tuple[Labelled, ...]

    @property
    def unseen(self) -> Dataset:
        """The held-out part as a data set."""
        return replace(self.dataset, name=f"{self.dataset.name}, held out", pictures=self.held_out)

    @cached_property
    def version(self) -> str:
        """16 hex digits over the data set's version, the seed and the share."""
        return hashlib.sha256(f"{self.dataset.version} {self.seed} {self.share}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Leak:
    """A picture to learn from and one to measure with that are the same: ``why`` says in what."""

    train: Labelled
    held_out: Labelled
    why: Why


def split(dataset: Dataset, share: float, seed: int = 0) -> Split:
    """Hold out ``share`` (0..1) of the products, or of the pictures where they have no product.

    Where the data set itself says what a picture is for, that holds: ``train`` is learned from, ``query`` and
    ``gallery`` are held out.
    """
    train: list[Labelled] = []
    held_out: list[Labelled] = []
    for one in dataset.pictures:
        if one.role:
            held = one.role != "train"
        else:
            unit = one.product or f"\0{one.path.relative_to(dataset.root).as_posix()}"
            held = _place(unit, seed) < share
        (held_out if held else train).append(one)
    return Split(dataset, seed, share, tuple(train), tuple(held_out))


def apart(parts: Split, advance: Advance = silent) -> tuple[Split, list[Leak]]:
    """``parts`` that learns from nothing it is measured with, which stays; also what was left out."""
    left_out: list[Leak] = []
    while found := leaks(parts.train, parts.held_out, advance):  # one pair a held-out picture at a time
        left_out += found
        gone = {leak.train.path for leak in found}
        parts = replace(parts, train=tuple(one for one in parts.train if one.path not in gone))
    return parts, left_out


def leaks(train: Sequence[Labelled], held_out: Sequence[Labelled], advance: Advance = silent) -> list[Leak]:
    """Pairs over the two parts of one product, of the same bytes, or nearly the same to look at.

    One pair for each held-out picture or product, the plainest reason first. ``advance`` counts pictures.
    """
    found = [
        *_same(train, held_out, "product", [one.product for one in train], [x.product for x in held_out])
    ]
    known = {leak.held_out.path for leak in found}
    found += [
        leak
        for leak in _same(train, held_out, "bytes", [*map(_bytes, train)], [*map(_bytes, held_out)])
        if leak.held_out.path not in known
    ]
    known = {leak.held_out.path for leak in found}
    for number, other in alike(_seen(held_out, advance), _seen(train, advance), SAME):
        if held_out[number].path not in known:
            found.append(Leak(train[other], held_out[number], "alike"))
    return found


def alike(xq: NDArray[np.float32], xb: NDArray[np.float32], least: float) -> list[tuple[int, int]]:
    """For rows of ``xq`` (q, d) the nearest of ``xb`` (n, d) where its cosine is at least ``least``.

    Rows have unit length: vectors of an embedder, or ``differences``. A row of zeros is like nothing.
    """
    if not len(xq) or not len(xb):
        return []
    found: list[tuple[int, int]] = []
    step = max(1, _BLOCK // len(xb))
    for start in range(0, len(xq), step):
        scores = xq[start : start + step] @ xb.T
        best = scores.argmax(1)
        good = scores[np.arange(len(best)), best] >= least - 1e-6
        found += [(start + int(i), int(best[i])) for i in np.flatnonzero(good)]
    return found


def differences(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How ``picture`` (uint8 (h, w, 3)) changes to the right and downwards: float32 (864,) of unit length.

    Of a picture of one colour, zeros. Differences, so that light does not matter; colours apart, so that a
    red shirt is not a blue one. The idea is dHash (N. Krawetz, 2013), whose bits flat ground fills with
    noise: they told copies from neighbours less well.
    """
    small = cv2.resize(picture, (_SIDE + 1, _SIDE + 1), interpolation=cv2.INTER_AREA).astype(np.float32)
    corner = small[:-1, :-1]
    steps = np.concatenate(((small[:-1, 1:] - corner).ravel(), (small[1:, :-1] - corner).ravel()))
    length = np.linalg.norm(steps)
    unit: NDArray[np.float32] = steps / length if length else steps
    return unit


def _place(unit: str, seed: int) -> float:
    """A number 0..1 that only the unit and the seed decide."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{unit}".encode()).digest()[:8], "big") / 2**64


def _bytes(one: Labelled) -> str:
    with one.path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seen(pictures: Sequence[Labelled], advance: Advance) -> NDArray[np.float32]:
    """``differences`` of each, float32 (n, 864); zeros where a file is no picture: others refuse it."""
    rows = np.zeros((len(pictures), 6 * _SIDE * _SIDE), np.float32)
    for row, one in zip(rows, pictures, strict=True):
        try:
            row[:] = differences(decode(one.path.read_bytes(), at_least=8 * _SIDE))
        except BadImage:
            continue
        finally:
            advance(1)
    return rows


def _same(
    train: Sequence[Labelled], held_out: Sequence[Labelled], why: Why, left: list[str], right: list[str]
) -> list[Leak]:
    """The first pair of every label that is in both parts; "" is none."""
    first: dict[str, Labelled] = {}
    for label, one in zip(left, train, strict=True):
        first.setdefault(label, one)
    pairs: dict[str, list[Labelled]] = defaultdict(list)
    for label, one in zip(right, held_out, strict=True):
        if label and label in first:
            pairs[label].append(one)
    if why == "product":
        return [Leak(first[label], some[0], why) for label, some in pairs.items()]
    return [Leak(first[label], one, why) for label, some in pairs.items() for one in some]
