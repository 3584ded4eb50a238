"""Weights as bytes, and what is refused of them: code, odd types, numbers that are none."""

from collections.abc import Mapping

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from serving.errors import Unverified

MAX_BYTES = 4 * 2**30  # a larger model is refused before a byte of it is read

# Counters of batch normalisation and positions are int64; networks have nothing else.
_DTYPES = frozenset({torch.float32, torch.float16, torch.bfloat16, torch.int64})
# A zip archive (torch.save since 1.6), and a pickle of protocol 2 and later.
_RUNS_CODE = (b"PK\x03\x04", *(b"\x80" + bytes([protocol]) for protocol in range(2, 6)))


def to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """A safetensors file of ``tensors``; equal tensors give equal bytes."""
    data: bytes = safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})
    return data


def from_bytes(data: bytes, where: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file; ``where`` names it in an error.

    Raises ``Unverified`` for a file that is none (a pickle is named as such and never opened), for a tensor
    that is not float32, float16, bfloat16 or int64, and for one with a value that is NaN or infinite.
    """
    if data.startswith(_RUNS_CODE):
        raise Unverified(f"{where} is a pickle, which can run code: convert it to safetensors")
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError) as error:  # KeyError: a type that torch lacks
        raise Unverified(f"{where} is not a safetensors file") from error
    check(tensors, where)
    return tensors


def check(tensors: Mapping[str, Tensor], where: str) -> None:
    """Raises ``Unverified`` for a tensor of an odd type, or with a value that is NaN or infinite."""
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise Unverified(f"{where}: tensor {name!r} is {kind}; weights are float32, float16 or bfloat16")
        if not bool(torch.isfinite(tensor).all()):
            raise Unverified(f"{where}: tensor {name!r} holds values that are NaN or infinite")
