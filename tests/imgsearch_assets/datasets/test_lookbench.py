from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imgsearch_assets.datasets.lookbench import load
from serving.errors import BadInput
from tests.imgsearch_assets.datasets.conftest import Put


@pytest.fixture
def root(tmp_path: Path, put: Put) -> Path:
    def image() -> dict[str, Any]:
        return {"bytes": put(tmp_path / "one.jpg").read_bytes(), "path": "one.jpg"}

    def row(item: str | None, picture: dict[str, Any] | None) -> dict[str, Any]:
        return {"image": picture, "item_ID": item, "category": "dress", "main_attribute": "red"}

    root = tmp_path / "v20251201"
    for subset in ("real_streetlook", "aigen_studio"):
        (root / subset).mkdir(parents=True)
        queries = [row("i1", image()), row(None, image()), row("i2", None)]
        pq.write_table(pa.Table.from_pylist(queries), root / subset / "query.parquet")
        gallery = [row("i1", image()), row("i2", image())]
        pq.write_table(pa.Table.from_pylist(gallery), root / subset / "gallery.parquet")
    (root / "noise").mkdir()
    pq.write_table(pa.Table.from_pylist([row("i1", image())]), root / "noise" / "gallery-0.parquet")
    return root


def test_one_subset_with_the_distractors(root: Path, tmp_path: Path) -> None:
    for _ in range(2):  # what is unpacked already is used
        dataset = load(root / "real_streetlook", tmp_path / "kept")
        assert [(one.product, one.kind, one.role) for one in dataset.pictures] == [
            ("i1", "street", "query"),
            ("i1", "shop", "gallery"),
            ("i2", "shop", "gallery"),
            ("noise i1", "shop", "gallery"),
        ]
        assert dataset.skipped == {"malformed": 2}
        assert all(one.category == "dress" and one.path.is_file() for one in dataset.pictures)


def test_numbers_name_items_and_categories_and_lists_do_not(root: Path, tmp_path: Path, put: Put) -> None:
    image = {"bytes": put(tmp_path / "one.jpg").read_bytes()}
    rows = [{"image": image, "item_ID": 7, "category": 3}]
    pq.write_table(pa.Table.from_pylist(rows), root / "aigen_studio" / "query.parquet")
    rows = [{"image": image, "item_ID": [7], "category": "hat"}]
    pq.write_table(pa.Table.from_pylist(rows), root / "aigen_studio" / "gallery.parquet")
    dataset = load(root / "aigen_studio", tmp_path / "kept")
    assert [(one.product, one.category) for one in dataset.pictures if one.role == "query"] == [("7", "3")]
    assert dataset.skipped == {"malformed": 1}


def test_all_subsets(root: Path, tmp_path: Path) -> None:
    kinds = [one.kind for one in load(root, tmp_path / "kept").pictures if one.role == "query"]
    assert kinds == ["shop", "street"]


def test_what_is_missing_is_named(root: Path, tmp_path: Path) -> None:
    (root / "aigen_studio" / "gallery.parquet").unlink()
    with pytest.raises(
        BadInput, match=r"aigen_studio/gallery\.parquet is not there; expected is LookBench: <"
    ):
        load(root, tmp_path)
    with pytest.raises(BadInput, match=r"noise/query\.parquet is not there; expected is LookBench"):
        load(root / "noise", tmp_path)
    query = root / "real_streetlook" / "query.parquet"
    pq.write_table(pa.table({"image": [b""]}), query)
    with pytest.raises(BadInput, match=r"query\.parquet has no column item_ID, category; expected is"):
        load(root / "real_streetlook", tmp_path)
    query.write_bytes(b"PAR")
    with pytest.raises(BadInput, match=r"query\.parquet is not a Parquet file; expected is"):
        load(root / "real_streetlook", tmp_path)
