"""What a head should have said of a picture: heat around item centres, and whose box each point has."""

from collections.abc import Sequence

import torch
from torch import Tensor

from serving.images.box import Box
from serving.models.detector import cell_centres

# Standard deviation of the heat as a part of the item's side: TTFNet (arXiv:1909.00700), 0.54 / 6.
_SPREAD = 0.09
# Points this warm learn the box, not the hottest alone: more to learn from in each picture (TTFNet too).
_WARM = 0.25


def targets(
    items: Sequence[tuple[Box, str]], categories: Sequence[str], grid: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Heat float32 (c, g, g) 0..1, boxes float32 (4, g, g) x0 y0 x1 y1, weights float32 (g, g).

    Each item's weights sum to one, whatever its size. Where items overlap the smaller has the point.
    """
    heat = torch.zeros(len(categories), grid, grid)
    boxes = torch.zeros(4, grid, grid)
    weights = torch.zeros(grid, grid)
    x, y = cell_centres(grid)
    for box, category in sorted(items, key=lambda item: item[0].area, reverse=True):
        # The centre is moved to a cell's, so that exactly one cell is an item's for certain.
        column = min(int((box.x0 + box.x1) / 2 * grid), grid - 1)
        row = min(int((box.y0 + box.y1) / 2 * grid), grid - 1)
        across = ((x - x[row, column]) / ((box.x1 - box.x0) * _SPREAD + 0.25 / grid)) ** 2
        down = ((y - y[row, column]) / ((box.y1 - box.y0) * _SPREAD + 0.25 / grid)) ** 2
        warmth = torch.exp(-(across + down) / 2)
        kind = categories.index(category)
        heat[kind] = torch.maximum(heat[kind], warmth)
        warm = warmth >= _WARM
        boxes[:, warm] = torch.tensor([box.x0, box.y0, box.x1, box.y1])[:, None]
        weights[warm] = warmth[warm] / warmth[warm].sum()
    return heat, boxes, weights
