import socket

import pytest
import torch

from serving.errors import Unverified
from serving.models.trunk import Descriptor, trunk
from tests import towers


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """An architecture is code: who asks the network for anything fails."""

    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize(
    ("architecture", "width", "side"),
    [
        ("efficientnet_lite0", 1432, 64),
        ("timm/vit_tiny_patch16_224", 192, 224),
        ("timm/convnext_atto", 320, 64),
        ("timm/mobilenetv3_small_100", 1024, 64),  # wider than its features: a layer comes behind them
        (f"open_clip/{towers.CLIP}", 24, 32),
        (f"open_clip/{towers.SIGLIP}", 64, 160),
        ("open_clip/RN50", 1024, 224),
    ],
)
@torch.inference_mode()
def test_a_trunk_gives_as_many_numbers_as_it_says(architecture: str, width: int, side: int) -> None:
    towers.known()
    network = trunk(architecture).eval()
    assert network.width == width
    if isinstance(network, Descriptor):
        for weight in network.parameters():
            torch.nn.init.normal_(weight, std=0.05)
    y = network(torch.randn(2, 3, side, side))
    assert y.shape == (2, width)
    assert y.isfinite().all()


def test_the_shape_of_marqo_fashion_siglip() -> None:
    """Built without memory for its weights: names and shapes are those of its published checkpoint."""
    with torch.device("meta"):
        network = trunk("open_clip/ViT-B-16-SigLIP")
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert network.width == 768
    assert shapes["trunk.patch_embed.proj.weight"] == (768, 3, 16, 16)
    assert shapes["trunk.pos_embed"] == (1, 196, 768)
    assert shapes["trunk.blocks.11.mlp.fc2.weight"] == (768, 3072)
    assert shapes["trunk.attn_pool.latent"] == (1, 1, 768)
    assert sum(tensor.numel() for tensor in network.state_dict().values()) == 92_884_224


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        (
            "resnet",
            "no architecture is named 'resnet'; there are efficientnet_lite0, timm/<model> and "
            "open_clip/<model>",
        ),
        ("timm/", "no architecture is named 'timm/'"),
        ("timm/resnet5000", "timm knows no model named 'resnet5000'"),
        ("timm/hf-hub:timm/vit_tiny_patch16_224", "timm knows no model named 'hf-hub:timm/vit_tiny"),
        ("open_clip/hf-hub:Marqo/marqo-fashionSigLIP", "open_clip knows no model named 'hf-hub:Marqo"),
        ("open_clip/local-dir:/tmp", "open_clip knows no model named 'local-dir:/tmp'"),
    ],
)
def test_a_name_nobody_knows(architecture: str, said: str) -> None:
    with pytest.raises(Unverified) as error:
        trunk(architecture)
    assert error.value.message.startswith(said)
