import importlib
import subprocess
import sys

import pytest

from serving.errors import BadSettings
from serving.models import extras


def test_a_missing_library_is_one_sentence_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    for ask, package in ((extras.timm, "torchvision"), (extras.tokenizers, "tokenizers")):
        with pytest.raises(BadSettings) as error:
            ask()
        said = f"this model needs the package {package}: pip install 'imgsearch[backbones]'"
        assert error.value.message == said


def test_each_imports_whatever_torchvision_it_finds() -> None:
    assert extras.timm().is_model("vit_tiny_patch16_224")
    assert "RN50" in extras.open_clip().list_models()
    assert extras.tokenizers().Tokenizer


def test_nobody_imports_them_unasked() -> None:
    names = "('timm', 'open_clip', 'torchvision', 'tokenizers')"
    code = f"import sys, serving.models.embedder as _; assert not [n for n in {names} if n in sys.modules]"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
