"""A body in centimetres: where its limbs are in a pose, and how it is painted under a garment."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from imgsearch_assets.sample.cloth import smooth_surface
from imgsearch_assets.sample.curves import (
    Points,
    along,
    both_sides,
    ellipse,
    flipped,
    outline,
    smooth,
    tube,
    xy,
)
from imgsearch_assets.sample.painter import Piece, Seam, Shape
from imgsearch_assets.sample.palette import HAIR, SKIN

SHOULDER = (16.5, 5.0)
HIP = (8.5, 66.0)
UPPER_ARM_CM, FOREARM_CM = 29.0, 26.0
THIGH_CM, SHIN_CM = 43.0, 43.0

Limb = tuple[float, float]  # angles of its upper and lower half from straight down, outwards, radians


@dataclass(frozen=True)
class Pose:
    """Arms and legs, each (viewer's left, viewer's right)."""

    arms: tuple[Limb, Limb]
    legs: tuple[Limb, Limb]

    @classmethod
    def laid(cls, rng: np.random.Generator) -> Self:
        """As a garment is laid out for its picture: nearly even, sleeves away from the body."""
        arm, leg = rng.uniform(0.3, 0.62), rng.uniform(0.03, 0.12)
        jitter = rng.normal(0, 0.03, 4)
        return cls(
            ((arm + jitter[0], arm - 0.12 + jitter[1]), (arm - jitter[0], arm - 0.12 + jitter[2])),
            ((leg, leg + jitter[3]), (leg, leg - jitter[3])),
        )

    @classmethod
    def standing(cls, rng: np.random.Generator) -> Self:
        """As a person stands, now and then with a hand on the hip."""
        arms = [(rng.uniform(0.12, 0.3), rng.uniform(-0.12, 0.2)) for _ in range(2)]
        if rng.random() < 0.3:
            arms[int(rng.integers(2))] = (rng.uniform(0.6, 0.8), rng.uniform(-0.75, -0.55))
        legs = [(rng.uniform(0.02, 0.14), rng.uniform(-0.03, 0.1)) for _ in range(2)]
        return cls((arms[0], arms[1]), (legs[0], legs[1]))

    def arm(self, side: int) -> Points:
        """Shoulder to wrist, float32 (n, 2); ``side`` -1 is the viewer's left, 1 the right."""
        return _limb(SHOULDER, self.arms[side > 0], UPPER_ARM_CM, FOREARM_CM, side)

    def leg(self, side: int) -> Points:
        """Hip to ankle, float32 (n, 2)."""
        return _limb(HIP, self.legs[side > 0], THIGH_CM, SHIN_CM, side)


def _limb(start: tuple[float, float], angles: Limb, upper_cm: float, lower_cm: float, side: int) -> Points:
    x, y = start
    points = [(x, y)]
    for angle, length in ((angles[0], upper_cm), (angles[1], lower_cm)):
        for _ in range(2):
            x, y = x + np.sin(angle) * length / 2, y + np.cos(angle) * length / 2
            points.append((x, y))
    line = smooth(points)
    return line if side > 0 else flipped(line)


@dataclass(frozen=True)
class Wearer:
    """Someone to wear it: colours and hair, nothing more."""

    skin: tuple[int, int, int]
    hair: tuple[int, int, int]
    long_hair: bool

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Self:
        skin, hair = SKIN[int(rng.integers(len(SKIN)))], HAIR[int(rng.integers(len(HAIR)))]
        return cls(skin, hair, bool(rng.random() < 0.55))

    def hair_behind(self) -> list[Shape]:
        if not self.long_hair:
            return []
        hair = smooth_surface(self.hair, 1.2, 0.7, 0.15)
        return [Piece(both_sides([(0, -38), (9.5, -36), (12, -26), (12.5, -10), (10, 3), (4, 6)]), hair)]

    def body(self, pose: Pose) -> list[Shape]:
        """Legs, trunk, arms and head, in that order."""
        skin = smooth_surface(self.skin, 0.0, 0.9, 0.04)
        hair = smooth_surface(self.hair, 0.8, 0.9, 0.15)
        shapes: list[Shape] = []
        for side in (-1, 1):
            leg = along(pose.leg(side), 0, 1, 9)
            left, right = tube(leg, xy([9, 9, 8.3, 7, 5.8, 5.6, 5.4, 4.2, 3.2]))
            shapes.append(Piece(outline(left, right[::-1]), skin))
        trunk = both_sides(
            [(0, -6), (5, -5), (6.5, -2)],
            [(6.5, -2), (16, 1), (20, 6), (18.5, 20), (14.5, 40), (18.5, 60), (17, 72), (0, 76)],
        )
        shapes.append(Piece(trunk, skin))
        for side in (-1, 1):
            arm = along(pose.arm(side), 0, 1, 8)
            left, right = tube(arm, xy([5.2, 5, 4.6, 4.1, 4, 3.6, 3, 2.6]))
            shapes.append(Piece(outline(left, right[::-1]), skin))
            wrist, way = arm[-1], (arm[-1] - arm[-2]) / np.linalg.norm(arm[-1] - arm[-2])
            hand = ellipse(0, 0, 3.4, 7.0)
            turn = np.arctan2(-way[0], way[1])
            c, s = np.cos(turn), np.sin(turn)
            shapes.append(Piece(hand @ xy([[c, s], [-s, c]]) + wrist + way * 5, skin))
        shapes.append(
            Piece(both_sides([(0, -18), (4.8, -16), (5.2, -7), (8.5, -1.5), (0, 4)]), skin, edge=0.8)
        )
        shapes.append(
            Piece(both_sides([(0, -35), (7, -33), (8.9, -25), (7.6, -16), (3.2, -10.6), (0, -10)]), skin)
        )
        crown = both_sides(
            [(0, -38.5), (7, -37), (10.2, -30), (9.6, -21.5)],
            [(9.6, -21.5), (8.4, -27), (4.5, -31), (0, -30)],
        )
        shapes.append(Piece(crown, hair))
        shapes.append(Seam(xy([(-2, -15.4), (0, -14.8), (2, -15.4)]), tone=0.75, width_cm=0.5))
        for x in (-3.6, 3.6):
            shapes.append(Seam(xy([(x - 1.2, -23), (x, -22.5), (x + 1.2, -23)]), tone=0.35, width_cm=0.5))
        return shapes
