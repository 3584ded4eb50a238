import math

import pytest
import torch

from imgsearch_assets.training.objective import LOSSES, InfoNCE, Loss, objective


def test_info_nce_is_the_mean_surprise_at_the_positives() -> None:
    rows = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 3]])
    loss = InfoNCE(scale=2.0)(rows, torch.tensor([0, 0, 1, -1]))
    # Only rows 0 and 1 have a positive: e^2 against e^0 twice.
    assert float(loss) == pytest.approx(-math.log(math.e**2 / (math.e**2 + 2)))


@pytest.mark.parametrize("loss", LOSSES)
def test_together_is_less_wrong_than_mixed(loss: Loss) -> None:
    torch.manual_seed(0)
    measure = objective(loss, 2, 4)
    rows = torch.nn.Parameter(torch.randn(8, 4))
    classes = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    optimiser = torch.optim.Adam([rows, *measure.parameters()], lr=0.1)
    before = measure(rows, classes).item()
    for _ in range(40):
        optimiser.zero_grad()
        measure(rows, classes).backward()
        optimiser.step()
    assert measure(rows, classes).item() < before / 2


@pytest.mark.parametrize("loss", LOSSES)
def test_rows_of_no_class_teach_nothing(loss: Loss) -> None:
    rows = torch.randn(4, 3, requires_grad=True)
    found = objective(loss, 0, 3)(rows, torch.full((4,), -1))
    found.backward()
    assert found.item() == 0
    assert rows.grad is not None
    assert not rows.grad.any()
