from pathlib import Path

from imgsearch_assets.models import WEIGHTS, register_detector, register_embedder, shipped
from imgsearch_assets.sample.design import CATEGORIES
from serving.models.bundle import load_bundle
from serving.object_store import LocalObjectStore


def test_registered_models_load_and_stay_the_same(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    for register in (register_detector, register_embedder):
        bundle = register(store)
        assert load_bundle(store, bundle.name).version == bundle.version
        assert register(store).version == bundle.version
    assert len(list(store.list("models"))) == 8


def test_the_detector_knows_the_categories_of_the_sample(tmp_path: Path) -> None:
    assert register_detector(LocalObjectStore(tmp_path)).card.categories == CATEGORIES


def test_what_is_shipped_is_small_and_says_how_good_it_is() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) < 1_000_000
    _, head = shipped("detector_head")
    assert head.metrics["ap50"] >= 0.8
    _, projection = shipped("embedder_projection")
    assert projection.metrics["photos_self_recall_at_1"] >= 0.95
