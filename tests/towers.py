"""Two open_clip architectures that are built in a moment: one shaped like CLIP, one like SigLIP."""

import functools
import json
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from serving.models import extras

CLIP = "tiny-clip"  # both towers open_clip's own, CLIP's tokenizer, 24 numbers
SIGLIP = "tiny-SigLIP"  # timm's picture tower, a tokenizer of a file, 64 numbers

_CONFIGS = {
    CLIP: {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    },
    SIGLIP: {
        "embed_dim": 64,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 160,
            "timm_model_name": "test_vit",
            "timm_pool": "avg",
            "timm_proj": "none",
        },
        "text_cfg": {
            "context_length": 8,
            "vocab_size": 16,
            "hf_tokenizer_name": "nobody/tiny-SigLIP",
            "tokenizer_kwargs": {"clean": "canonicalize"},
            "width": 32,
            "heads": 2,
            "layers": 1,
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
        },
    },
}


@functools.cache
def known() -> None:
    """Make open_clip know both."""
    library = extras.open_clip()
    with tempfile.TemporaryDirectory() as folder:
        for name, config in _CONFIGS.items():
            (Path(folder) / f"{name}.json").write_text(json.dumps(config))
        library.add_model_config(Path(folder))
        # What is in the folder is read once and kept; the folder itself must not be looked into again.
        paths = library.factory._MODEL_CONFIG_PATHS
        paths.remove(Path(folder))


def state(name: str, seed: int = 0) -> dict[str, Tensor]:
    """The state dict of a whole model as a checkpoint of open_clip has it, random weights."""
    known()
    torch.manual_seed(seed)
    model = extras.open_clip().create_model(name, pretrained=None, load_weights=False)
    return {key: value.clone() for key, value in model.state_dict().items()}


def word_tokenizer() -> bytes:
    """A tokenizer.json of twelve words; ``</s>`` is 1 and ends a text, as SigLIP's does."""
    library = extras.tokenizers()
    words = ["<pad>", "</s>", "<unk>", "a", "red", "blue", "green", "dress", "shirt", "shoe", "with", "dots"]
    made = library.Tokenizer(
        library.models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>")
    )
    made.pre_tokenizer = library.pre_tokenizers.Whitespace()
    made.post_processor = library.processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return made.to_str().encode()
