"""What a detector says of a picture, and which boxes of it are searched with. No network in here."""

from collections.abc import Sequence
from dataclasses import dataclass

from serving.images.box import Box

# An item box that covers the picture this well says the same as the picture.
SAME_AS_WHOLE = 0.8  # IoU


@dataclass(frozen=True, slots=True)
class Detection:
    """An item on a picture; ``score`` 0..1."""

    box: Box
    category: str
    score: float


def item_box(detections: Sequence[Detection], category: str | None = None) -> Box | None:
    """The box of the item a picture is about: the first of ``category`` if there is one, else the first.

    ``detections`` are as a detector gives them, the main item first.
    """
    wanted = (category or "").casefold()
    of_category = [found for found in detections if found.category.casefold() == wanted]
    first = next(iter([*of_category, *detections]), None)
    return first.box if first else None


def item_boxes(detections: Sequence[Detection], category: str | None = None) -> list[Box]:
    """The boxes that become rows of an index, or of a query: the item's, then the whole picture.

    The whole picture is left out when the item fills it, and alone when nothing was found.
    """
    box = item_box(detections, category)
    if box is None:
        return [Box.whole()]
    return [box] if box.iou(Box.whole()) > SAME_AS_WHOLE else [box, Box.whole()]
