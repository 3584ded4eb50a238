"""How good a detector's boxes are: COCO's own measure (cocodataset.org/#detection-eval), by its own code."""

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from imgsearch_assets.datasets.scenes import Truth
from serving.images.box import GRID, Box
from serving.models.detection import Detection

Found = Sequence[Sequence[Detection]]


def detector_figures(found: Found, truth: Sequence[Truth], categories: Sequence[str]) -> dict[str, float]:
    """Average precision, 0..1, over pictures whose boxes ``found`` ought to be those of ``truth``.

    Whatever the category: ``ap50``, ``ap75`` (IoU 0.50, 0.75) and ``ap`` (mean over IoU 0.50, 0.55 .. 0.95).
    Within categories, meaned over those that occur: ``map50``, ``map``. And ``main_item_iou50``, ``_iou75``.
    """
    return figures_by_category(found, truth, categories)[0]


def figures_by_category(
    found: Found, truth: Sequence[Truth], categories: Sequence[str]
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """``detector_figures``, and ``ap50`` and ``ap`` of every category that occurs in ``truth``."""
    boxes = _precision(found, truth, categories, told_apart=False)
    kinds = _precision(found, truth, categories, told_apart=True)
    figures = {
        "ap50": _mean(boxes[0]),
        "ap75": _mean(boxes[5]),
        "ap": _mean(boxes),
        "map50": _mean(kinds[0]),
        "map": _mean(kinds),
        "main_item_iou50": main_item_found(found, truth, 0.5),
        "main_item_iou75": main_item_found(found, truth, 0.75),
    }
    return figures, {
        category: {"ap50": _mean(kinds[0, :, i]), "ap": _mean(kinds[:, :, i])}
        for i, category in enumerate(categories)
        if (kinds[:, :, i] >= 0).any()
    }


def main_item_found(found: Found, truth: Sequence[Truth], iou: float) -> float:
    """Share of pictures whose first box is that of the main item, which the truth names first."""
    right = [
        bool(boxes) and boxes[0].box.iou(items[0][0]) >= iou
        for boxes, items in zip(found, truth, strict=True)
        if items
    ]
    return float(np.mean(right)) if right else 0.0


def _precision(
    found: Found, truth: Sequence[Truth], categories: Sequence[str], *, told_apart: bool
) -> NDArray[np.float64]:
    """Precision, float64 (10 IoUs, 101 recalls, categories or 1); -1 where a category does not occur."""
    # Only whoever trains has it installed.
    from pycocotools.coco import COCO  # type: ignore[import-untyped]
    from pycocotools.cocoeval import COCOeval  # type: ignore[import-untyped]

    with contextlib.redirect_stdout(io.StringIO()):  # it tells the terminal of every step
        known, said = COCO(), COCO()
        pictures = [{"id": i, "width": GRID, "height": GRID} for i in range(len(truth))]
        kinds = [{"id": i, "name": name} for i, name in enumerate(categories)]
        number = {name: i for i, name in enumerate(categories)}
        known.dataset = {
            "images": pictures,
            "categories": kinds,
            "annotations": _numbered(
                {"image_id": i, "category_id": number[name], "iscrowd": 0} | _box(box)
                for i, items in enumerate(truth)
                for box, name in items
            ),
        }
        said.dataset = known.dataset | {
            "annotations": _numbered(
                {"image_id": i, "category_id": number[one.category], "score": one.score} | _box(one.box)
                for i, boxes in enumerate(found)
                for one in boxes
            )
        }
        known.createIndex()
        said.createIndex()
        run = COCOeval(known, said, "bbox")
        run.params.useCats = int(told_apart)
        # Of any size, and at most a hundred a picture.
        run.params.areaRng, run.params.areaRngLbl = run.params.areaRng[:1], run.params.areaRngLbl[:1]
        run.params.maxDets = [100]
        run.evaluate()
        run.accumulate()
    precision: NDArray[np.float64] = run.eval["precision"][:, :, :, 0, 0]
    return precision


def _mean(precision: NDArray[np.float64]) -> float:
    there = precision[precision >= 0]
    return float(there.mean()) if there.size else 0.0


def _box(box: Box) -> dict[str, object]:
    x, y, wide, tall = (side * GRID for side in (box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0))
    return {"bbox": [x, y, wide, tall], "area": wide * tall}


def _numbered(rows: Iterable[Mapping[str, object]]) -> list[dict[str, object]]:
    """COCO counts from 1; to its measure 0 is no annotation."""
    return [{**row, "id": number} for number, row in enumerate(rows, 1)]
