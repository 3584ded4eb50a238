from pathlib import Path

import pytest

from imgsearch_assets.datasets.collection import Collection, required
from imgsearch_assets.datasets.dataset import Labelled
from serving.errors import BadInput
from serving.images.box import Box
from tests.imgsearch_assets.datasets.conftest import Put


def test_what_can_be_used_and_what_cannot(tmp_path: Path, put: Put) -> None:
    found = Collection("shop", tmp_path)
    picture = put(tmp_path / "a.jpg", 40, 20)
    found.add(picture, "p", "shoe", "street", "query", (10, 5, 60, 10))
    found.add(picture, pixels=(50, 0, 60, 9))
    found.add(tmp_path / "b.jpg")
    found.add(None)
    (tmp_path / "c.jpg").write_bytes(b"no picture")
    found.add(tmp_path / "c.jpg")
    dataset = found.dataset()
    items = ((Box(0.25, 0.25, 1, 0.5), "shoe"),)
    assert dataset.pictures == (Labelled(picture, "p", "shoe", "street", "query", items),)
    assert dataset.skipped == {"bad_box": 1, "missing": 2, "not_an_image": 1}


def test_nothing_is_an_error_that_says_why(tmp_path: Path) -> None:
    found = Collection("shop", tmp_path)
    with pytest.raises(BadInput, match=rf"^no picture of {tmp_path} can be used \(none is there\)$"):
        found.dataset()
    found.skip("malformed")
    with pytest.raises(BadInput, match=r"can be used \(malformed 1\)$"):
        found.dataset()
    with pytest.raises(ValueError, match="'ugly' is not one of"):
        found.skip("ugly")


def test_a_missing_file_is_named_with_its_layout(tmp_path: Path, put: Put) -> None:
    assert required(tmp_path, ("x", "."), "a folder") == tmp_path / "."
    with pytest.raises(BadInput, match=rf"^{tmp_path}/x is not there; expected is a folder$"):
        required(tmp_path, ("x", "y"), "a folder")
