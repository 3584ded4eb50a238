"""What is known of a model beside its weights: the card, whose hash is the model's version."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serving.models.preprocess import Preprocessing


class Block(BaseModel):
    """A part of an embedder's vector, brought to unit length by itself, then weighed against the others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dim: int = Field(ge=1)
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)


class Text(BaseModel):
    """A text tower beside the picture's; its weights are the tensors ``text.*``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokenizer: Literal["clip", "file"] = "clip"  # CLIP's own, or ``tokenizer.json`` of the bundle
    tokenizer_sha256: str = ""  # of that file
    context_length: int = Field(default=77, ge=1, le=1024)  # tokens; what is over is not read
    # Of that file: what fills up a short text, and what is done to a text first, by open_clip's names.
    pad_id: int = Field(default=0, ge=0)
    clean: Literal["lower", "whitespace", "canonicalize"] = "lower"

    @model_validator(mode="after")
    def _a_file_has_a_hash(self) -> Self:
        if (self.tokenizer == "file") != bool(self.tokenizer_sha256):
            raise ValueError("a tokenizer of a file has a tokenizer_sha256, CLIP's own has none")
        return self


class Card(BaseModel):
    """Everything about a model but the numbers themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = 2
    name: str
    # ``efficientnet_lite0``, ``timm/<model>`` or ``open_clip/<model>``: see ``serving.models.trunk``.
    architecture: str = "efficientnet_lite0"
    preprocessing: Preprocessing
    categories: tuple[str, ...] = ()  # what a detector tells apart, in the order of its outputs
    dim: int | None = Field(default=None, ge=1)  # of an embedder's vectors: the sum of its blocks
    blocks: tuple[Block, ...] = ()  # of an embedder's vectors; none is one of ``dim``
    text: Text | None = None
    metrics: Mapping[str, Annotated[float, Field(allow_inf_nan=False)]] = {}  # measured on ``split``
    training: Mapping[str, str | int | float] = {}  # what the weights came from
    dataset: str = ""  # version of the data set it learned from
    split: str = ""  # version of the held-out pictures that ``metrics`` speak of
    weights_sha256: str
    weights_size_bytes: int

    @model_validator(mode="after")
    def _blocks_make_up_the_vector(self) -> Self:
        total = sum(block.dim for block in self.blocks)
        if self.blocks and total != self.dim:
            raise ValueError(f"the blocks add up to {total} numbers, dim is {self.dim}")
        return self

    @property
    def version(self) -> str:
        """16 hex digits over the card, and through ``weights_sha256`` over the weights."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:16]

    def to_bytes(self) -> bytes:
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=1).encode()
