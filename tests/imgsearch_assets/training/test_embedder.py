import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors.torch

from imgsearch_assets.models.shipped import Shipped, detector_candidate, imagenet_backbone
from imgsearch_assets.training.embedder import trained
from imgsearch_assets.training.lesson import HELD_OUT, Lesson, lesson
from serving.models.bundle import Bundle
from serving.models.embedder import Embedder
from serving.object_store import LocalObjectStore


def taught(data: str, epochs: int, work: Path) -> Lesson:
    found = lesson(data, 8, 0, work)
    return replace(found, recipe=replace(found.recipe, epochs=epochs))


SHIPPED = imagenet_backbone()


@pytest.fixture(scope="module")
def finder(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return detector_candidate(LocalObjectStore(tmp_path_factory.mktemp("detector")))


@pytest.mark.slow
def test_kinds_are_learned_from_a_folder_of_photos(tmp_path: Path, finder: Bundle) -> None:
    rng = np.random.default_rng(0)
    for kind, colour in (("hat", (200, 40, 40)), ("shoe", (40, 40, 200))):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for number in range(8):
            picture = rng.integers(0, 60, (70, 60, 3)) + colour
            cv2.imwrite(str(tmp_path / "photos" / kind / f"{number}.jpg"), np.clip(picture, 0, 255))
    folder = tmp_path / "out"
    done = trained(taught(str(tmp_path / "photos"), 1, folder), finder, folder)
    assert 0 < done.yardstick.samples < 16 * 2 * HELD_OUT
    assert {"self_recall_at_1", "in_shop_category_precision_at_5"} <= set(done.figures)

    store = LocalObjectStore(tmp_path / "store")
    bundle = done.store(store)
    for name, magic in (("curves.png", b"\x89PNG"), ("worst.jpg", b"\xff\xd8")):
        assert store.get(f"models/embedder/{bundle.version}/{name}").startswith(magic)
    assert done.figures.items() <= done.yardstick.measure(bundle).items()
    vectors = Embedder(bundle).embed([np.zeros((40, 40, 3), np.uint8)])
    assert np.linalg.norm(vectors) == pytest.approx(1, abs=1e-5)

    done.write(folder)
    card = Shipped.model_validate_json((folder / "embedder_projection.json").read_bytes())
    weights = safetensors.torch.load_file(folder / "embedder_projection.safetensors")
    assert sum(block.dim for block in card.blocks) == len(weights["weight"])
    tuned = [
        name for name in done.projection.tuned if not bundle.tensors[f"trunk.{name}"].equal(SHIPPED[name])
    ]
    assert len(done.projection.tuned) == 8
    assert len(tuned) > 4
    assert json.loads((folder / "curves.jsonl").read_text().splitlines()[0])["epoch"] == 1
    assert (
        0
        < json.loads((folder / "curves.jsonl").read_text())["learned_block_in_shop_category_precision_at_5"]
        <= 1
    )


@pytest.mark.slow
def test_a_data_set_of_products_teaches_products(tmp_path: Path, finder: Bundle) -> None:
    folder = tmp_path / "out"
    done = trained(taught("drawn:8:5", 2, folder), finder, folder)
    assert done.configuration["product_weight"] == 1.0
    assert done.yardstick.samples == sum(one.kind == "street" for one in done.taught.unseen.pictures) > 0
    assert "street_to_shop_recall_at_1" in done.figures
    assert (folder / "embedder_projection.safetensors").exists()
    epochs = [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]
    assert [one["epoch"] for one in epochs] == [1, 2]
    shown = {"learned_block_street_to_shop_recall_at_1", "learned_block_in_shop_category_precision_at_5"}
    assert shown <= epochs[-1].keys()
