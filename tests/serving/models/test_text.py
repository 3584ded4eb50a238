from pathlib import Path

import numpy as np
import pytest
import torch

from imgsearch_assets.models.adopt import adopt
from serving.errors import BadInput, Unsupported, Unverified
from serving.models import extras, weights_file
from serving.models.bundle import Bundle, Text, load_bundle
from serving.models.embedder import Embedder, assemble
from serving.models.text import MAX_CHARS, TextTower, tokenizer
from serving.object_store import LocalObjectStore
from tests import towers

OF_A_FILE = Text(
    tokenizer="file", tokenizer_sha256="0" * 64, context_length=6, pad_id=1, clean="canonicalize"
)
TEXTS = ["a red dress", "Blue shoes, with dots!", "a"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A model shaped like CLIP with both its towers."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "w.safetensors").write_bytes(weights_file.to_bytes(towers.state(towers.CLIP)))
    return adopt(LocalObjectStore(folder / "store"), f"open_clip/{towers.CLIP}", folder / "w.safetensors")


@pytest.fixture(scope="module")
def embedder(bundle: Bundle) -> Embedder:
    return Embedder(bundle)


def test_a_tokenizer_of_a_file_cleans_cuts_and_fills_up() -> None:
    tokens = tokenizer(OF_A_FILE, towers.word_tokenizer())
    assert tokens(["A Red-dress!", "a red blue green dress shirt shoe"]).tolist() == [
        [3, 2, 1, 1, 1, 1],
        [3, 4, 5, 6, 7, 1],
    ]
    assert tokens(["a red dress"]).tolist() == [[3, 4, 7, 1, 1, 1]]
    assert tokens([]).shape == (0, 6)


def test_clips_own_tokenizer_needs_no_file() -> None:
    found = tokenizer(Text(context_length=8), b"")(["a red dress"])
    assert found.tolist() == [[49406, 320, 736, 2595, 49407, 0, 0, 0]]


@pytest.mark.parametrize("file", [b"", b"{}", b"\xff\xfe"])
def test_a_file_that_is_no_tokenizer(file: bytes) -> None:
    with pytest.raises(Unverified, match=r"^the bundle's tokenizer.json is none: "):
        tokenizer(OF_A_FILE, file)


def test_texts_have_the_vectors_that_open_clip_gives_them(embedder: Embedder) -> None:
    whole = extras.open_clip().create_model(towers.CLIP, load_weights=False).eval()
    whole.load_state_dict(towers.state(towers.CLIP))
    with torch.inference_mode():
        theirs = whole.encode_text(extras.open_clip().get_tokenizer(towers.CLIP)(TEXTS), normalize=True)
    assert embedder.reads_text
    vectors = embedder.embed_texts(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, theirs.numpy(), atol=1e-5)


def test_a_text_has_one_vector_whatever_its_company(embedder: Embedder) -> None:
    many = [f"shirt number {number}" for number in range(9)]
    together = embedder.embed_texts(many)
    alone = np.concatenate([embedder.embed_texts([one]) for one in many])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert embedder.embed_texts([]).shape == (0, embedder.dim)


def test_texts_go_through_the_projection_of_the_pictures(bundle: Bundle) -> None:
    weight, bias = torch.randn(10, 24), torch.randn(10)
    projected = Bundle(
        bundle.card.model_copy(update={"dim": 10}),
        {**bundle.tensors, "project.weight": weight, "project.bias": bias},
    )
    said = TextTower(bundle, torch.device("cpu"))(TEXTS)
    expected = assemble(said @ weight.T + bias)
    np.testing.assert_allclose(Embedder(projected).embed_texts(TEXTS), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("text", ["", " \n", "x" * (MAX_CHARS + 1)])
def test_a_text_that_is_empty_or_endless_is_refused(embedder: Embedder, text: str) -> None:
    with pytest.raises(BadInput) as error:
        embedder.embed_texts(["fine", text])
    assert error.value.message == (
        f"texts[1] has {len(text)} characters; it must have 1 to 1000, and not be spaces alone"
    )


def test_text_search_is_off_where_a_bundle_has_no_text_tower(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(weights_file.to_bytes(towers.state(towers.CLIP)))
    store = LocalObjectStore(tmp_path / "store")
    one = Embedder(adopt(store, f"open_clip/{towers.CLIP}", tmp_path / "w.safetensors", texts=False))
    assert not one.reads_text
    with pytest.raises(Unsupported) as error:
        one.embed_texts(["a red dress"])
    assert error.value.message == f"embedder {one.version} has no text tower; search with a picture"
    assert not any(name.startswith("text.") for name in load_bundle(store, "embedder", one.version).tensors)


def test_only_open_clip_reads_text(bundle: Bundle) -> None:
    card = bundle.card.model_copy(update={"architecture": "timm/test_vit"})
    with pytest.raises(Unverified, match="only an open_clip architecture reads text"):
        TextTower(Bundle(card, bundle.tensors), torch.device("cpu"))


def test_weights_that_do_not_fit_the_text_tower(bundle: Bundle) -> None:
    tensors = {name: tensor for name, tensor in bundle.tensors.items() if name != "text.ln_final.bias"}
    with pytest.raises(Unverified, match=r"(?s)^the weights do not fit TextTransformer: .*ln_final.bias"):
        TextTower(Bundle(bundle.card, tensors), torch.device("cpu"))
