"""Pictures of garments: the shop's packshots, and what shoppers photograph, with the truth about both."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from imgsearch_assets.sample import backdrops
from imgsearch_assets.sample.body import Pose, Wearer
from imgsearch_assets.sample.curves import xy
from imgsearch_assets.sample.design import Design, new_design
from imgsearch_assets.sample.garments import LOWER, extent, garment
from imgsearch_assets.sample.painter import Layer, Light, Piece, Shape, View, cast_shadow
from serving.images.box import Box

Picture = NDArray[np.uint8]
Truth = list[tuple[Box, str]]

PACKSHOT_HEIGHT, PACKSHOT_WIDTH = 720, 600
PACKSHOTS = ("front", "turned", "near")
_STREET_SIZES = ((800, 600), (800, 640), (720, 720), (600, 760))
# An item that is mostly hidden or cut off is not one a shopper means.
_LEAST_SEEN, _LEAST_AREA = 0.35, 0.006
_TRIES = 6


@dataclass(frozen=True)
class Scene:
    """A picture, uint8 (h, w, 3) RGB, and what is on it, the main item first."""

    picture: Picture
    items: Truth


def packshot(design: Design, rng: np.random.Generator, kind: str) -> Scene:
    """The garment alone before paper; ``kind`` is one of ``PACKSHOTS``."""
    height, width = PACKSHOT_HEIGHT, PACKSHOT_WIDTH
    shapes = garment(design, Pose.laid(rng))
    pair = design.category == "shoe" and kind != "near"
    x0, y0, x1, y1 = extent(shapes)
    if pair:
        x1, y0 = x1 + 5, y0 - 4
    fill = rng.uniform(0.76, 0.86)
    scale = fill * min(width / (x1 - x0), height / (y1 - y0))
    centre = ((x0 + x1) / 2, (y0 + y1) / 2)
    turn, squeeze, shear = rng.normal(0, 0.012), 1.0, 0.0
    if kind == "turned":
        turn, squeeze = rng.uniform(-0.16, 0.16), rng.uniform(0.82, 0.94)
        shear, scale = rng.uniform(-0.07, 0.07), scale * 0.92
    elif kind == "near":
        scale *= rng.uniform(1.35, 1.7)
        turn = rng.normal(0, 0.05)
        centre = (
            centre[0] + (x1 - x0) * rng.uniform(-0.08, 0.08),
            centre[1] - (y1 - y0) * rng.uniform(0.0, 0.12),
        )
    if kind != "front" and design.category in ("shoe", "hat") and rng.random() < 0.4:
        squeeze = -squeeze
    middle = (width / 2 + rng.normal(0, 6), height / 2 + rng.normal(0, 6))
    view = View.looking(centre, middle, scale, turn, squeeze, shear)
    light = Light.drawn(rng)
    layer = Layer(height, width)
    if pair:
        layer.paint(shapes, view.moved(5 * scale, -3.4 * scale), light)
    layer.paint(shapes, view, light)
    ground = backdrops.studio(rng, height, width, tinted=kind != "front")
    far = rng.uniform(6, 16)
    cast_shadow(
        layer.cover, ground, -light.x * far, -light.y * far + 4, rng.uniform(12, 26), rng.uniform(0.22, 0.38)
    )
    layer.laid_on(ground)
    box = _box_of(layer.cover > 127)
    assert box is not None, "a packshot shows its garment"  # noqa: S101 - a promise of the geometry, not of input
    return Scene(ground, [(box, design.category)])


def street(design: Design, rng: np.random.Generator) -> Scene:
    """The garment as a shopper photographs it: worn, or laid down among others."""
    for _ in range(_TRIES):
        stage, ground, designs = _worn(design, rng) if rng.random() < 0.65 else _laid(design, rng, 2)
        if stage.seen(1) is not None:
            break
    else:  # something stood before it every time
        stage, ground, designs = _laid(design, rng, 0)
    stage.layer.laid_on(ground)
    return Scene(_camera(ground, rng), stage.truth(designs))


def training_scene(rng: np.random.Generator) -> tuple[Picture, Truth]:
    """A picture for the detector's trainer, uint8 (h, w, 3) RGB, with the boxes of what is on it."""
    design = new_design(rng)
    if rng.random() < 0.35:
        scene = packshot(design, rng, PACKSHOTS[int(rng.integers(3))])
    else:
        scene = street(design, rng)
    return scene.picture, scene.items


class _Stage:
    """One layer on which several items lie, and whose pixels are whose."""

    def __init__(self, height: int, width: int, light: Light) -> None:
        self.layer = Layer(height, width)
        self.light = light
        self._owner = np.zeros((height, width), np.uint8)
        self._whole: dict[int, int] = {}

    def add(self, shapes: Sequence[Shape], view: View, item: int = 0) -> None:
        """Paint over what is there; ``item`` 0 is nobody's (skin, hair, a hand)."""
        covered = self.layer.paint(shapes, view, self.light)
        self._owner[covered > 127] = item
        self._whole[item] = self._whole.get(item, 0) + int(np.count_nonzero(covered > 127))

    def seen(self, item: int) -> Box | None:
        """The box of what shows of ``item``; ``None`` when that is too little to mean it."""
        mask = self._owner == item
        pixels = int(np.count_nonzero(mask))
        if pixels < _LEAST_SEEN * self._whole.get(item, 1) or pixels < _LEAST_AREA * mask.size:
            return None
        return _box_of(mask)

    def truth(self, designs: Sequence[Design]) -> Truth:
        """Items are numbered from 1, in the order of ``designs``."""
        boxes = ((self.seen(number), design) for number, design in enumerate(designs, 1))
        return [(box, design.category) for box, design in boxes if box is not None]


# A stage, the ground it stands on, and whose clothes are on it, the main one first.
_Set = tuple[_Stage, Picture, list[Design]]


def _box_of(mask: NDArray[np.bool_]) -> Box | None:
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    height, width = mask.shape
    if w < 2 or h < 2:
        return None
    return Box.clipped(x / width, y / height, (x + w) / width, (y + h) / height)


def _outfit(main: Design, rng: np.random.Generator, top_cm: float, bottom_cm: float) -> list[Design]:
    """What someone wearing ``main`` has on between two heights, ``main`` first."""
    worn = [main]
    have = {main.category}

    def wear(*options: str) -> None:
        if not have & set(options):
            design = new_design(rng, options[int(rng.integers(len(options)))])
            worn.append(design)
            have.add(design.category)

    tops, outers = ("t-shirt", "shirt", "sweater"), ("jacket", "coat")
    if main.category != "dress":
        wear(*LOWER)
    if main.category in (*tops, *LOWER, "shoe", "bag", "hat") and not have & set(outers):
        wear(*tops)
    if bottom_cm > _ANKLES_CM:
        wear("shoe")
    if rng.random() < 0.4:
        wear("bag")
    if rng.random() < 0.3 and top_cm < _BROW_CM:
        wear("hat")
    return worn


# Category -> (middle of the frame in cm, height of the frame in cm): what a shopper points the camera at.
_FRAMING: dict[str, tuple[float, float]] = {
    "t-shirt": (28, 112),
    "shirt": (30, 116),
    "sweater": (28, 114),
    "jacket": (28, 116),
    "coat": (46, 170),
    "dress": (54, 186),
    "skirt": (78, 118),
    "trousers": (98, 142),
    "shorts": (66, 96),
    "shoe": (144, 58),
    "bag": (74, 96),
    "hat": (-18, 66),
}
_BROW_CM, _ANKLES_CM = -30.0, 150.0
# Painted in this order, the next over the last.
_ORDER = (
    "shoe",
    "trousers",
    "shorts",
    "skirt",
    "t-shirt",
    "shirt",
    "sweater",
    "dress",
    "jacket",
    "coat",
    "bag",
    "hat",
)


def _worn(main: Design, rng: np.random.Generator) -> _Set:
    """Someone out of doors in an outfit."""
    height, width = _STREET_SIZES[int(rng.integers(len(_STREET_SIZES)))]
    pose, wearer, light = Pose.standing(rng), Wearer.drawn(rng), Light.drawn(rng)
    middle_cm, tall_cm = _FRAMING[main.category]
    tall_cm *= rng.uniform(0.95, 1.3)
    middle_cm += rng.normal(0, tall_cm * 0.035)
    designs = _outfit(main, rng, middle_cm - tall_cm / 2, middle_cm + tall_cm / 2)
    scale = height / tall_cm
    centre_x = pose.arm(1)[-1][0] * 0.8 if main.category == "bag" else 0.0
    view = View.looking(
        (centre_x, middle_cm),
        (width * rng.uniform(0.42, 0.58), height / 2),
        scale,
        rng.normal(0, 0.04),
        rng.uniform(0.88, 1.02),
    )
    stage = _Stage(height, width, light)
    worn = {design.category: (number, garment(design, pose)) for number, design in enumerate(designs, 1)}
    clothes = [
        worn[category] for category in _ORDER if category in worn and category not in ("shoe", "bag", "hat")
    ]
    stage.add(wearer.hair_behind(), view)
    for number, shapes in clothes:
        stage.add([s for s in shapes if isinstance(s, Piece) and s.behind], view, number)
    stage.add(wearer.body(pose), view)
    if "shoe" in worn:
        number, shapes = worn["shoe"]
        for side in (-1, 1):
            x, y = pose.leg(side)[-1]
            stage.add(
                shapes, _attached(view, shapes, (x + side * 3.5, y + 7.5), (-6.0, 0.0), 0.92, side), number
            )
    for number, shapes in clothes:
        stage.add([s for s in shapes if not (isinstance(s, Piece) and s.behind)], view, number)
    if "bag" in worn:
        number, shapes = worn["bag"]
        x, y = pose.arm(1)[-1]
        stage.add(shapes, _attached(view, shapes, (x, y + 4), (0.0, extent(shapes)[1] + 1.2), 0.9, 1), number)
    if "hat" in worn:
        number, shapes = worn["hat"]
        stage.add(
            shapes,
            _attached(view, shapes, (0.0, -27.5), (0.0, 0.0), 1.02, 1 if rng.random() < 0.5 else -1),
            number,
        )
    ground = backdrops.street(rng, height, width)
    cast_shadow(stage.layer.cover, ground, -light.x * 18, 10, 30, 0.3)
    _occlude(stage, rng, view)
    return stage, ground, designs


def _attached(
    view: View,
    shapes: Sequence[Shape],
    at_cm: tuple[float, float],
    own_cm: tuple[float, float],
    scale: float,
    side: int,
) -> View:
    """The view of an item in its own frame, its ``own_cm`` held at ``at_cm`` of the body."""
    linear = view.matrix[:, :2] @ xy([[side * scale, 0], [0, scale]])
    offset = view.matrix[:, :2] @ xy(at_cm) + view.matrix[:, 2] - linear @ xy(own_cm)
    return View(np.column_stack([linear, offset]).astype(np.float32), view.px_per_cm * scale)


def _laid(main: Design, rng: np.random.Generator, most_others: int) -> _Set:
    """The garment on a bed or a floor, on top of up to so many others."""
    height, width = _STREET_SIZES[int(rng.integers(len(_STREET_SIZES)))]
    light = Light.drawn(rng)
    others = [new_design(rng) for _ in range(int(rng.integers(min(most_others, 1), most_others + 1)))]
    ground = backdrops.surface(rng, height, width)
    stage = _Stage(height, width, light)
    designs = [main, *others]
    # Others first, off the middle, so that the main one lies on top of them.
    for number, design in reversed(list(enumerate(designs, 1))):
        shapes = garment(design, Pose.laid(rng))
        x0, y0, x1, y1 = extent(shapes)
        fill = rng.uniform(0.5, 0.72) if number == 1 else rng.uniform(0.3, 0.5)
        scale = fill * min(width / (x1 - x0), height / (y1 - y0)) * (1.15 if number == 1 else 1.2)
        if number == 1:
            at = (width * rng.uniform(0.4, 0.6), height * rng.uniform(0.42, 0.58))
        else:
            angle = rng.uniform(0, 2 * np.pi)
            at = (width * (0.5 + 0.38 * np.cos(angle)), height * (0.5 + 0.38 * np.sin(angle)))
        turn = rng.normal(0, 0.25) if number == 1 else rng.uniform(-0.9, 0.9)
        view = View.looking(
            ((x0 + x1) / 2, (y0 + y1) / 2), at, scale, turn, rng.uniform(0.86, 1.0), rng.normal(0, 0.05)
        )
        stage.add(shapes, view, number)
    cast_shadow(stage.layer.cover, ground, -light.x * 8, -light.y * 8, 12, 0.35)
    _occlude(stage, rng, View.looking((0, 0), (width / 2, height / 2), height / 90))
    return stage, ground, designs


def _occlude(stage: _Stage, rng: np.random.Generator, view: View) -> None:
    """Now and then something that is nobody's stands before an edge of the main item."""
    box = stage.seen(1)
    if box is None or rng.random() > 0.35:
        return
    height, width = stage.layer.cover.shape
    side = 1 if rng.random() < 0.5 else -1
    x = (box.x1 if side > 0 else box.x0) * width
    y = (box.y0 + (box.y1 - box.y0) * rng.uniform(0.2, 0.9)) * height
    wide = (box.x1 - box.x0) * width * rng.uniform(0.1, 0.24)
    thing = backdrops.obstacle(rng, (x + side * wide * 0.4, y), wide, height)
    stage.add(thing, View(xy([[1, 0, 0], [0, 1, 0]]), view.px_per_cm))


def _camera(picture: Picture, rng: np.random.Generator) -> Picture:
    """What a telephone makes of it: white balance, exposure, noise, a little blur."""
    gain = rng.uniform(0.84, 1.12)
    warm = rng.uniform(-0.06, 0.06)
    balanced = cv2.multiply(picture, (gain * (1 + warm), gain, gain * (1 - warm), 0))
    if rng.random() < 0.3:
        balanced = cv2.GaussianBlur(balanced, (0, 0), rng.uniform(0.5, 1.1))
    return backdrops.grained(balanced, rng, rng.uniform(0.1, 0.45))
