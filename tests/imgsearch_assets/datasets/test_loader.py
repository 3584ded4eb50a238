from pathlib import Path

import pytest

from imgsearch_assets.datasets.loader import load
from serving.errors import BadInput
from tests.imgsearch_assets.datasets.conftest import Put


def test_a_data_set_by_its_name(tmp_path: Path, put: Put) -> None:
    put(tmp_path / "my: photos" / "dress" / "1.jpg")
    assert len(load(f"folder:{tmp_path}/my: photos").pictures) == 1


@pytest.mark.parametrize("spec", ["drawn", "moon:3", "drawn:"])
def test_a_name_that_is_none(spec: str) -> None:
    with pytest.raises(BadInput, match=rf"^'{spec}' names no data set; say one of drawn:PRODUCTS\[:SEED\], "):
        load(spec)


def test_a_number_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^drawn:many names no data set; say drawn:PRODUCTS or drawn:"):
        load("drawn:many", tmp_path)


@pytest.mark.parametrize("form", ["in_shop", "street2shop", "lookbench", "folder", "catalogue"])
def test_every_format_says_what_it_expects(form: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is not there; expected is "):
        load(f"{form}:{tmp_path}/x", tmp_path)
