from pathlib import Path

import pytest

from imgsearch_assets.models.candidates import candidate
from imgsearch_assets.models.shipped import register_detector
from serving.errors import BadInput, NotFound
from serving.models import detector
from serving.object_store import LocalObjectStore


def test_every_way_to_name_a_model(tmp_path: Path) -> None:
    home = tmp_path / "home"
    version = register_detector(LocalObjectStore(home / "objects")).version
    folder = home / "objects" / "models" / detector.NAME / version
    named = [
        candidate(detector.NAME, None, None),
        candidate(detector.NAME, "shipped", home),
        candidate(detector.NAME, None, home),
        candidate(detector.NAME, "live", home),
        candidate(detector.NAME, version, home),
        candidate(detector.NAME, str(folder), None),
    ]
    assert {bundle.version for bundle in named} == {version}


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=r"^detector 'moon' is no folder with a bundle\.json; to measure a stored"
    ):
        candidate(detector.NAME, "moon", None)
    with pytest.raises(BadInput, match=r"/objects is not there; expected is the folder of an installation"):
        candidate(detector.NAME, "moon", tmp_path)
    (tmp_path / "objects").mkdir()
    with pytest.raises(NotFound, match=r"^there is no object models/detector/moon/bundle\.json$"):
        candidate(detector.NAME, "moon", tmp_path)
