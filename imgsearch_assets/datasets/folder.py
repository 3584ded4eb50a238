"""A folder of photos: a sub-folder is a category, a photo in it a product of its own.

A folder within a category is a product with several photos: ``dress/red wrap dress/2.jpg``.
"""

from collections.abc import Iterator
from pathlib import Path

from imgsearch_assets.datasets.collection import SUFFIXES, Collection
from imgsearch_assets.datasets.dataset import Dataset
from serving.errors import BadInput


def load(root: Path) -> Dataset:
    """The photos below ``root``. Raises ``BadInput`` when there are none."""
    root = root.resolve()
    if not root.is_dir():
        raise BadInput(f"{root} is not there; expected is a folder with a sub-folder of photos per category")
    found = Collection(root.name, root)
    for category in _folders(root):
        for photo in _photos(category):
            found.add(photo, category=category.name)
        for product in _folders(category):
            for photo in _photos(product):
                found.add(photo, f"{category.name}/{product.name}", category.name)
    return found.dataset()


def _folders(parent: Path) -> Iterator[Path]:
    return (path for path in sorted(parent.iterdir()) if path.is_dir() and not path.name.startswith("."))


def _photos(parent: Path) -> Iterator[Path]:
    return (path for path in sorted(parent.iterdir()) if path.suffix.lower() in SUFFIXES and path.is_file())
