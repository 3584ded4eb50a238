import pytest
import torch

from serving.errors import Unverified
from serving.models.network import fill


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))


def test_half_precision_becomes_whole_and_counters_stay_counters() -> None:
    weights = {
        name: tensor.half() if tensor.is_floating_point() else tensor + 7
        for name, tensor in network().state_dict().items()
    }
    filled = network()
    fill(filled, weights, torch.device("cpu"))
    found = filled.state_dict()
    assert torch.equal(found["0.weight"], weights["0.weight"].float())
    assert found["1.num_batches_tracked"].item() == 7
    assert not filled.training
    assert not any(parameter.requires_grad for parameter in filled.parameters())


def test_what_does_not_fit_is_named() -> None:
    weights = network().state_dict()
    for change in ({"0.bias": torch.ones(5)}, {"more": torch.ones(1)}):
        with pytest.raises(
            Unverified, match=rf"(?s)^the weights do not fit Sequential: .*{next(iter(change))}"
        ):
            fill(network(), {**weights, **change}, torch.device("cpu"))
