import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imgsearch_assets.datasets.coco import load
from serving.errors import BadInput
from serving.images.box import Box


@pytest.fixture
def content(tmp_path: Path) -> dict[str, Any]:
    """A small data set as it is usually laid out."""
    (tmp_path / "images" / "a").mkdir(parents=True)
    Image.new("RGB", (200, 100), "red").save(tmp_path / "images" / "a" / "1.jpg")
    Image.new("RGB", (100, 100), "blue").save(tmp_path / "images" / "2.png")
    return {
        "info": {"ignored": True},
        "images": [
            {"id": 2, "file_name": "2.png", "width": 100, "height": 100},
            {"id": 1, "file_name": "a/1.jpg", "width": 200, "height": 100},
        ],
        "categories": [{"id": 9, "name": "bag"}, {"id": 3, "name": "hat", "supercategory": "thing"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 3, "bbox": [20, 10, 40, 40]},
            {"id": 2, "image_id": 1, "category_id": 9, "bbox": [100.0, 50, 120, 60], "iscrowd": 0},
        ],
    }


def written(tmp_path: Path, content: Any) -> Path:
    file = tmp_path / "annotations" / "train.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_pictures_boxes_and_categories(tmp_path: Path, content) -> None:
    found = load(written(tmp_path, content))
    assert found.categories == ("hat", "bag")  # by id
    first, second = found.dataset.pictures
    assert first.path.samefile(tmp_path / "images/a/1.jpg")
    # The larger first, and cut off at the picture's edge.
    assert first.items == ((Box(0.5, 0.5, 1, 1), "bag"), (Box(0.1, 0.1, 0.3, 0.5), "hat"))
    assert first.category == "bag"
    assert second.items == ()  # a picture of nothing is worth learning from too
    assert found.rejected == {}
    assert len(found.dataset.version) == 16
    assert load(written(tmp_path, content), tmp_path / "images").dataset.version == found.dataset.version


def test_boxes_that_are_none_are_counted(tmp_path: Path, content) -> None:
    for number, (bbox, crowd) in enumerate(
        [
            ([0, 0, 0, 5], 0),
            ([0, 0, 5, -1], 0),
            ([300, 0, 5, 5], 0),
            ([0, 0, 0.001, 5], 0),
            ([0, 0, 9, 9], 1),
        ],
        3,
    ):
        content["annotations"].append(
            {"id": number, "image_id": 2, "category_id": 3, "bbox": bbox, "iscrowd": crowd}
        )
    found = load(written(tmp_path, content))
    assert found.rejected == {"no_area": 2, "outside": 1, "too_small": 1, "crowd": 1}
    assert found.dataset.pictures[1].items == ()


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        (
            ("annotations", 1, "image_id"),
            7,
            "annotation 2 is of image 7, which images lacks; add or remove it",
        ),
        (("annotations", 0, "category_id"), 4, "annotation 1 has category_id 4, which categories lacks"),
        (
            ("annotations", 0, "bbox"),
            [1, 2, 3],
            "annotation 1 has bbox [1, 2, 3]; it must be [x, y, width, heig",
        ),
        (
            ("annotations", 0, "bbox"),
            [1, 2, 3, float("nan")],
            "annotation 1 has bbox [1, 2, 3, NaN]; it must",
        ),
        (("annotations", 0, "bbox"), [1, 2, "3", 4], 'annotation 1 has bbox [1, 2, "3", 4]; it must'),
        (("annotations", 0, "bbox"), [1, 2, 10**400, 4], "it must be [x, y, width, height] in pixels"),
        (("annotations", 0, "image_id"), [1], "annotation 1 is of image [1], which images lacks"),
        (("annotations", 0, "category_id"), {}, "annotation 1 has category_id {}, which categories lacks"),
        (("images", 0, "file_name"), "a\0.png", "images 2 has file_name 'a\\x00.png'; it must be a text"),
        (("images", 0, "file_name"), "\ud800.png", "images 2 has file_name '\\ud800.png'; it must be a"),
        (("images", 0, "file_name"), "a" * 300, "is not in"),
        (("annotations", 1, "id"), 1, "id 1 is twice in annotations; give each its own"),
        (("annotations",), None, "has no list of objects named annotations; it must be in COCO's format"),
        (("images", 0, "file_name"), "no.png", "image 2, no.png, is not in"),
        (("images", 0, "file_name"), "../../etc/passwd", "image 2 is ../../etc/passwd, outside its folder"),
        (("images", 0, "width"), 0, "images 2 has width 0; it must be a whole number"),
        (("images", 0, "width"), 50, "image 2 is said to be 50 x 100 pixels"),
        (("categories", 0, "name"), "hat", "categories must have names that differ"),
        (("categories", 0, "name"), 5, "categories 9 has name 5; it must be a text"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content, where, value, said: str) -> None:
    *path, last = where
    spot = content
    for key in path:
        spot = spot[key]
    spot[last] = value
    file = written(tmp_path, content)
    with pytest.raises(BadInput, match=re.escape(said)) as refused:
        load(file)
    assert str(refused.value).startswith(str(file))


def test_files_that_are_something_else(tmp_path: Path, content) -> None:
    with pytest.raises(BadInput, match=r"none\.json cannot be read .No such file or directory."):
        load(tmp_path / "none.json")
    with pytest.raises(BadInput, match="is not JSON"):
        load(written(tmp_path, "{"))
    with pytest.raises(BadInput, match="is not JSON"):
        load(written(tmp_path, "[" * 200_000))
    with pytest.raises(BadInput, match="is not an object with images"):
        load(written(tmp_path, "[]"))
    (tmp_path / "images" / "2.png").write_bytes(b"hello")
    with pytest.raises(BadInput, match="is no picture"):
        load(written(tmp_path, content))


def test_nothing_to_learn_from(tmp_path: Path, content) -> None:
    content["annotations"] = []
    with pytest.raises(BadInput, match="has no usable box in 2 images; annotate some"):
        load(written(tmp_path, content))


def test_boxes_are_of_the_upright_picture(tmp_path: Path, content) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (100, 200)).save(tmp_path / "images" / "a" / "1.jpg", exif=exif)
    assert load(written(tmp_path, content)).dataset.pictures[0].items
