from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imgsearch_assets.models.adopt import adopt, input_of
from serving.errors import BadInput, NotFound, Unverified
from serving.models import extras, foreign, weights_file
from serving.models.bundle import list_versions, live_version, load_bundle
from serving.models.embedder import Embedder
from serving.models.preprocess import Preprocessing
from serving.object_store import LocalObjectStore
from tests import towers

CLIP, SIGLIP = f"open_clip/{towers.CLIP}", f"open_clip/{towers.SIGLIP}"
VIT = "timm/test_vit"


@pytest.fixture
def store(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path / "store")


@pytest.fixture
def weights(tmp_path: Path):
    """Writes tensors to a file."""

    def write(tensors: dict[str, torch.Tensor], name: str = "weights.safetensors") -> Path:
        (tmp_path / name).write_bytes(weights_file.to_bytes(tensors))
        return tmp_path / name

    return write


def vit(classes: int = 0) -> Any:
    torch.manual_seed(0)
    return extras.timm().create_model("test_vit", pretrained=False, num_classes=classes).eval()


def noise(count: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (90 + 10 * i, 120, 3), np.uint8) for i in range(count)]


def unit(y: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(y).detach().numpy()


def test_a_model_of_timm_sees_what_timm_sees(store, weights) -> None:
    whole = vit(classes=10)
    bundle = adopt(store, VIT, weights(whole.state_dict()), source="our own, of spring")
    embedder = Embedder(bundle)
    x = bundle.card.preprocessing.apply(noise())
    theirs = whole.forward_head(whole.forward_features(x), pre_logits=True)
    np.testing.assert_allclose(embedder.embed(noise()), unit(theirs), atol=1e-4)
    assert (bundle.card.dim, bundle.card.architecture, bundle.card.text) == (64, VIT, None)
    assert bundle.card.training == {"source": "our own, of spring"}
    assert "trunk.head.weight" not in bundle.tensors


@pytest.mark.parametrize("name", [towers.CLIP, towers.SIGLIP])
def test_a_model_of_open_clip_sees_what_open_clip_sees(store, weights, tmp_path: Path, name: str) -> None:
    whole = towers.state(name)
    file = None
    if name == towers.SIGLIP:
        file = tmp_path / "tokenizer.json"
        file.write_bytes(towers.word_tokenizer())
    bundle = adopt(store, f"open_clip/{name}", weights(whole), tokenizer_file=file)
    theirs = extras.open_clip().create_model(name, load_weights=False).eval()
    theirs.load_state_dict(whole)
    x = bundle.card.preprocessing.apply(noise())
    embedder = Embedder(load_bundle(store, "embedder", bundle.version))
    np.testing.assert_allclose(embedder.embed(noise()), unit(theirs.encode_image(x)), atol=1e-4)
    if file:
        tokens = torch.tensor([[3, 4, 7, 1, 1, 1, 1, 1]])
        np.testing.assert_allclose(
            embedder.embed_texts(["A red dress."]), unit(theirs.encode_text(tokens)), atol=1e-5
        )


def test_what_is_adopted_is_a_candidate_and_the_same_again_the_same(store, weights) -> None:
    path = weights(towers.state(towers.CLIP))
    versions = {adopt(store, CLIP, path).version for _ in range(2)}
    assert list_versions(store, "embedder") == list(versions)
    with pytest.raises(NotFound):
        live_version(store, "embedder")


def test_a_projection_shortens_the_vectors(store, weights) -> None:
    path = weights(vit().state_dict())
    weight, bias = torch.randn(12, 64), torch.randn(12)
    shorter = adopt(store, VIT, path, projection=weights({"weight": weight, "bias": bias}, "p.safetensors"))
    x = shorter.card.preprocessing.apply(noise())
    assert shorter.card.dim == 12
    expected = unit(vit()(x) @ weight.T + bias)
    np.testing.assert_allclose(Embedder(shorter).embed(noise()), expected, atol=1e-4)


def test_the_input_is_the_architectures_own() -> None:
    towers.known()
    siglip = input_of("open_clip/ViT-B-16-SigLIP")
    assert siglip == Preprocessing(
        size=224, fit="stretch", resample="bicubic", mean=(127.5,) * 3, scale=(127.5,) * 3
    )
    assert input_of(CLIP).fit == "crop"
    assert input_of(CLIP, fit="stretch").fit == "stretch"
    assert input_of(VIT).size == 160


@pytest.mark.parametrize(
    ("architecture", "change", "said"),
    [
        (VIT, lambda w: w.pop("norm.bias"), "the weights do not fit VisionTransformer"),
        (VIT, lambda w: w.update(extra=torch.ones(1)), "the weights do not fit VisionTransformer"),
        (VIT, lambda w: w.update({"norm.bias": torch.ones(5)}), "the weights do not fit VisionTransformer"),
        (
            VIT,
            lambda w: w["norm.bias"].fill_(float("nan")),
            "weights.safetensors: tensor 'norm.bias' holds values that are NaN or infinite",
        ),
        (
            CLIP,
            lambda w: w.update(strange=torch.ones(1)),
            "the weights hold 'strange', which is no part of an open_clip model",
        ),
        (CLIP, lambda w: w.pop("ln_final.bias"), "the weights do not fit TextTransformer"),
    ],
)
def test_weights_of_something_else_are_refused(store, weights, architecture, change, said) -> None:
    tensors = dict(vit().state_dict()) if architecture == VIT else towers.state(towers.CLIP)
    change(tensors)
    with pytest.raises(Unverified) as error:
        adopt(store, architecture, weights(tensors))
    assert error.value.message.startswith(said)
    assert list_versions(store, "embedder") == []


def test_a_projection_that_does_not_fit_is_refused(store, weights) -> None:
    path = weights(vit().state_dict())
    for tensors, said in (
        ({"weight": torch.ones(4, 64)}, r"holds \['weight'\]; a projection is weight and bias$"),
        ({"weight": torch.ones(4, 65), "bias": torch.ones(4)}, "takes 65 numbers, timm/test_vit gives 64$"),
        ({"weight": torch.ones(4, 64), "bias": torch.ones(5)}, "project.bias is 5, its card says dim 4$"),
    ):
        with pytest.raises(Unverified, match=said):
            adopt(store, VIT, path, projection=weights(tensors, "p.safetensors"))


def test_the_tokenizer_is_given_exactly_where_it_is_needed(store, weights, tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_bytes(towers.word_tokenizer())
    siglip = weights(towers.state(towers.SIGLIP))
    with pytest.raises(BadInput, match=r"with the tokenizer of nobody/tiny-SigLIP: give its tokenizer.json$"):
        adopt(store, SIGLIP, siglip)
    clip = weights(towers.state(towers.CLIP), "clip.safetensors")
    with pytest.raises(BadInput, match=r"with CLIP's own tokenizer: leave out the file$"):
        adopt(store, CLIP, clip, tokenizer_file=file)
    with pytest.raises(BadInput, match=r"without a text tower there is nothing to tokenize for$"):
        adopt(store, CLIP, clip, tokenizer_file=file, texts=False)
    file.write_text("{}")
    with pytest.raises(Unverified, match=r"^the bundle's tokenizer.json is none: "):
        adopt(store, SIGLIP, siglip, tokenizer_file=file)
    assert list_versions(store, "embedder") == []


def test_a_text_made_ready_in_an_unknown_way_is_refused(monkeypatch) -> None:
    from imgsearch_assets.models.adopt import text_of

    # Strips the separators of BERT's tokens, which nothing here does.
    assert foreign.open_clip_config("ViT-H-14-CLIPA")["text_cfg"]["tokenizer_kwargs"]
    with pytest.raises(Unverified, match=r"makes a text ready is not known here: adopt its pictures only$"):
        text_of("open_clip/ViT-H-14-CLIPA", towers.word_tokenizer())


def test_what_cannot_be_adopted_is_one_sentence(store, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    with pytest.raises(BadInput, match=rf"^cannot read {nowhere}: No such file or directory$"):
        adopt(store, VIT, nowhere)
    (tmp_path / "w").write_bytes(weights_file.to_bytes({"a": torch.ones(1)}))
    with pytest.raises(BadInput, match=r"not for 'efficientnet_lite0': train that here$"):
        adopt(store, "efficientnet_lite0", tmp_path / "w")
    with pytest.raises(Unverified, match=r"^timm knows no model named 'hf-hub:x/y'$"):
        adopt(store, "timm/hf-hub:x/y", tmp_path / "w")
    (tmp_path / "w").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(Unverified, match=r"^w is a pickle, which can run code: convert it to safetensors$"):
        adopt(store, VIT, tmp_path / "w")
