"""Held-out pictures that a detector does worst on, to look at."""

from operator import itemgetter

from imgsearch_assets.datasets.scenes import Scenes
from imgsearch_assets.pictures import Picture, boxes_drawn
from serving.models.detection import Detection
from serving.models.detector import Detector

_LOOKED_AT, _SHOWN = 200, 18


def worst_boxes(detector: Detector, scenes: Scenes) -> bytes:
    """A JPEG of the ``scenes`` whose main item ``detector`` fits least, the worst first; its boxes are drawn.

    Of the first 200: to draw scenes takes longer than to look at them.
    """
    found: list[tuple[float, Picture, list[Detection]]] = []
    for i in range(min(len(scenes), _LOOKED_AT)):
        picture, truth = scenes.scene(i)
        if truth:
            (items,) = detector.detect([picture])
            fit = items[0].box.iou(truth[0][0]) if items else 0.0
            found.append((fit, picture, items))
    return boxes_drawn([(picture, items) for _, picture, items in sorted(found, key=itemgetter(0))[:_SHOWN]])
