"""Architectures of other houses, as they are built by their libraries: random weights, nothing downloaded."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from serving.errors import Unverified
from serving.models import extras


@dataclass(frozen=True)
class Input:
    """What an architecture's own weights were trained on; ``mean`` and ``std`` of values 0..1."""

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: str  # ``bilinear`` or ``bicubic``
    crop: bool  # its middle square; else the whole picture stretched to a square


def timm_model(name: str) -> tuple[nn.Module, int]:
    """A model of timm without its classifier, and how many numbers it gives. Raises ``Unverified``."""
    timm = extras.timm()
    # Also so that no name of a hub is ever looked up.
    if not timm.is_model(name):
        raise Unverified(f"timm knows no model named {name!r}")
    model: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
    # Some have a layer of another width behind their features, which stays.
    width: Any = getattr(model, "head_hidden_size", None) or model.num_features
    return model, int(width)


def timm_input(name: str) -> Input:
    """Of timm's own weights of that architecture. Raises ``Unverified``."""
    timm = extras.timm()
    if not timm.is_model(name):
        raise Unverified(f"timm knows no model named {name!r}")
    said = timm.get_pretrained_cfg(name)
    config: dict[str, Any] = timm.data.resolve_data_config({}, pretrained_cfg=said.to_dict() if said else {})
    return Input(
        size=config["input_size"][1],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        resample="bicubic" if config["interpolation"] == "bicubic" else "bilinear",
        crop=config["crop_mode"] != "squash",
    )


def timm_classifier(name: str) -> frozenset[str]:
    """The layers of a timm model that tell classes apart, which ``timm_model`` leaves out.

    Raises ``Unverified``.
    """
    timm = extras.timm()
    if not timm.is_model(name):
        raise Unverified(f"timm knows no model named {name!r}")
    said = timm.get_pretrained_cfg(name)
    layers = said.classifier if said else None
    return frozenset((layers,) if isinstance(layers, str) else layers or ())


def open_clip_config(name: str) -> dict[str, Any]:
    """The built-in configuration of an open_clip model, weights from nowhere. Raises ``Unverified``."""
    library = extras.open_clip()
    # A name with a scheme (``hf-hub:``, ``local-dir:``) would be looked up elsewhere.
    config = library.get_model_config(name) if name in library.list_models() else None
    if config is None:
        raise Unverified(f"open_clip knows no model named {name!r}")
    config["vision_cfg"] |= {"timm_model_pretrained": False, "output_tokens": False}
    config["text_cfg"] |= {"hf_model_pretrained": False, "output_tokens": False}
    return dict(config)


def open_clip_pictures(name: str) -> tuple[nn.Module, int]:
    """The picture tower of an open_clip model, and how many numbers it gives. Raises ``Unverified``."""
    config = open_clip_config(name)
    # Its public function builds both towers, the text's often the larger, to throw one away.
    build = extras.open_clip().model._build_vision_tower
    tower: nn.Module = build(config["embed_dim"], config["vision_cfg"], config.get("quick_gelu", False))
    return tower, int(config["embed_dim"])


def open_clip_texts(name: str) -> nn.Module:
    """The text tower of an open_clip model: int64 (n, context_length) tokens to float32 (n, width).

    Raises ``Unverified`` for a name nobody knows and for a tower whose code another library would download.
    """
    config = open_clip_config(name)
    if config["text_cfg"].get("hf_model_name"):
        raise Unverified(
            f"the text tower of {name} is code of a hub; only towers of open_clip itself are run"
        )
    tower: nn.Module = extras.open_clip().model._build_text_tower(
        config["embed_dim"], config["text_cfg"], config.get("quick_gelu", False)
    )
    return tower


def open_clip_input(name: str) -> Input:
    """Of the weights of that architecture that open_clip lists first. Raises ``Unverified``."""
    library = extras.open_clip()
    config = open_clip_config(name)
    tags = library.list_pretrained_tags_by_model(name)
    said = library.get_pretrained_cfg(name, tags[0]) if tags else {}
    plain = library.transform.PreprocessCfg()
    return Input(
        size=int(config["vision_cfg"].get("image_size", 224)),
        mean=tuple(said.get("mean") or plain.mean),
        std=tuple(said.get("std") or plain.std),
        resample=str(said.get("interpolation") or plain.interpolation),
        crop=(said.get("resize_mode") or plain.resize_mode) == "shortest",
    )
