"""The items of pictures as a detector finds them: what an embedder is asked with later is such crops."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from imgsearch_assets.datasets.dataset import Labelled
from imgsearch_assets.datasets.scenes import pixels_of
from imgsearch_assets.progress import stage
from imgsearch_assets.training.checkpoint import fingerprint, write_whole
from serving.images.box import Box
from serving.models import runtime
from serving.models.detection import item_box
from serving.models.detector import Detector

# Overlap with the labelled box below which a detector's is of something else, or of too little of it.
_SAME_ITEM = 0.5  # IoU
_CHUNK = 128  # pictures in one file: what a killed training has to look at again


def detected(pictures: Sequence[Labelled], detector: Detector, folder: Path, version: str) -> dict[Path, Box]:
    """The box of each picture's item by ``detector``, or from ``folder`` what it found before.

    ``version`` names the pictures' content. A picture is left out where nothing was found, or something else
    than what is labelled. Raises ``BadInput`` naming a picture that cannot be read.
    """
    mark = fingerprint({"version": version, "detector": detector.version, "pictures": len(pictures)})
    boxes: dict[Path, Box] = {}
    look = partial(_item, detector)
    with (
        stage("finding the items", len(pictures)) as advance,
        ThreadPoolExecutor(runtime.cores()) as pool,
    ):
        for start in range(0, len(pictures), _CHUNK):
            part = pictures[start : start + _CHUNK]
            file = folder / f"{mark}.{start:07d}.json"
            if not file.exists():
                found = [box.key if box else None for box in pool.map(look, part)]
                write_whole(file, json.dumps(found).encode())
            keys = json.loads(file.read_bytes())
            boxes |= {one.path: Box.from_key(key) for one, key in zip(part, keys, strict=True) if key}
            advance(len(part))
    return boxes


def _item(detector: Detector, one: Labelled) -> Box | None:
    box = item_box(detector.detect([pixels_of(one)])[0], one.category)
    if box is None or (one.items and box.iou(one.box) < _SAME_ITEM):
        return None
    return box
