"""How well a detector's boxes are those that a data set knows."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from imgsearch_assets.datasets.dataset import Labelled
from imgsearch_assets.evaluation.precision import detector_figures
from serving.errors import BadInput
from serving.models.detection import Detection


def detection(
    pictures: Sequence[Labelled], found: Mapping[Path, Sequence[Detection]], categories: Sequence[str]
) -> dict[str, float]:
    """``ap50`` and ``ap`` (COCO's, IoU 0.50:0.95) and their like, of the pictures whose boxes are known.

    Figures within categories are there only where the data set uses the detector's own. A data set that names
    one box on a picture of several items makes every other find a mistake. Empty when no box is known.
    """
    known = list({one.path: one for one in pictures if one.items and one.path in found}.values())
    if not known:
        return {}
    foreign = {category for one in known for _, category in one.items} - set(categories)
    try:
        figures = detector_figures(
            [found[one.path] for one in known],
            [one.items for one in known],
            [*categories, *sorted(foreign)],
        )
    except ImportError:
        raise BadInput(
            "the detector's figures need pycocotools: install imgsearch[train], or pass no detector"
        ) from None
    if foreign:
        figures = {name: value for name, value in figures.items() if not name.startswith("map")}
    return {"pictures": float(len(known)), **figures}
