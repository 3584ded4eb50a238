"""Average precision of boxes: the detector's figure."""

from collections.abc import Sequence

import numpy as np

from serving.images.box import Box
from serving.models.detection import Detection

Truth = Sequence[tuple[Box, str]]


def average_precision(found: Sequence[Sequence[Detection]], truth: Sequence[Truth], iou: float) -> float:
    """Area under the precision-recall curve of boxes, whatever their category, over all pictures, 0..1.

    A box is right when it overlaps one of the picture's items, not yet taken by a surer box, by at least
    ``iou``; precision is made falling from the right, as in PASCAL VOC 2010.
    """
    total = sum(map(len, truth))
    hits: list[tuple[float, bool]] = []
    for boxes, items in zip(found, truth, strict=True):
        free = [box for box, _ in items]
        for one in sorted(boxes, key=lambda detection: detection.score, reverse=True):
            best = max(free, key=one.box.iou, default=None)
            right = best is not None and one.box.iou(best) >= iou
            if right and best is not None:
                free.remove(best)
            hits.append((one.score, right))
    if not hits or not total:
        return 0.0
    right_so_far = np.cumsum([right for _, right in sorted(hits, key=lambda hit: -hit[0])])
    precision = right_so_far / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    gained = np.diff(np.concatenate(([0], right_so_far))) / total
    return float(np.sum(precision * gained))


def mean_average_precision(
    found: Sequence[Sequence[Detection]], truth: Sequence[Truth], iou: float, categories: Sequence[str]
) -> float:
    """The mean over the categories that occur of the average precision within the category, 0..1."""
    each = [
        average_precision(
            [[one for one in boxes if one.category == category] for boxes in found],
            [[item for item in items if item[1] == category] for items in truth],
            iou,
        )
        for category in categories
        if any(item[1] == category for items in truth for item in items)
    ]
    return float(np.mean(each)) if each else 0.0


def main_item_found(found: Sequence[Sequence[Detection]], truth: Sequence[Truth], iou: float) -> float:
    """Share of pictures whose first box is that of the main item, which the truth names first."""
    right = [
        bool(boxes) and boxes[0].box.iou(items[0][0]) >= iou
        for boxes, items in zip(found, truth, strict=True)
        if items
    ]
    return float(np.mean(right)) if right else 0.0
