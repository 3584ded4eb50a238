"""Pictures inside metadata."""

import base64
import hashlib
import io
import re
from pathlib import Path

import cv2
import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from imgsearch_assets.catalogue.snapshot import CHANGES, PICTURES
from imgsearch_assets.features.tables import DETECTIONS
from imgsearch_assets.images.store import picture_key
from imgsearch_assets.index.generation import build_generation
from imgsearch_assets.sheets import boxes_of, groups_of, neighbours_of, sheet_of
from serving.images.box import Box
from serving.index.artifact import load
from serving.index.generation import ITEMS, PRODUCTS
from serving.index.loaded import Generation
from serving.object_store import LocalObjectStore

COLOURS = {"a": (220, 30, 30), "b": (30, 220, 30), "c": (30, 30, 220)}


@pytest.fixture
def store(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path)


@pytest.fixture
def shas(store: LocalObjectStore) -> dict[str, str]:
    """A picture of one colour for every product."""
    found = {}
    for product, (red, green, blue) in COLOURS.items():
        pixels = np.full((200, 160, 3), (blue, green, red), np.uint8)
        data = cv2.imencode(".jpg", pixels)[1].tobytes()
        found[product] = hashlib.sha256(data).hexdigest()
        store.put(picture_key(found[product]), data)
    return found


def shown(value: dg.MarkdownMetadataValue) -> Image.Image:
    found = re.fullmatch(r"!\[.+\]\(data:image/jpeg;base64,(.+)\)", str(value.value))
    assert found
    return Image.open(io.BytesIO(base64.b64decode(found[1])))


def has(image: Image.Image, product: str) -> bool:
    distance = np.abs(np.asarray(image).astype(int) - COLOURS[product]).max(axis=2)
    return bool((distance < 30).sum() > 200)


def test_the_sheet_shows_what_changed_or_else_some_of_all(
    store: LocalObjectStore, shas: dict[str, str]
) -> None:
    pictures = pa.Table.from_pylist(
        [
            {"product_id": name, "category": "", "image_url": name, "sha256": sha}
            for name, sha in shas.items()
        ],
        schema=PICTURES,
    )
    new = pa.Table.from_pylist([{"product_id": "b", "change": "new", "rewritten": False}], schema=CHANGES)
    sheet = shown(sheet_of(store, pictures, new))
    assert [has(sheet, name) for name in "abc"] == [False, True, False]
    sheet = shown(sheet_of(store, pictures, CHANGES.empty_table()))
    assert [has(sheet, name) for name in "abc"] == [True, True, True]


def test_boxes_are_drawn_on_good_pictures(store: LocalObjectStore, shas: dict[str, str]) -> None:
    good = {"sha256": shas["a"], "status": "ok"}
    items = {"boxes": [Box(0.2, 0.2, 0.8, 0.8).key], "categories": ["shirt"], "scores": [0.9]}
    bad = {"sha256": shas["b"], "status": "failed", "reason": "truncated"}
    sheet = shown(boxes_of(store, pa.Table.from_pylist([good | items, bad], schema=DETECTIONS)))
    assert has(sheet, "a")
    assert not has(sheet, "b")


def built(store: LocalObjectStore, shas: dict[str, str], **groups: list[str]) -> Generation:
    rows = [
        {
            **dict.fromkeys(PRODUCTS.names, ""),
            "product_id": name,
            "price": 1,
            "in_stock": True,
            "image_urls": [],
        }
        for name in shas
    ]
    items = [
        {"product_id": name, "image_url": name, "sha256": sha, "box": Box.whole().key}
        for name, sha in shas.items()
    ]
    products = pa.Table.from_pylist(rows, schema=PRODUCTS)
    for name, column in groups.items():
        products = products.append_column(name, pa.array(column))
    manifest = build_generation(
        store,
        products,
        pa.Table.from_pylist(items, schema=ITEMS),
        np.eye(len(shas), 8, dtype=np.float32),
        embedder="e",
        preprocessing="p",
        detector="d",
        snapshot="s",
    )
    return load(store, manifest)


def test_neighbours_are_those_of_the_index(store: LocalObjectStore, shas: dict[str, str]) -> None:
    found = neighbours_of(store, built(store, shas))
    assert found.kept is None
    sheet = shown(found.shown)
    # A row a product: itself, then the two others.
    assert sheet.width == sheet.height
    assert [has(sheet, name) for name in "abc"] == [True, True, True]


def test_neighbours_of_before_stand_above_those_of_now(store: LocalObjectStore, shas: dict[str, str]) -> None:
    before = built(store, shas)
    same = neighbours_of(store, before, before)
    assert same.kept == 1.0
    sheet = shown(same.shown)
    assert sheet.height > 1.9 * sheet.width, "two rows a product"
    two = {name: sha for name, sha in shas.items() if name != "c"}
    now = neighbours_of(store, built(store, two), before)
    assert now.kept == 0.5, "of a and b, each other stays and c is gone"
    assert str(now.shown.value).startswith(
        f"![neighbours before ({before.manifest.id}) and now, green what came in]("
    )
    assert has(shown(now.shown), "c"), "what was there before"


def test_groups_of_several_are_shown(store: LocalObjectStore, shas: dict[str, str]) -> None:
    generation = built(store, shas, picture_group=["a", "a", "c"])
    value = str(groups_of(store, generation, "picture").value)
    said, sheet = value.split("\n\n")
    assert said == "1 picture groups of more than one product"
    image = shown(dg.MetadataValue.md(sheet))
    assert [has(image, name) for name in "abc"] == [True, True, False]
    assert groups_of(store, generation, "variant").value == "0 variant groups of more than one product"
