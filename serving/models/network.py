"""A bundle's weights put into the network they belong to."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from serving.errors import Unverified


def fill(network: nn.Module, tensors: Mapping[str, Tensor], device: torch.device) -> None:
    """Give ``network`` exactly the weights it has names for, ready for inference, channels last.

    Raises ``Unverified`` when a name or a shape is missing, left over or different.
    """
    try:
        network.load_state_dict(
            {
                name: tensor.float() if tensor.is_floating_point() else tensor
                for name, tensor in tensors.items()
            }
        )
    except RuntimeError as error:
        raise Unverified(f"the weights do not fit {type(network).__name__}: {error}") from error
    network.requires_grad_(False).eval()
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
