from pathlib import Path

import pytest

from imgsearch_assets.datasets.catalogue import load
from serving.errors import BadInput
from tests.conftest import Shop
from tests.imgsearch_assets.datasets.installed import install, put_picture


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An installation with a live generation and the pictures of its products."""
    shop = Shop(tmp_path / "home" / "objects", products=2)
    urls = [["http://shop/a", "http://shop/same", "http://shop/gone"], ["http://shop/b"]]
    hashes = {"a": "aa", "same": "aa", "gone": "cc", "b": "bb"}
    install(shop, urls, {f"http://shop/{name}": sha for name, sha in hashes.items()})
    for sha in ("aa", "bb"):
        put_picture(shop, sha, sha.encode())
    return tmp_path / "home"


def test_the_pictures_of_what_is_live(home: Path) -> None:
    dataset = load(home)
    assert sorted(one.path.name for one in dataset.pictures) == ["aa", "bb"]
    assert len({one.product for one in dataset.pictures}) == 2
    assert all(one.category for one in dataset.pictures)
    assert dataset.skipped == {"missing": 1}
    assert len(dataset.version) == 16


def test_where_there_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"/objects is not there; expected is the folder of an installation"):
        load(tmp_path)
    (tmp_path / "objects").mkdir()
    with pytest.raises(BadInput, match=r"^nothing was ever released in local; run the pipeline first$"):
        load(tmp_path)
