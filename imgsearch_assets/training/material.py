"""What a model learns from, as a value that can be kept: the pictures by name, their labels and the split.

A training that is taken up again days later finds the same pictures on the same sides, whatever the catalogue
has become since; a file that is another by now is refused.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from imgsearch_assets.datasets.dataset import Labelled
from imgsearch_assets.datasets.scenes import Drawn, Pictures
from imgsearch_assets.datasets.split import leaks
from imgsearch_assets.training.boxed import Boxed, boxed
from imgsearch_assets.training.checkpoint import fingerprint
from imgsearch_assets.training.lesson import Lesson, lesson
from imgsearch_assets.training.settings import Source
from serving.errors import BadInput, Unverified
from serving.object_store import ObjectStore


@dataclass(frozen=True)
class Side:
    """What is learned from, or what is held out: ``pictures``, or so many ``scenes`` that are drawn."""

    pictures: tuple[Labelled, ...] = ()
    scenes: Drawn | None = None

    def __len__(self) -> int:
        return len(self.scenes) if self.scenes else len(self.pictures)

    def counts(self) -> list[dict[str, str | int]]:
        """Pictures, products and boxes by category; a drawn scene may hold things of any."""
        if self.scenes:
            kinds = f"any of {', '.join(self.scenes.categories)}"
            return [{"category": kinds, "pictures": len(self.scenes)}]
        pictures = Counter(one.category or "none" for one in self.pictures)
        products: dict[str, set[str]] = {}
        boxes: Counter[str] = Counter()
        for one in self.pictures:
            products.setdefault(one.category or "none", set()).update({one.product} - {""})
            boxes[one.category or "none"] += len(one.items)
        return [
            {"category": name, "pictures": count, "products": len(products[name]), "boxes": boxes[name]}
            for name, count in sorted(pictures.items())
        ]


@dataclass(frozen=True)
class Material:
    """``taught`` is what ``source`` gave; ``content`` is a hash of the files of both its sides."""

    source: Source
    taught: Boxed | Lesson
    content: str

    @cached_property
    def version(self) -> str:
        """16 hex digits over all that decides what is learned and measured, wherever the pictures lie."""
        match self.taught:
            case Boxed(learned, unseen):
                decisive: dict[str, object] = {"learned": learned.fingerprint, "held_out": unseen.fingerprint}
            case Lesson() as taught:
                decisive = {"learned": taught.version, "index": taught.generation, **asdict(taught.recipe)}
        return fingerprint({**decisive, "content": self.content})

    @property
    def learned(self) -> Side:
        if isinstance(self.taught, Boxed):
            return _side(self.taught.learned)
        return Side(self.taught.pictures)

    @property
    def held_out(self) -> Side:
        return (
            _side(self.taught.unseen) if isinstance(self.taught, Boxed) else Side(self.taught.unseen.pictures)
        )

    def leaks(self) -> list[str]:
        """What is on both sides, a sentence each. Of nothing that was split this may find any."""
        learned, held_out = self.learned, self.held_out
        if learned.scenes and held_out.scenes:
            both = _overlap(learned.scenes, held_out.scenes)
            return [f"{both} drawn scenes are learned from and held out"] if both else []
        pictures = learned.pictures
        if self.source.data == "drawn":  # two shops, whose ids say nothing of each other
            pictures = tuple(replace(one, product="") for one in pictures)
        return [
            f"{one.train.path.name} and {one.held_out.path.name}: {_SAID[one.why]}"
            for one in leaks(pictures, held_out.pictures)
        ]

    def keep(self, store: ObjectStore) -> str:
        """Write it down; its key."""
        key = f"datasets/{self.version}.json"
        store.put(key, _MATERIAL.dump_json(self))
        return key


_MATERIAL = TypeAdapter(Material)
_SAID = {"product": "one product", "bytes": "the same file", "alike": "the same picture, or nearly"}


def gather(source: Source, work: Path) -> Material:
    """Find, split and label what ``source`` names; what has to be drawn or written goes below ``work``.

    Raises ``BadInput`` and ``BadSettings`` where that is nothing to learn from.
    """
    taught: Boxed | Lesson
    if source.model == "detector":
        images = Path(source.images) if source.images else None
        taught = boxed(source.data, images, source.count, source.seed, source.held_out)
    else:
        if source.images:
            raise BadInput("images is where the pictures of coco:FILE lie, of which a detector learns")
        taught = lesson(source.data, source.count, source.seed, work, source.held_out)
    return Material(source, taught, _content(taught))


def read(store: ObjectStore, key: str) -> Material:
    """What was kept as ``key``.

    Raises ``NotFound``, ``Unverified`` for an object of another form, and ``BadInput`` where a picture has
    changed since, or is gone.
    """
    try:
        found = _MATERIAL.validate_json(store.get(key))
    except ValidationError as error:
        raise Unverified(f"{key} is no data set to learn from; materialize training_dataset") from error
    try:
        same = _content(found.taught) == found.content
    except OSError as error:
        raise BadInput(f"{error.filename} of the data set {found.version} is gone; {_ANEW}") from None
    if not same:
        raise BadInput(f"pictures of the data set {found.version} have changed since; {_ANEW}")
    return found


_ANEW = "materialize training_dataset anew"


def _side(scenes: Drawn | Pictures) -> Side:
    return Side(scenes=scenes) if isinstance(scenes, Drawn) else Side(scenes.pictures)


def _overlap(one: Drawn, other: Drawn) -> int:
    if one.seed != other.seed:
        return 0
    return max(0, min(one.first + one.count, other.first + other.count) - max(one.first, other.first))


def _content(taught: Boxed | Lesson) -> str:
    """16 hex digits over the bytes of every picture; "" where both sides are drawn as they are needed."""
    sides: Sequence[Side]
    if isinstance(taught, Boxed):
        sides = (_side(taught.learned), _side(taught.unseen))
    else:
        sides = (Side(taught.pictures), Side(taught.unseen.pictures))
    if not any(side.pictures for side in sides):
        return ""
    digest = hashlib.sha256()
    for side in sides:
        digest.update(b"side")
        for one in side.pictures:
            with one.path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
