"""How wrong an embedding is: what belongs together ought to lie together.

ProxyAnchor (arXiv:2003.13911) and ArcFace (arXiv:1801.07698) are those of ``pytorch-metric-learning`` and
learn a proxy of each class beside the head; InfoNCE compares the rows of a batch and learns nothing of its
own. The library's InfoNCE took minutes where this one takes seconds.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Loss = Literal["info_nce", "proxy_anchor", "arcface"]
LOSSES: tuple[Loss, ...] = ("info_nce", "proxy_anchor", "arcface")

_SCALE = 12.0  # of cosines before the softmax: one over InfoNCE's temperature


class InfoNCE(nn.Module):
    """Every other row of the same class is a positive: L_out of Khosla et al. (arXiv:2004.11362), eq. 2."""

    def __init__(self, scale: float = _SCALE) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, rows: Tensor, classes: Tensor) -> Tensor:
        """Mean over the rows, float32 (n, d), that have a positive; classes int64 (n,), -1 has none."""
        unit = F.normalize(rows)
        scores = unit @ unit.T * self.scale
        itself = torch.eye(len(rows), dtype=torch.bool)
        positive = (classes[:, None] == classes) & ~itself & (classes >= 0)
        surprise = -F.log_softmax(scores.masked_fill(itself, -torch.inf), 1).masked_fill(~positive, 0.0)
        count = positive.sum(1)
        each = surprise.sum(1)[count > 0] / count[count > 0]
        return each.mean() if len(each) else rows.sum() * 0.0


class Proxies(nn.Module):
    """A loss of ``pytorch-metric-learning`` with proxies; rows whose class is -1 are left out."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, rows: Tensor, classes: Tensor) -> Tensor:
        known = classes >= 0
        if not known.any():
            return rows.sum() * 0.0
        found: Tensor = self.loss(rows[known], classes[known])
        return found


def objective(loss: Loss, classes: int, dim: int) -> nn.Module:
    """The loss by name for rows float32 (n, dim) of so many classes: a module (rows, classes) -> scalar."""
    if loss == "info_nce":
        return InfoNCE()
    # Only whoever trains has it installed.
    from pytorch_metric_learning import losses  # type: ignore[import-untyped]

    if loss == "proxy_anchor":
        return Proxies(losses.ProxyAnchorLoss(max(classes, 1), dim, margin=0.1, alpha=24))
    return Proxies(losses.ArcFaceLoss(max(classes, 1), dim, margin=11.5, scale=24))  # degrees: 0.2 rad
