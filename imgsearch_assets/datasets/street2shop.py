"""Exact Street2Shop as its downloaders leave it on disk (Hadi Kiapour et al., ICCV 2015).

    meta/json/train_pairs_<category>.json    [{"photo": 1, "product": 2, "bbox": {"left": 0, "top": 0,
                                             "width": 9, "height": 9}}, ...]: a street photo, what it shows
    meta/json/test_pairs_<category>.json     the same, to ask with
    meta/json/retrieval_<category>.json      [{"photo": 3, "product": 2}, ...]: photos of the shops
    photos/, images/ or JPEGImages/          pictures named by the number of the photo, in sub-folders or not

Shop photos of products that the training pairs name are to learn from, all others are the gallery, so that
no product is on both sides; a training pair of a product that the test asks for is left out.
"""

import json
from pathlib import Path
from typing import Any

from imgsearch_assets.datasets.collection import SUFFIXES, Collection, Pixels, required
from imgsearch_assets.datasets.dataset import Dataset, Role
from serving.errors import BadInput

_LAYOUT = (
    "Exact Street2Shop: meta/json/ with train_pairs_<category>.json, test_pairs_<category>.json and "
    "retrieval_<category>.json, and photos/<number>.jpg"
)
_META = ("meta/json", "meta/meta/json", "json")
_PHOTOS = ("photos", "images", "JPEGImages")

Row = dict[str, Any]


def load(root: Path) -> Dataset:
    """The data set below ``root``, its own parts as roles. Raises ``BadInput`` when a file is missing."""
    root = root.resolve()
    meta = required(root, _META, _LAYOUT)
    photos = _numbered(required(root, _PHOTOS, _LAYOUT))
    found = Collection("street2shop", root)
    categories = sorted(file.stem.removeprefix("retrieval_") for file in meta.glob("retrieval_*.json"))
    if not categories:
        raise BadInput(f"{meta}/retrieval_<category>.json is not there; expected is {_LAYOUT}")
    for category in categories:
        test = _rows(required(meta, (f"test_pairs_{category}.json",), _LAYOUT), found)
        train = _rows(required(meta, (f"train_pairs_{category}.json",), _LAYOUT), found)
        shop = _rows(meta / f"retrieval_{category}.json", found)
        asked = {str(row["product"]) for row in test}
        learned = {str(row["product"]) for row in train} - asked
        for row in test:
            _add_street(found, row, photos, category, "query")
        for row in train:
            if str(row["product"]) in asked:
                found.skip("in_both_parts")
            else:
                _add_street(found, row, photos, category, "train")
        for row in shop:
            product = str(row["product"])
            role: Role = "train" if product in learned else "gallery"
            found.add(photos.get(_number(row)), product, category, "shop", role)
    return found.dataset()


def _add_street(found: Collection, row: Row, photos: dict[str, Path], category: str, role: Role) -> None:
    try:
        pixels = _pixels(row["bbox"]) if "bbox" in row else None
    except (KeyError, TypeError, ValueError, OverflowError):
        found.skip("bad_box")
        return
    found.add(photos.get(_number(row)), str(row["product"]), category, "street", role, pixels)


def _pixels(bbox: Any) -> Pixels:
    left, top = float(bbox["left"]), float(bbox["top"])
    return left, top, left + float(bbox["width"]), top + float(bbox["height"])


def _numbered(folder: Path) -> dict[str, Path]:
    """Number of a photo to its file, wherever below ``folder``: 12.jpg and 000000012.jpg are both 12."""
    files = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES)
    return {_plain(path.stem): path for path in files if _is_number(path.stem)}


def _number(row: Row) -> str:
    return _plain(str(row["photo"]))


def _plain(number: str) -> str:
    return number.lstrip("0") or "0"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _rows(file: Path, found: Collection) -> list[Row]:
    """The usable rows; others are counted. Raises ``BadInput`` when the file is no list as JSON."""
    try:
        rows = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        raise BadInput(f"{file} is not JSON; expected is {_LAYOUT}") from None
    if not isinstance(rows, list):
        raise BadInput(f"{file} holds no list; expected is {_LAYOUT}")
    good = []
    for row in rows:
        named = isinstance(row, dict) and isinstance(row.get("product"), str | int)
        if named and _is_number(str(row.get("photo"))):
            good.append(row)
        else:
            found.skip("malformed")
    return good
