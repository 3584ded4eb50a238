import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.errors import BadSettings
from serving.location import Bucket, open_store
from serving.object_store import LocalObjectStore
from serving.settings import Settings, read_settings

ROOT = Path(__file__).resolve().parents[2]


def test_a_place_is_a_folder_or_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings().objects is None
    for told, meant in {
        "/data/objects": Path("/data/objects"),
        "objects": Path("objects"),
        "gs://shop-objects": Bucket("shop-objects"),
        "gs://shop-objects/": Bucket("shop-objects"),
        "gs://shop.example/a/b-c/": Bucket("shop.example", "a/b-c"),
    }.items():
        monkeypatch.setenv("IMGSEARCH_OBJECTS", told)
        assert read_settings().objects == meant
    assert [str(Bucket("shop")), str(Bucket("shop", "a/b"))] == ["gs://shop", "gs://shop/a/b"]


@pytest.mark.parametrize(
    "told", ["", "gs://", "gs://Shop", "gs://s", "gs://shop/a b", "gs://shop//a", "s3://shop"]
)
def test_another_place_is_refused(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGSEARCH_OBJECTS", told)
    with pytest.raises(BadSettings) as error:
        read_settings()
    assert error.value.message == (
        f"IMGSEARCH_OBJECTS: Value error, {told!r} is neither a folder nor gs://BUCKET/PREFIX"
    )


def test_a_folder(tmp_path: Path) -> None:
    for settings, root in (
        (Settings(home=tmp_path), tmp_path / "objects"),
        (Settings(home=tmp_path, objects=tmp_path / "other"), tmp_path / "other"),
    ):
        store = open_store(settings)
        assert isinstance(store, LocalObjectStore)
        assert store.root == root


WITHOUT_CLIENT = """
import sys

sys.modules["google.cloud.storage"] = None  # as where it is not installed

from serving.errors import BadSettings
from serving.location import open_store
from serving.settings import read_settings

try:
    open_store(read_settings())
except BadSettings as error:
    print(error)
"""


def test_a_bucket_needs_its_client() -> None:
    environment = os.environ | {"IMGSEARCH_OBJECTS": "gs://shop-objects/a"}
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT_CLIENT], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert said.stdout == (
        "IMGSEARCH_OBJECTS is gs://shop-objects/a: install the client of Google Cloud Storage, the extra "
        "`gcp`\n"
    ), said.stderr
