"""A folder of real photos as a catalogue: sub-folder = category, photo = product."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zlib import crc32

import cv2
import numpy as np

from imgsearch_assets.progress import stage
from imgsearch_assets.sample.palette import nearest_family
from imgsearch_assets.sample.products import CURRENCY
from serving.errors import NotFound

PHOTOS_LINK = "photos"
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
_FIRST_UPDATE = datetime(2025, 1, 1, tzinfo=UTC)
_UNKNOWN = "unknown"


def photo_files(photos: Path) -> list[Path]:
    """The pictures in the sub-folders of ``photos``, in order. Raises ``NotFound`` when there are none."""
    files = [
        file
        for folder in sorted(photos.iterdir() if photos.is_dir() else ())
        if folder.is_dir() and not folder.name.startswith(".")
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in _SUFFIXES and file.is_file()
    ]
    if not files:
        raise NotFound(
            f"no photos in {photos}: wanted are sub-folders (categories) of JPEG, PNG or WebP files"
        )
    return files


def photo_rows(photos: Path, files: list[Path], base_url: str) -> list[dict[str, Any]]:
    """A row of the catalogue for each of ``files``, below ``photos``."""
    names = Counter(_name(photos, file) for file in files)
    rows = []
    with stage("reading the photos", len(files)) as advance:
        for number, file in enumerate(files):
            name = _name(photos, file)
            product_id = name if names[name] == 1 else name + file.suffix
            rows.append(
                _row(product_id, number, file, f"{base_url}/{quote(file.relative_to(photos).as_posix())}")
            )
            advance(1)
    return rows


def _name(photos: Path, file: Path) -> str:
    return file.relative_to(photos).with_suffix("").as_posix()


def _row(product_id: str, number: int, file: Path, url: str) -> dict[str, Any]:
    category = file.parent.name
    dice = crc32(product_id.encode())  # what a photo does not tell: the same at every start
    return {
        "product_id": product_id,
        "name": f"{category[:1].upper()}{category[1:]} {file.stem[:8]}",
        "brand": ("Unbranded", "Second Hand", "Archive")[dice % 3],
        "category": category,
        "colour": _colour(file),
        "price": 1_000 + dice % 14_000 // 100 * 100 - 5,
        "currency": CURRENCY,
        "in_stock": dice % 100 < 85,
        "image_urls": [url],
        "updated_at": _FIRST_UPDATE + timedelta(minutes=number),
    }


def _colour(file: Path) -> str:
    """The family of the middle of the photo, ``unknown`` when it cannot be read."""
    small = cv2.imread(str(file), cv2.IMREAD_REDUCED_COLOR_8)
    if small is None:
        return _UNKNOWN
    height, width = small.shape[:2]
    middle = small[height // 3 : height - height // 3, width // 3 : width - width // 3]
    blue, green, red = (int(v) for v in np.median(middle.reshape(-1, 3), axis=0))
    return nearest_family((red, green, blue))
