from pathlib import Path

import pytest

from imgsearch_assets.datasets.in_shop import load
from serving.errors import BadInput
from serving.images.box import Box
from tests.imgsearch_assets.datasets.conftest import Put

_PARTITION = """4
image_name item_id evaluation_status
img/MEN/Denim/id_1/01_1_front.jpg          id_1 train
img/WOMEN/Dresses/id_2/01_1_front.jpg      id_2 query
img/WOMEN/Dresses/id_2/02_3_back.jpg       id_2 gallery
img/WOMEN/Dresses/id_2/03_gone.jpg         id_2 gallery
img/WOMEN/Dresses/id_2/02_3_back.jpg       id_2
"""
_BOXES = """2
image_name clothes_type pose_type x_1 y_1 x_2 y_2
img/MEN/Denim/id_1/01_1_front.jpg          2 1 10 0 40 30
img/WOMEN/Dresses/id_2/01_1_front.jpg      3 1 ten 0 40 30
"""


@pytest.fixture
def root(tmp_path: Path, put: Put) -> Path:
    for name in (
        "MEN/Denim/id_1/01_1_front.jpg",
        "WOMEN/Dresses/id_2/01_1_front.jpg",
        "WOMEN/Dresses/id_2/02_3_back.jpg",
    ):
        put(tmp_path / "img" / name)
    for folder, name, text in (
        ("Eval", "list_eval_partition.txt", _PARTITION),
        ("Anno", "list_bbox_inshop.txt", _BOXES),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    return tmp_path


def test_the_layout_as_it_is_unpacked(root: Path) -> None:
    dataset = load(root)
    assert [(one.product, one.category, one.kind, one.role, one.box) for one in dataset.pictures] == [
        ("id_1", "Denim", "shop", "train", Box(0.25, 0, 1, 1)),
        ("id_2", "Dresses", "shop", "query", Box.whole()),
        ("id_2", "Dresses", "shop", "gallery", Box.whole()),
    ]
    assert dataset.skipped == {"missing": 1, "malformed": 1}


@pytest.mark.parametrize("name", ["img/../../outside.jpg", "img/MEN/../../../etc/x.jpg", "/etc/x.jpg"])
def test_a_file_outside_the_folder_is_no_part_of_it(root: Path, put: Put, name: str) -> None:
    put(root.parent / "outside.jpg")
    partition = root / "Eval" / "list_eval_partition.txt"
    partition.write_text(_PARTITION + f"{name} id_9 query\n")
    dataset = load(root)
    assert {one.product for one in dataset.pictures} == {"id_1", "id_2"}
    assert dataset.skipped["malformed"] == 2


def test_other_places_and_no_boxes(root: Path) -> None:
    (root / "Eval" / "list_eval_partition.txt").rename(root / "list_eval_partition.txt")
    (root / "Anno" / "list_bbox_inshop.txt").unlink()
    (root / "Img").mkdir()
    (root / "img").rename(root / "Img" / "img")
    assert [one.items for one in load(root).pictures] == [()] * 3


@pytest.mark.parametrize("lacking", ["Eval/list_eval_partition.txt", "img"])
def test_what_is_missing_is_named(root: Path, lacking: str) -> None:
    (root / lacking).rename(root / "elsewhere")
    with pytest.raises(
        BadInput,
        match=rf"^{root}/{lacking} is not there; expected is the In-shop Clothes Retrieval Benchmark: ",
    ):
        load(root)
