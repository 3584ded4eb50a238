import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imgsearch_assets.models.shipped import register_detector, register_embedder
from imgsearch_assets.sample.scenes import training_scene
from serving.errors import Unverified
from serving.models.bundle import Block, Bundle
from serving.models.embedder import Embedder, assemble
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


def test_without_blocks_a_row_is_one_unit() -> None:
    y = torch.randn(4, 6)
    assert torch.equal(assemble(y), torch.nn.functional.normalize(y))
    assert torch.equal(assemble(y, (Block(dim=6, weight=3.0),)), assemble(y))


@given(
    arrays(np.float32, (3, 6), elements=st.floats(-9, 9, width=32)),
    st.tuples(st.floats(0.1, 9), st.floats(0.1, 9)),
)
def test_a_cosine_is_the_weighed_mean_of_the_blocks(y, weights) -> None:
    y = torch.from_numpy(y + np.float32(0.01))
    assume(min(float(part.norm(dim=1).min()) for part in (y[:, :2], y[:, 2:])) > 1e-3)
    blocks = (Block(dim=2, weight=weights[0]), Block(dim=4, weight=weights[1]))
    rows = assemble(y, blocks)
    assert torch.allclose(rows.norm(dim=1), torch.ones(3), atol=1e-5)
    first, second = assemble(y[:, :2]), assemble(y[:, 2:])
    expected = (weights[0] * first @ first.T + weights[1] * second @ second.T) / sum(weights)
    assert torch.allclose(rows @ rows.T, expected, atol=1e-4)


def test_blocks_are_those_of_the_card(store: LocalObjectStore) -> None:
    bundle = register_embedder(store)
    blocks = (Block(dim=100), Block(dim=bundle.card.dim - 100, weight=0.25))

    def of(blocks: tuple[Block, ...]) -> Embedder:
        return Embedder(Bundle(bundle.card.model_copy(update={"blocks": blocks}), bundle.tensors))

    crop = [training_scene(np.random.default_rng([9, 0]))[0]]
    (plain,), (row,) = of(()).embed(crop), of(blocks).embed(crop)
    expected = assemble(torch.from_numpy(plain)[None], blocks)[0].numpy()
    np.testing.assert_allclose(row, expected, atol=1e-5)


def changed(bundle: Bundle, **tensors: torch.Tensor | None) -> Bundle:
    kept = {name: tensor for name, tensor in {**bundle.tensors, **tensors}.items() if tensor is not None}
    return Bundle(bundle.card, kept)


def test_a_projection_of_another_trunk_is_refused(store: LocalObjectStore) -> None:
    wrong = changed(register_embedder(store), **{"project.weight": torch.ones(256, 1280)})
    said = r"^project.weight takes 1280 numbers, efficientnet_lite0 gives 1432$"
    with pytest.raises(Unverified, match=said):
        Embedder(wrong)


def test_without_a_projection_the_trunk_must_give_dim_numbers(store: LocalObjectStore) -> None:
    wrong = changed(register_embedder(store), **{"project.weight": None, "project.bias": None})
    said = r"^efficientnet_lite0 gives 1432 numbers, dim is 256, and nothing projects them$"
    with pytest.raises(Unverified, match=said):
        Embedder(wrong)


def test_weights_that_are_left_over_are_refused(store: LocalObjectStore) -> None:
    for name in ("trunk.more", "text.more"):
        with pytest.raises(Unverified, match=rf"(?s)^the weights do not fit EmbedderNetwork: .*{name}"):
            Embedder(changed(register_embedder(store), **{name: torch.ones(1)}))


def test_an_architecture_nobody_knows_is_refused(store: LocalObjectStore) -> None:
    bundle = register_embedder(store)
    other = Bundle(bundle.card.model_copy(update={"architecture": "resnet"}), bundle.tensors)
    with pytest.raises(Unverified, match=r"^no architecture is named 'resnet'"):
        Embedder(other)
