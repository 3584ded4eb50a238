"""Outlines: smooth runs of points that meet at corners, in centimetres of the garment's own frame.

x points to the wearer's left as the viewer sees it (right of the picture), y down, the origin between the
shoulders.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float32]
Run = Sequence[tuple[float, float]]

_STEPS = 7


@lru_cache(maxsize=1)
def _basis() -> Points:
    """Catmull-Rom weights at ``_STEPS`` places of a piece: float32 (_STEPS, 4)."""
    t = np.linspace(0, 1, _STEPS, endpoint=False, dtype=np.float32)[:, None]
    powers = np.concatenate([np.ones_like(t), t, t**2, t**3], axis=1)
    matrix = np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]], np.float32) / 2
    return (powers @ matrix).astype(np.float32)


def xy(points: ArrayLike) -> Points:
    """Points, a point or a matrix of them as single precision: float32 of the same shape."""
    return np.asarray(points, np.float32)


def smooth(run: Run | Points) -> Points:
    """A smooth curve through the points of ``run``, ends included: float32 (m, 2)."""
    points = xy(run)
    if len(points) < 3:
        return points
    ends = np.concatenate([[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]])
    windows = np.stack([ends[i : i + len(points) - 1] for i in range(4)], axis=1)  # (n - 1, 4, 2)
    curve = np.einsum("sk,nkd->nsd", _basis(), windows).reshape(-1, 2)
    return np.concatenate([curve, points[-1:]]).astype(np.float32)


def outline(*runs: Run | Points) -> Points:
    """A closed outline from smooth runs with a corner wherever two meet: float32 (m, 2)."""
    return np.concatenate([smooth(run) for run in runs])


def flipped(points: Run | Points) -> Points:
    """The same on the other side of the body."""
    return xy(points) * xy([(-1, 1)])


def both_sides(*right_half: Run | Points) -> Points:
    """A closed outline, the same on both sides, from its right half told from top to bottom."""
    half = outline(*right_half)
    return np.concatenate([half, flipped(half)[::-1]])


def ellipse(x: float, y: float, width: float, height: float, points: int = 36) -> Points:
    """The outline of an ellipse by its centre and half-axes: float32 (points, 2)."""
    t = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([x + width * np.cos(t), y + height * np.sin(t)], axis=1).astype(np.float32)


def box(x0: float, y0: float, x1: float, y1: float, corner: float = 0.0) -> Points:
    """A rectangle, its corners rounded by ``corner``: float32 (m, 2)."""
    if corner <= 0:
        return xy([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    c, t = corner, np.linspace(0, np.pi / 2, 5)
    turns = []
    for k, (x, y) in enumerate([(x1 - c, y1 - c), (x0 + c, y1 - c), (x0 + c, y0 + c), (x1 - c, y0 + c)]):
        a = t + k * np.pi / 2
        turns.append(np.stack([x + c * np.cos(a), y + c * np.sin(a)], axis=1))
    return np.concatenate(turns).astype(np.float32)


def tube(centre: Points, half_widths: Points) -> tuple[Points, Points]:
    """The two long sides of a limb round ``centre`` (float32 (n, 2)), ``half_widths`` float32 (n,) apart.

    Returns (left of the way along, right of it), each float32 (n, 2).
    """
    along = np.gradient(centre, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) * half_widths[:, None]
    return (centre - across).astype(np.float32), (centre + across).astype(np.float32)


def along(line: Points, start: float, stop: float, points: int) -> Points:
    """``points`` places evenly along ``line`` between two fractions of its length: float32 (points, 2)."""
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    where = np.linspace(start, stop, points) * lengths[-1]
    return np.stack([np.interp(where, lengths, line[:, i]) for i in (0, 1)], axis=1).astype(np.float32)
