"""What a detector learns from: drawn scenes, or pictures with boxes in COCO's format."""

from collections import Counter
from pathlib import Path

from imgsearch_assets.datasets import coco
from imgsearch_assets.datasets.scenes import HELD_OUT, Drawn, Mirrored, Pictures, Scenes
from imgsearch_assets.datasets.split import apart, split
from serving.errors import BadSettings

DRAWN = "drawn"
_COCO = "coco:"
# Of pictures of a file, held out; of a small file more, so that there are enough to decide by.
_SHARE, _MOST, _ENOUGH = 0.1, 0.3, 60


def boxed(data: str, images: Path | None, scenes: int, seed: int) -> tuple[Scenes, Scenes, Counter[str]]:
    """Scenes to learn from, each in a mirror too, and to measure with; of a file, what was left out and why.

    ``images`` is where the pictures of ``coco:FILE`` lie, ``scenes`` how many are drawn of ``seed``. Copies
    of held-out pictures are learned from by nobody. Raises ``BadSettings`` for data without boxes, and
    ``BadInput`` for a file that is not as its format asks.
    """
    if data == DRAWN:
        return Mirrored(Drawn(seed, 0, scenes)), HELD_OUT, Counter()
    if not data.startswith(_COCO) or data == _COCO:
        raise BadSettings(f"a detector learns from boxes: --data is drawn or coco:FILE, not {data!r}")
    found = coco.load(Path(data.removeprefix(_COCO)), images)
    share = max(_SHARE, min(_MOST, _ENOUGH / len(found.dataset.pictures)))
    parts, copies = apart(split(found.dataset, share))
    left_out = Counter(found.rejected) + Counter({"picture_like_a_held_out_one": len(copies)})
    learned = Pictures(parts.train, found.categories, f"{parts.version}/train")
    return (
        Mirrored(learned),
        Pictures(parts.held_out, found.categories, f"{parts.version}/held_out"),
        left_out,
    )
