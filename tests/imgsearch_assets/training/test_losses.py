import pytest
import torch

from imgsearch_assets.training.losses import box_loss, heat_loss

WEIGHTS = torch.ones(1, 1, 1)


def one(x0: float, y0: float, x1: float, y1: float) -> torch.Tensor:
    return torch.tensor([x0, y0, x1, y1]).view(1, 4, 1, 1)


def test_heat_as_it_should_be_costs_next_to_nothing() -> None:
    heat = torch.zeros(1, 2, 4, 4)
    heat[0, 1, 2, 2] = 1
    sure = torch.where(heat == 1, 12.0, -12.0)
    assert heat_loss(sure, heat) < 1e-4
    assert heat_loss(-sure, heat) > 10


def test_heat_near_a_centre_is_forgiven_more_than_heat_far_off() -> None:
    heat = torch.zeros(1, 1, 4, 4)
    heat[0, 0, 0, 0], heat[0, 0, 0, 1] = 1, 0.8
    near, far = torch.full_like(heat, -8), torch.full_like(heat, -8)
    near[0, 0, 0, 0] = far[0, 0, 0, 0] = 8
    near[0, 0, 0, 1] = far[0, 0, 3, 3] = 4
    assert heat_loss(near, heat) < heat_loss(far, heat) / 10


def test_boxes() -> None:
    left, right = one(0, 0, 0.5, 1), one(0.5, 0, 1, 1)
    assert box_loss(left, left, WEIGHTS) == pytest.approx(0, abs=1e-6)
    # They touch: no overlap, and together they fill their hull.
    assert box_loss(left, right, WEIGHTS) == pytest.approx(1)
    assert box_loss(one(0, 0, 0.25, 1), one(0.75, 0, 1, 1), WEIGHTS) == pytest.approx(1.5)
    assert box_loss(left, right, WEIGHTS * 0) == 0
