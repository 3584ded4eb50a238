from pathlib import Path

import pytest

from imgsearch_assets.datasets.folder import load
from serving.errors import BadInput
from tests.imgsearch_assets.datasets.conftest import Put


def test_categories_and_products(tmp_path: Path, put: Put) -> None:
    for name in (
        "dress/1.jpg",
        "dress/red/1.JPG",
        "dress/red/2.jpg",
        "hat/a b.jpeg",
        "loose.jpg",
        ".x/1.jpg",
    ):
        put(tmp_path / name)
    (tmp_path / "hat" / "notes.txt").write_text("not a photo")
    (tmp_path / "hat" / "broken.jpg").write_bytes(b"")
    dataset = load(tmp_path)
    assert [(one.path.name, one.product, one.category) for one in dataset.pictures] == [
        ("1.jpg", "", "dress"),
        ("1.JPG", "dress/red", "dress"),
        ("2.jpg", "dress/red", "dress"),
        ("a b.jpeg", "", "hat"),
    ]
    assert dataset.skipped == {"empty": 1}


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"/x is not there; expected is a folder with a sub-folder of photos"):
        load(tmp_path / "x")
