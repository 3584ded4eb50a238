"""Pictures to boxes of garments: points whose surroundings say where the item ends.

Zhou et al., Objects as Points (arXiv:1904.07850), with distances to the four sides in place of a size, as in
FCOS (arXiv:1904.01355), over three backbone maps added up to stride 8 as in feature pyramids
(arXiv:1612.03144). The backbone is frozen; the head has 122,000 parameters.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from serving.images.box import Box
from serving.models import runtime
from serving.models.backbone import TAP_CHANNELS, Backbone, Taps
from serving.models.bundle import Bundle
from serving.models.detection import Detection
from serving.models.engine import make_engine
from serving.models.network import fill

NAME = "detector"

_WIDTH = 64
_KINDS = 128  # channels that tell the categories apart
MIN_SCORE = 0.2
MAX_ITEMS = 8  # a picture
SAME_ITEM_IOU = 0.6


class Head(nn.Module):
    """Backbone maps to a heat map of item centres and the box of each point.

    Returns logits float32 (n, categories, g, g) and sides float32 (n, 4, g, g): distances from a cell's
    centre to left, top, right, bottom as fractions of the picture.
    """

    def __init__(self, categories: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, _WIDTH, 1) for channels in TAP_CHANNELS)
        self.mix = nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1, groups=2)
        # To see what surrounds a point: each channel on its own, then the channels together, twice.
        self.around = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(_WIDTH, _WIDTH, 5, padding=2, groups=_WIDTH), nn.Conv2d(_WIDTH, _WIDTH, 1)
            )
            for _ in range(2)
        )
        self.heat = nn.Conv2d(_WIDTH, categories, 1)
        self.sides = nn.Conv2d(_WIDTH, 4, 1)
        # What kind an item is shows in the deeper maps alone, and needs no fine grid.
        self.kinds = nn.ModuleList(nn.Conv2d(channels, _KINDS, 1) for channels in TAP_CHANNELS[1:])
        self.around_kinds = nn.Conv2d(_KINDS, _KINDS, 5, padding=2, groups=_KINDS)
        self.kind_heat = nn.Conv2d(_KINDS, categories, 1)

    def forward(self, taps: Taps) -> tuple[Tensor, Tensor]:
        fine, middle, coarse = (
            lateral(tap)
            for lateral, tap in zip(self.lateral, (taps.fine, taps.middle, taps.coarse), strict=True)
        )
        middle = middle + F.interpolate(coarse, scale_factor=2.0, mode="nearest")
        x = F.relu(fine + F.interpolate(middle, scale_factor=2.0, mode="nearest"))
        x = F.relu(self.mix(x))
        for around in self.around:
            x = F.relu(x + around(x))
        # An item is about a third of a picture: the exponential starts there.
        return self.heat(x) + self._kinds(taps), torch.exp(self.sides(x).clamp(-6, 2)) * 0.3

    def _kinds(self, taps: Taps) -> Tensor:
        """Logits of the categories from the maps of strides 16 and 32, on the grid of stride 8."""
        middle, coarse = (
            kinds(tap) for kinds, tap in zip(self.kinds, (taps.middle, taps.coarse), strict=True)
        )
        x = F.relu(middle + F.interpolate(coarse, scale_factor=2.0, mode="nearest"))
        x = F.relu(x + self.around_kinds(x))
        return F.interpolate(self.kind_heat(x), scale_factor=2.0, mode="bilinear", align_corners=False)


class DetectorNetwork(nn.Module):
    """Backbone and head."""

    def __init__(self, categories: int) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.head = Head(categories)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(self.backbone(x))  # type: ignore[no-any-return]


def cell_centres(grid: int) -> Tensor:
    """Where the cells of a g x g map lie on the picture: float32 (2, g, g), x then y, fractions."""
    at = (torch.arange(grid, dtype=torch.float32) + 0.5) / grid
    y, x = torch.meshgrid(at, at, indexing="ij")
    return torch.stack((x, y))


def corners(sides: Tensor) -> Tensor:
    """Sides (n, 4, g, g) as a head gives them to boxes (n, 4, g, g): x0, y0, x1, y1, fractions."""
    centres = cell_centres(sides.shape[-1]).to(sides.device)
    return torch.cat((centres - sides[:, :2], centres + sides[:, 2:]), 1)


def agreed(boxes: Tensor, warm: Tensor) -> Tensor:
    """Boxes (n, 4, g, g) averaged with those of the eight neighbours by how warm (n, 1, g, g) each is.

    They speak of the same item; on drawn scenes this lifted AP at IoU 0.75 from 0.56 to 0.61.
    """
    return F.avg_pool2d(boxes * warm, 3, stride=1, padding=1) / F.avg_pool2d(warm, 3, stride=1, padding=1)


def items(
    logits: Tensor, sides: Tensor, categories: Sequence[str], min_score: float = MIN_SCORE
) -> list[list[Detection]]:
    """What a head's maps (n, c, g, g) and (n, 4, g, g) say: the items of each picture, the main one first."""
    heat = logits.sigmoid()
    warm = heat.amax(1, keepdim=True)
    # A point is an item where no neighbour is hotter: the non-maximum suppression of the paper.
    heat = heat * (heat == F.max_pool2d(heat, 3, stride=1, padding=1))
    boxes = agreed(corners(sides), warm).flatten(2).transpose(1, 2)
    scores, at = heat.flatten(1).topk(4 * MAX_ITEMS)
    kinds, cells = at // sides[0, 0].numel(), at % sides[0, 0].numel()
    found = []
    for picture in range(len(logits)):
        one: list[Detection] = []
        for score, kind, cell in zip(
            scores[picture].tolist(), kinds[picture].tolist(), cells[picture].tolist(), strict=True
        ):
            if score < min_score or len(one) == MAX_ITEMS:
                break
            box = Box.clipped(*boxes[picture, cell].tolist())
            # Two categories may claim one item; the surer one has it.
            if all(box.iou(other.box) < SAME_ITEM_IOU for other in one):
                one.append(Detection(box, categories[kind], score))
        found.append(sorted(one, key=prominence, reverse=True))
    return found


def prominence(found: Detection) -> float:
    """How much a picture is about this item: sure, large, and near the middle."""
    box = found.box
    off_centre = max(abs(box.x0 + box.x1 - 1), abs(box.y0 + box.y1 - 1))
    # The power is what best tells the main item of 400 drawn scenes: first in 94 % of them.
    return found.score * float(np.sqrt(box.area)) * (1 - off_centre / 2) ** 6


class Detector:
    """The detector of one bundle. Safe to call from several threads.

    Raises ``Unverified`` when the bundle's weights do not fit.
    """

    def __init__(self, bundle: Bundle, device: torch.device | None = None) -> None:
        self.version = bundle.version
        self.preprocessing = bundle.card.preprocessing.fingerprint
        self.categories = bundle.card.categories
        preprocessing = bundle.card.preprocessing
        self.pixels = preprocessing.pixels
        device = device or runtime.device()
        self.batch = runtime.batch_size(device)
        network = DetectorNetwork(len(self.categories))
        fill(network, bundle.tensors, device)
        self._engine = make_engine(
            network, preprocessing.example(), before=preprocessing.normalised, device=device
        )

    def detect(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        """Pictures, uint8 (h, w, 3) RGB each, to their items, the main one first; none is an empty list."""
        found: list[list[Detection]] = []
        for start in range(0, len(pictures), self.batch):
            found += self.of_pixels(self.pixels(pictures[start : start + self.batch]))
        return found

    @torch.inference_mode()
    def of_pixels(self, x: Tensor) -> list[list[Detection]]:
        """The same in one forward pass, of what ``pixels`` made of them."""
        logits, sides = self._engine(x)
        return items(logits, sides, self.categories)
