from pathlib import Path

import pytest

from imgsearch_assets.datasets.drawn import load
from imgsearch_assets.sample.products import Product
from serving.errors import BadInput


def test_a_smaller_set_is_the_start_of_a_larger_one(tmp_path: Path) -> None:
    small = load(2, 5, tmp_path)
    assert [(one.path.stem, one.product, one.kind) for one in small.pictures[4:]] == [
        ("P000001-front", "P000001", "shop"),
        ("P000001-turned", "P000001", "shop"),
        ("P000001-near", "P000001", "shop"),
        ("P000001-street", "P000001", "street"),
    ]
    design = Product.drawn(5, 1).design
    assert {one.category for one in small.pictures[4:]} == {design.category}
    assert all(one.items[0][1] == one.category and one.box.area > 0 for one in small.pictures)
    times = {one.path: one.path.stat().st_mtime_ns for one in small.pictures}
    (record,) = (small.root / "drawn").iterdir()
    larger = load(3, 5, tmp_path)
    assert larger.pictures[:8] == small.pictures
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert load(2, 5, tmp_path).version == small.version != larger.version
    # As if the drawing had been interrupted: it is done again, to the same bytes.
    record.unlink()
    assert load(2, 5, tmp_path).version == small.version


def test_no_product(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^drawn:0 asks for no product; at least 1$"):
        load(0, 1, tmp_path)
