"""How wrong a head is."""

import torch
from torch import Tensor
from torch.nn import functional as F


def heat_loss(logits: Tensor, heat: Tensor) -> Tensor:
    """The penalty-reduced focal loss of CornerNet (arXiv:1808.01244, eq. 1), logits and heat (n, c, g, g).

    Its sum over points divided by the number of items.
    """
    sure = heat.eq(1)
    p = logits.sigmoid()
    right = (1 - p) ** 2 * F.logsigmoid(logits)
    wrong = (1 - heat) ** 4 * p**2 * F.logsigmoid(-logits)
    return -torch.where(sure, right, wrong).sum() / sure.sum().clamp(min=1)


def box_loss(boxes: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """1 - GIoU (arXiv:1902.09630) of boxes (n, 4, g, g), averaged with ``weights`` (n, g, g)."""
    x0, y0, x1, y1 = boxes.unbind(1)
    tx0, ty0, tx1, ty1 = truth.unbind(1)
    width = (torch.minimum(x1, tx1) - torch.maximum(x0, tx0)).clamp(min=0)
    height = (torch.minimum(y1, ty1) - torch.maximum(y0, ty0)).clamp(min=0)
    both = width * height
    either = ((x1 - x0) * (y1 - y0) + (tx1 - tx0) * (ty1 - ty0) - both).clamp(min=1e-6)
    hull = (torch.maximum(x1, tx1) - torch.minimum(x0, tx0)) * (
        torch.maximum(y1, ty1) - torch.minimum(y0, ty0)
    )
    hull = hull.clamp(min=1e-6)
    giou = both / either - (hull - either) / hull
    return ((1 - giou) * weights).sum() / weights.sum().clamp(min=1e-6)
