import json
from pathlib import Path
from typing import Any

import pytest

from imgsearch_assets.datasets.street2shop import load
from serving.errors import BadInput
from serving.images.box import Box
from tests.imgsearch_assets.datasets.conftest import Put


def pair(photo: int, product: int, **bbox: Any) -> dict[str, Any]:
    return {"photo": photo, "product": product, "bbox": bbox}


_WHOLE = {"left": 0, "top": 0, "width": 40, "height": 30}


@pytest.fixture
def root(tmp_path: Path, put: Put) -> Path:
    meta = tmp_path / "meta" / "json"
    meta.mkdir(parents=True)
    files: dict[str, Any] = {
        "train_pairs_hats": [pair(1, 10, **_WHOLE), pair(2, 20, **_WHOLE)],
        "test_pairs_hats": [
            pair(3, 20, left=20, top=0, width=20, height=15),
            pair(4, 20, left="?", top=0, width=1, height=1),
            pair(99, 20, **_WHOLE),
            {"photo": None, "product": 1},
        ],
        "retrieval_hats": [{"photo": n, "product": p} for n, p in ((5, 10), (6, 20), (7, 30))],
    }
    for name, rows in files.items():
        (meta / f"{name}.json").write_text(json.dumps(rows))
    for number in range(1, 8):
        put(tmp_path / "photos" / ("hats" if number % 2 else "") / f"{number:0{1 + number}d}.jpg")
    return tmp_path


def test_pairs_and_shops(root: Path) -> None:
    dataset = load(root)
    assert [(int(x.path.stem), x.product, x.kind, x.role, x.box.key) for x in dataset.pictures] == [
        (3, "20", "street", "query", Box(0.5, 0, 1, 0.5).key),
        (1, "10", "street", "train", Box.whole().key),
        (5, "10", "shop", "train", Box.whole().key),
        (6, "20", "shop", "gallery", Box.whole().key),
        (7, "30", "shop", "gallery", Box.whole().key),
    ]
    assert {one.category for one in dataset.pictures} == {"hats"}
    assert dataset.skipped == {"malformed": 1, "bad_box": 1, "missing": 1, "in_both_parts": 1}


@pytest.mark.parametrize(
    "lacking", ["meta/json", "photos", "meta/json/test_pairs_hats.json", "meta/json/train_pairs_hats.json"]
)
def test_what_is_missing_is_named(root: Path, lacking: str) -> None:
    (root / lacking).rename(root / "elsewhere")
    with pytest.raises(
        BadInput, match=rf"^{root}/{lacking} is not there; expected is Exact Street2Shop: meta/"
    ):
        load(root)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"photo": "²", "product": 1, "bbox": _WHOLE}, "malformed"),
        ({"photo": 10**400, "product": 1, "bbox": _WHOLE}, "missing"),
        ({"photo": True, "product": 1, "bbox": _WHOLE}, "malformed"),
        ({"photo": 3, "product": [1], "bbox": _WHOLE}, "malformed"),
        ({"photo": 3, "product": "\ud800", "bbox": _WHOLE}, "malformed"),
        ({"photo": 3, "product": 1, "bbox": _WHOLE | {"width": 10**400}}, "bad_box"),
        ([3, 1], "malformed"),
    ],
)
def test_odd_rows_are_counted(root: Path, row: Any, reason: str) -> None:
    (root / "meta" / "json" / "test_pairs_hats.json").write_text(json.dumps([row, pair(3, 20, **_WHOLE)]))
    skipped = load(root).skipped
    assert skipped[reason] == 1


def test_files_that_are_something_else(root: Path) -> None:
    file = root / "meta" / "json" / "retrieval_hats.json"
    file.write_text("[")
    with pytest.raises(BadInput, match=r"retrieval_hats\.json is not JSON; expected is Exact Street2Shop"):
        load(root)
    file.write_text("[" * 200_000)
    with pytest.raises(BadInput, match=r"retrieval_hats\.json is not JSON; expected is Exact Street2Shop"):
        load(root)
    file.write_text("{}")
    with pytest.raises(BadInput, match=r"retrieval_hats\.json holds no list; expected is"):
        load(root)
    file.unlink()
    with pytest.raises(BadInput, match=r"retrieval_<category>\.json is not there; expected is"):
        load(root)
