"""What a detector learns from: drawn scenes, or pictures with boxes in COCO's format."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imgsearch_assets.datasets import coco
from imgsearch_assets.datasets.scenes import HELD_OUT, Drawn, Mirrored, Pictures
from imgsearch_assets.datasets.split import apart, split
from imgsearch_assets.training.settings import DRAWN
from serving.errors import BadSettings

_COCO = "coco:"
# Of pictures of a file, held out; of a small file more, so that there are enough to decide by.
_SHARE, _MOST, _ENOUGH = 0.1, 0.3, 60


@dataclass(frozen=True)
class Boxed:
    """Scenes to learn from and to measure with; of a file, what was left out and why."""

    learned: Drawn | Pictures
    unseen: Drawn | Pictures
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def mirrored(self) -> Mirrored:
        """What is learned from, each in a mirror too."""
        return Mirrored(self.learned)


def boxed(data: str, images: Path | None, scenes: int, seed: int, held_out: float | None = None) -> Boxed:
    """``images`` is where the pictures of ``coco:FILE`` lie, ``scenes`` how many are drawn of ``seed``.

    ``held_out`` is the share of the file's pictures that ``seed`` chooses. Copies of held-out pictures
    are learned from by nobody. Raises ``BadSettings`` for data without boxes, and ``BadInput`` for a file
    that is not as its format asks.
    """
    if data == DRAWN:
        return Boxed(Drawn(seed, 0, scenes), HELD_OUT)
    if not data.startswith(_COCO) or data == _COCO:
        raise BadSettings(f"a detector learns from boxes: data is drawn or coco:FILE, not {data!r}")
    found = coco.load(Path(data.removeprefix(_COCO)), images)
    share = held_out or max(_SHARE, min(_MOST, _ENOUGH / len(found.dataset.pictures)))
    parts, copies = apart(split(found.dataset, share, seed))
    left_out = Counter(found.rejected) + Counter({"picture_like_a_held_out_one": len(copies)})
    return Boxed(
        Pictures(parts.train, found.categories, f"{parts.version}/train"),
        Pictures(parts.held_out, found.categories, f"{parts.version}/held_out"),
        left_out,
    )
