"""What is frozen looks once: an engine of a network with its ImageNet weights."""

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from serving.models.engine import Engine, make_engine
from serving.models.network import fill
from serving.models.preprocess import Preprocessing

Network = TypeVar("Network", bound=nn.Module)


def frozen(network: Network, weights: Mapping[str, Tensor]) -> Network:
    """``network`` with ``weights`` on the CPU; nothing of it learns."""
    fill(network, weights, torch.device("cpu"))
    return network


def engine_of(network: nn.Module) -> Engine:
    """Pixels uint8 (n, 3, s, s), of the shipped preprocessing's size, to what ``network`` says of them."""
    shipped = Preprocessing()
    example = torch.zeros(1, 3, shipped.size, shipped.size, dtype=torch.uint8)
    return make_engine(network, example, before=shipped.normalised)
