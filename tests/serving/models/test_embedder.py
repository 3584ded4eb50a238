import numpy as np
import pytest

from imgsearch_assets.models import register_detector, register_embedder
from imgsearch_assets.sample.scenes import training_scene
from serving.models.bundle import Bundle
from serving.models.embedder import Embedder
from serving.object_store import LocalObjectStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LocalObjectStore:
    return LocalObjectStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def embedder(store: LocalObjectStore) -> Embedder:
    return Embedder(register_embedder(store))


def test_a_crop_has_one_vector_whatever_its_company(embedder: Embedder) -> None:
    crops = [training_scene(np.random.default_rng([7, number]))[0] for number in range(9)]
    together = embedder.embed(crops)
    backwards = embedder.embed(crops[::-1])[::-1]
    alone = np.concatenate([embedder.embed([one]) for one in crops])
    assert together.dtype == np.float32
    assert together.shape == (9, embedder.dim)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert (together * alone).sum(1).min() >= 0.9999
    assert (together * backwards).sum(1).min() >= 0.9999


def test_two_pictures_of_a_thing_are_nearer_than_two_things(embedder: Embedder) -> None:
    first, second = (training_scene(np.random.default_rng([8, number]))[0] for number in range(2))
    darker = (first * 0.8).astype(np.uint8)
    a, b, c = embedder.embed([first, darker, second])
    assert a @ b > 0.9 > a @ c


def test_no_crops(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.dim)


def test_it_names_its_version_and_preprocessing(store: LocalObjectStore, embedder: Embedder) -> None:
    bundle = register_embedder(store)
    assert embedder.version == bundle.version
    assert embedder.preprocessing == bundle.card.preprocessing.fingerprint


def test_a_detector_is_no_embedder(store: LocalObjectStore) -> None:
    bundle: Bundle = register_detector(store)
    with pytest.raises(ValueError, match=rf"^detector {bundle.version} is no embedder: its card has no dim$"):
        Embedder(bundle)
