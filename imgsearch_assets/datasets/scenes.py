"""Pictures with boxes: what a detector learns from and is measured on."""

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from imgsearch_assets.datasets.dataset import Labelled
from imgsearch_assets.sample.design import CATEGORIES
from imgsearch_assets.sample.scenes import training_scene
from serving.errors import BadImage, BadInput
from serving.images.box import Box
from serving.models.preprocess import open_picture

# What is on one picture: the main item first where there is one.
Truth = Sequence[tuple[Box, str]]


class Scenes(Hashable, Protocol):
    """So many pictures, each the same whenever it is asked for. A value: it crosses to other processes."""

    @property
    def categories(self) -> tuple[str, ...]:
        """What the boxes are of, in the order of a detector's outputs."""
        ...

    @property
    def fingerprint(self) -> str:
        """16 hex digits, equal exactly for equal pictures and boxes."""
        ...

    def __len__(self) -> int: ...

    def scene(self, i: int) -> tuple[NDArray[np.uint8], Truth]:
        """Picture ``i``, uint8 (h, w, 3) RGB, and its boxes. Raises ``BadInput`` naming a broken file."""
        ...

    def content(self, i: int) -> str:
        """A text that two pictures share exactly when they are the same; nothing is drawn or decoded."""
        ...


@dataclass(frozen=True)
class Drawn:
    """Scenes of the sample generator: ``count`` of them from number ``first`` on."""

    seed: int
    first: int
    count: int

    @property
    def categories(self) -> tuple[str, ...]:
        return CATEGORIES

    @property
    def fingerprint(self) -> str:
        # Version 1 of the generator. A change of what it draws must raise this.
        return _hash(f"drawn/1/{self.seed}/{self.first}/{self.count}")

    def __len__(self) -> int:
        return self.count

    def scene(self, i: int) -> tuple[NDArray[np.uint8], Truth]:
        return training_scene(np.random.default_rng([self.seed, self.first + i]))

    def content(self, i: int) -> str:
        return f"{self.seed}/{self.first + i}"


@dataclass(frozen=True)
class Mirrored:
    """Every scene and, right after it, the same seen in a mirror: a second one for the price of a look."""

    scenes: Scenes

    @property
    def categories(self) -> tuple[str, ...]:
        return self.scenes.categories

    @property
    def fingerprint(self) -> str:
        return _hash(f"mirrored/{self.scenes.fingerprint}")

    def __len__(self) -> int:
        return 2 * len(self.scenes)

    def scene(self, i: int) -> tuple[NDArray[np.uint8], Truth]:
        picture, truth = _latest(self.scenes, i // 2)
        if i % 2 == 0:
            return picture, truth
        return picture[:, ::-1], [(Box(1 - box.x1, box.y0, 1 - box.x0, box.y1), kind) for box, kind in truth]

    def content(self, i: int) -> str:
        return self.scenes.content(i // 2) + ("/mirrored" if i % 2 else "")


@lru_cache(maxsize=1)  # asked for twice in a row, and dear to draw
def _latest(scenes: Scenes, i: int) -> tuple[NDArray[np.uint8], Truth]:
    return scenes.scene(i)


@dataclass(frozen=True)
class Pictures:
    """Pictures on disk whose boxes are known; ``version`` says which data set, and which part of it."""

    pictures: tuple[Labelled, ...]
    categories: tuple[str, ...]
    version: str

    @property
    def fingerprint(self) -> str:
        return _hash("\0".join([self.version, *self.categories]))

    def __len__(self) -> int:
        return len(self.pictures)

    def scene(self, i: int) -> tuple[NDArray[np.uint8], Truth]:
        one = self.pictures[i]
        return pixels_of(one), one.items

    def content(self, i: int) -> str:
        with self.pictures[i].path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def pixels_of(one: Labelled) -> NDArray[np.uint8]:
    """Its picture, uint8 (h, w, 3) RGB. Raises ``BadInput`` naming the file and the mend."""
    try:
        return open_picture(one.path.read_bytes())
    except (OSError, BadImage) as error:
        raise BadInput(
            f"{one.path} cannot be read as a picture ({error}); mend it, or take it out of the data set"
        ) from None


# Drawn scenes that no training reaches, the same for every seed: figures of two detectors can be compared.
HELD_OUT = Drawn(seed=1234, first=2_000_000, count=400)


def refuse_leaks(learned: Scenes, unseen: Scenes) -> None:
    """Raise ``BadInput`` when a picture is in both parts: figures would be of what was learned by heart."""
    known = {learned.content(i) for i in range(len(learned))}
    both = [i for i in range(len(unseen)) if unseen.content(i) in known]
    if both:
        raise BadInput(
            f"{len(both)} of {len(unseen)} held-out pictures are among those learned from, picture {both[0]} "
            "of the held-out ones first; take them out of one part"
        )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
