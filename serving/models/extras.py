"""The libraries of the extra ``backbones``, imported by whoever needs them and only then."""

import importlib
import threading
from types import ModuleType

import torch

from serving.errors import BadSettings

# torchvision from the package index is built for CUDA. Beside a torch for CPUs its operators do not load,
# and importing it then fails on registering what they do with shapes. Nothing here calls an operator: with
# the two declared it imports, and the architectures are plain torch. A library forgets its declarations when
# it is let go, so it is kept.
_OPERATORS = ("nms", "qnms")
_declared: list[torch.library.Library] = []
_one_at_a_time = threading.Lock()  # models are loaded in threads


def timm() -> ModuleType:
    """The module ``timm``. Raises ``BadSettings`` where it is not installed."""
    return _imported("timm")


def open_clip() -> ModuleType:
    """The module ``open_clip``. Raises ``BadSettings`` where it is not installed."""
    return _imported("open_clip")


def tokenizers() -> ModuleType:
    """The module ``tokenizers``. Raises ``BadSettings`` where it is not installed."""
    return _imported("tokenizers", torchvision=False)


def _imported(name: str, *, torchvision: bool = True) -> ModuleType:
    try:
        if torchvision:
            with _one_at_a_time:
                _torchvision()
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise BadSettings(
            f"this model needs the package {error.name}: pip install 'imgsearch[backbones]'"
        ) from error


def _torchvision() -> None:
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if _declared or "torchvision::" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for operator in _OPERATORS:
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        _declared.append(library)
        importlib.import_module("torchvision")
