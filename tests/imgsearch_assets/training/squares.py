"""A data set with boxes that takes no time."""

import json
from pathlib import Path

import numpy as np
from PIL import Image


def coco_squares(folder: Path, count: int = 24) -> Path:
    """A COCO file of ``count`` red and green squares, and a box without an area."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(1, count + 1):
        picture = rng.integers(0, 255, (128, 128, 3), dtype=np.uint8)
        x, y = (int(v) for v in rng.integers(0, 60, 2))
        picture[y : y + 60, x : x + 60, number % 2] = 255
        Image.fromarray(picture).save(folder / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 128, "height": 128})
        annotations.append(
            {"id": number, "image_id": number, "category_id": number % 2, "bbox": [x, y, 60, 60]}
        )
    annotations.append({"id": 9999, "image_id": 1, "category_id": 1, "bbox": [0, 0, 0, 0]})
    kinds = [{"id": 0, "name": "red"}, {"id": 1, "name": "green"}]
    file = folder / "boxes.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": kinds}))
    return file
