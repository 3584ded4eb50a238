import pytest
import torch

from serving.errors import Unverified
from serving.models import foreign
from tests import towers

HALF = (0.5, 0.5, 0.5)
IMAGENET = (0.485, 0.456, 0.406)
OPENAI = (0.48145466, 0.4578275, 0.40821073)


@pytest.mark.parametrize(
    ("made", "size", "mean", "resample", "crop"),
    [
        (lambda: foreign.timm_input("vit_tiny_patch16_224"), 224, HALF, "bicubic", True),
        (lambda: foreign.timm_input("efficientnet_lite0"), 224, IMAGENET, "bicubic", True),
        (lambda: foreign.open_clip_input("ViT-B-16-SigLIP"), 224, HALF, "bicubic", False),
        (lambda: foreign.open_clip_input("ViT-B-32-256"), 256, OPENAI, "bicubic", True),
    ],
)
def test_the_input_is_that_of_the_houses_own_weights(made, size, mean, resample, crop) -> None:
    said = made()
    assert (said.size, said.mean, said.resample, said.crop) == (size, mean, resample, crop)


def test_what_tells_classes_apart_is_known_by_name() -> None:
    assert foreign.timm_classifier("vit_tiny_patch16_224") == {"head"}
    assert foreign.timm_classifier("deit_tiny_distilled_patch16_224") == {"head", "head_dist"}


@torch.inference_mode()
def test_a_text_tower_is_as_wide_as_the_pictures() -> None:
    towers.known()
    tower = foreign.open_clip_texts(towers.SIGLIP).eval()
    assert tower(torch.zeros(2, 8, dtype=torch.int64)).shape == (2, 64)


def test_both_towers_are_those_of_the_whole_model() -> None:
    """The two private functions that build them, against the public one that builds a model."""
    for name in (towers.CLIP, towers.SIGLIP):
        names = towers.state(name).keys()
        pictures, _ = foreign.open_clip_pictures(name)
        assert {f"visual.{key}" for key in pictures.state_dict()} == {
            key for key in names if key.startswith("visual.")
        }
    texts = {f"text.{key}" for key in foreign.open_clip_texts(towers.SIGLIP).state_dict()}
    assert texts == {key for key in names if key.startswith("text.")}


def test_a_tower_of_a_hub_is_not_run() -> None:
    with pytest.raises(Unverified, match=r"^the text tower of roberta-ViT-B-32 is code of a hub; "):
        foreign.open_clip_texts("roberta-ViT-B-32")


def test_names_nobody_knows() -> None:
    for ask in (foreign.timm_model, foreign.timm_input, foreign.timm_classifier, foreign.open_clip_config):
        with pytest.raises(Unverified, match=r"knows no model named 'nothing'$"):
            ask("nothing")
