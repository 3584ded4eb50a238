"""Boxes in COCO's format (cocodataset.org/#format-data): one JSON file and a folder of pictures."""

import json
import math
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from imgsearch_assets.datasets.collection import is_text
from imgsearch_assets.datasets.dataset import Dataset, Labelled
from serving.errors import BadInput
from serving.images.box import GRID, Box

_ROTATION = 0x0112  # of EXIF
_TURNED = (5, 6, 7, 8)  # its values that swap width and height


@dataclass(frozen=True)
class Coco:
    """What a file says: ``dataset``, its categories in the order of their ids, and what was left out.

    ``rejected`` counts boxes by reason: ``crowd``, ``no_area``, ``outside``, ``too_small``.
    """

    dataset: Dataset
    categories: tuple[str, ...]
    rejected: Mapping[str, int]


def load(file: Path, images: Path | None = None) -> Coco:
    """Read an annotations file; pictures lie in ``images``, beside the file, or in ``images/`` near it.

    Boxes are cut off at the picture's edge. Raises ``BadInput`` for the first thing that is wrong with the
    file, naming it, the annotation or image, and the mend.
    """
    content = _content(file)
    categories = {
        _whole(file, one, "categories", "id"): _text(file, one, "categories", "name")
        for one in _rows(file, content, "categories")
    }
    if len(set(categories.values())) < len(categories) or not categories:
        raise BadInput(f"{file}: categories must have names that differ, and be at least one")
    pictures = {
        _whole(file, one, "images", "id"): _picture(file, one, images)
        for one in _rows(file, content, "images")
    }
    boxes: dict[int, list[tuple[Box, str]]] = defaultdict(list)
    rejected: Counter[str] = Counter()
    for one in _rows(file, content, "annotations"):
        name = f"{file}: annotation {one.get('id')}"
        image, category = one.get("image_id"), one.get("category_id")
        if not isinstance(image, int) or image not in pictures:
            raise BadInput(f"{name} is of image {image}, which images lacks; add or remove it")
        if not isinstance(category, int) or category not in categories:
            raise BadInput(f"{name} has category_id {category}, which categories lacks; add or remove it")
        _, width, height = pictures[image]
        found = "crowd" if one.get("iscrowd") else _box(name, one.get("bbox"), width, height)
        if isinstance(found, str):
            rejected[found] += 1
        else:
            boxes[image].append((found, categories[category]))
    labelled = []
    for number, (path, _, _) in sorted(pictures.items()):
        # The largest first: it is the one a picture is about, as far as this format tells.
        items = tuple(sorted(boxes[number], key=lambda item: item[0].area, reverse=True))
        labelled.append(Labelled(path, category=items[0][1] if items else "", items=items))
    if not any(one.items for one in labelled):
        raise BadInput(f"{file} has no usable box in {len(labelled)} images; annotate some")
    root = _common(one.path for one in labelled)
    names = tuple(categories[number] for number in sorted(categories))
    return Coco(Dataset(file.stem, root, tuple(labelled)), names, dict(rejected))


def _content(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise BadInput(f"{file} cannot be read ({error.strerror}); give a COCO annotations file") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{file} is not JSON ({error}); give a COCO annotations file") from None
    if not isinstance(content, dict):
        raise BadInput(f"{file} is not an object with images, annotations and categories")
    return content


def _rows(file: Path, content: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    """The objects of a list, each id once."""
    rows = content.get(key)
    if not isinstance(rows, list) or not all(isinstance(one, dict) for one in rows):
        raise BadInput(f"{file} has no list of objects named {key}; it must be in COCO's format")
    seen: set[Any] = set()
    for one in rows:
        number = _whole(file, one, key, "id")
        if number in seen:
            raise BadInput(f"{file}: id {number} is twice in {key}; give each its own")
        seen.add(number)
        yield one


def _picture(file: Path, one: Mapping[str, Any], images: Path | None) -> tuple[Path, int, int]:
    """Path, width and height in pixels; the file's header must agree."""
    name = _text(file, one, "images", "file_name")
    width, height = (_whole(file, one, "images", key) for key in ("width", "height"))
    places = [images] if images else [file.parent, file.parent / "images", file.parent.parent / "images"]
    for place in places:
        path = place / name
        if not path.resolve().is_relative_to(place.resolve()):
            raise BadInput(f"{file}: image {one['id']} is {name}, outside its folder; name a file below it")
        if os.path.isfile(path):  # noqa: PTH113 - a name too long for any file is no error
            break
    else:
        tried = ", ".join(map(str, places))
        raise BadInput(f"{file}: image {one['id']}, {name}, is not in {tried}; say where with --images")
    try:
        with Image.open(path) as picture:
            real = picture.size
            if picture.getexif().get(_ROTATION) in _TURNED:
                real = real[::-1]  # boxes are of the picture as people see it
    except (OSError, Image.DecompressionBombError) as error:
        raise BadInput(f"{file}: image {one['id']}, {path}, is no picture ({error}); replace it") from None
    if real != (width, height):
        raise BadInput(
            f"{file}: image {one['id']} is said to be {width} x {height} pixels, {path} is "
            f"{real[0]} x {real[1]} upright; boxes would be off: mend the one or the other"
        )
    return path, width, height


def _box(name: str, values: object, width: int, height: int) -> Box | str:
    """The box on the picture's grid, or why there is none."""
    numbers = values if isinstance(values, list) and len(values) == 4 else [math.nan]
    if not all(isinstance(v, int | float) and abs(v) < sys.float_info.max for v in numbers):
        raise BadInput(f"{name} has bbox {json.dumps(values)}; it must be [x, y, width, height] in pixels")
    x, y, wide, tall = map(float, numbers)
    if wide <= 0 or tall <= 0:
        return "no_area"
    x0, y0 = max(x / width, 0.0), max(y / height, 0.0)
    x1, y1 = min((x + wide) / width, 1.0), min((y + tall) / height, 1.0)
    if x0 >= x1 or y0 >= y1:
        return "outside"
    if round(x0 * GRID) >= round(x1 * GRID) or round(y0 * GRID) >= round(y1 * GRID):
        return "too_small"
    return Box(x0, y0, x1, y1)


def _whole(file: Path, one: Mapping[str, Any], rows: str, key: str) -> int:
    value = one.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or (key != "id" and value < 1):
        raise BadInput(f"{file}: {rows} {one.get('id')} has {key} {value!r}; it must be a whole number")
    return value


def _text(file: Path, one: Mapping[str, Any], rows: str, key: str) -> str:
    value = one.get(key)
    if not value or not is_text(value):
        raise BadInput(f"{file}: {rows} {one.get('id')} has {key} {value!r}; it must be a text")
    return value


def _common(paths: Iterator[Path]) -> Path:
    """The folder below which all of them lie."""
    folders = [path.parent for path in paths]
    root = folders[0]
    while not all(folder.is_relative_to(root) for folder in folders):
        root = root.parent
    return root
