"""A rectangle on a picture, and what cuts it out."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serving.errors import BadInput

# A box is a key of stored features, so it is a value on a grid: 1/10,000 of the picture's side.
GRID = 10_000


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """Left, top, right, bottom as fractions 0..1 of the upright picture, snapped to ``1 / GRID``.

    Raises ``BadInput`` when it is not a rectangle inside the picture.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        for name in ("x0", "y0", "x1", "y1"):
            value = float(getattr(self, name))
            if not 0.0 <= value <= 1.0:  # also refuses NaN
                raise BadInput(f"box: {name} is {value}; it must be a fraction of the picture, 0 to 1")
            object.__setattr__(self, name, round(value * GRID) / GRID)
        if self.x0 >= self.x1 or self.y0 >= self.y1:
            raise BadInput(f"box: ({self.x0}, {self.y0}, {self.x1}, {self.y1}) is empty; x0 < x1 and y0 < y1")

    @classmethod
    def whole(cls) -> Self:
        """The whole picture."""
        return cls(0.0, 0.0, 1.0, 1.0)

    @classmethod
    def clipped(cls, x0: float, y0: float, x1: float, y1: float) -> Self:
        """The part of a rectangle that lies on the picture; for detector output, which may lean over."""
        x0, y0, x1, y1 = (min(max(float(v), 0.0), 1.0) for v in (x0, y0, x1, y1))
        return cls(x0, y0, x1, y1)

    @property
    def area(self) -> float:
        """Fraction of the picture, 0..1."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    @property
    def key(self) -> str:
        """The box as text, equal exactly for equal boxes: grid units joined by commas."""
        return ",".join(str(round(v * GRID)) for v in (self.x0, self.y0, self.x1, self.y1))

    @classmethod
    def from_key(cls, key: str) -> Self:
        x0, y0, x1, y1 = (int(part) / GRID for part in key.split(","))
        return cls(x0, y0, x1, y1)

    def iou(self, other: "Box") -> float:
        """Intersection over union, 0..1."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        if width <= 0 or height <= 0:
            return 0.0
        both = width * height
        return both / (self.area + other.area - both)


def crop(picture: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """The pixels of ``picture`` (uint8 (h, w, 3) RGB) inside ``box``, at least one by one, as a view."""
    height, width = picture.shape[:2]
    left, top = min(int(box.x0 * width), width - 1), min(int(box.y0 * height), height - 1)
    right, bottom = max(round(box.x1 * width), left + 1), max(round(box.y1 * height), top + 1)
    return picture[top:bottom, left:right]
