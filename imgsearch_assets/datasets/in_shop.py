"""DeepFashion's In-shop Clothes Retrieval Benchmark as it is unpacked (Liu et al., CVPR 2016).

    Eval/list_eval_partition.txt    count; header; "img/MEN/Denim/id_00000080/01_1_front.jpg id_00000080
                                    train" or query or gallery
    Anno/list_bbox_inshop.txt       count; header; image, clothes type, pose type, x_1 y_1 x_2 y_2 (pixels);
                                    without it the whole picture counts
    img/... or Img/img/...          the pictures

The category is the folder above the item's ("Denim").
"""

from collections.abc import Iterator
from pathlib import Path

from imgsearch_assets.datasets.collection import Collection, Pixels, required
from imgsearch_assets.datasets.dataset import Dataset, Role

_LAYOUT = (
    "the In-shop Clothes Retrieval Benchmark: Eval/list_eval_partition.txt, Anno/list_bbox_inshop.txt, img/"
)
_ROLES: dict[str, Role] = {"train": "train", "query": "query", "gallery": "gallery"}
_HEAD = 2  # lines before the rows


def load(root: Path) -> Dataset:
    """The benchmark below ``root``, its own parts as roles. Raises ``BadInput`` when a file is missing."""
    root = root.resolve()
    partition = required(root, ("Eval/list_eval_partition.txt", "list_eval_partition.txt"), _LAYOUT)
    above = required(root, ("img", "Img/img"), _LAYOUT).parent
    boxes = _boxes(root)
    found = Collection("in_shop", root)
    for words in _rows(partition):
        if len(words) != 3 or words[2] not in _ROLES:
            found.skip("malformed")
            continue
        image, item, status = words
        category = Path(image).parent.parent.name
        found.add(above / image, item, category, role=_ROLES[status], pixels=boxes.get(image))
    return found.dataset()


def _rows(file: Path) -> Iterator[list[str]]:
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines):
            if number >= _HEAD and line.strip():
                yield line.split()


def _boxes(root: Path) -> dict[str, Pixels]:
    """Image to its box; a row that is none leaves the picture whole."""
    boxes: dict[str, Pixels] = {}
    for place in ("Anno/list_bbox_inshop.txt", "list_bbox_inshop.txt"):
        for words in _rows(root / place) if (root / place).exists() else ():
            try:
                x0, y0, x1, y1 = map(float, words[3:7])
            except ValueError:
                continue
            boxes[words[0]] = (x0, y0, x1, y1)
    return boxes
