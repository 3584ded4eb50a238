"""Descriptors to fewer numbers without labels: principal components with half-strength whitening.

Full whitening (Jegou and Chum, ECCV 2012) divides a component by its standard deviation, here by the root of
that. Without labels, so that photographs are served that are unlike anything it met.
"""

import numpy as np
from numpy.typing import NDArray

_WHITENING = 0.5  # of a component's standard deviation, as a power


def fit(
    rows: NDArray[np.float32], dim: int, width: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Projection (weight float32 (dim, d), bias float32 (dim,)) fitted to descriptors float32 (n, d).

    Of their first ``width`` numbers; the others weigh nothing. Fewer rows, or numbers, than ``dim`` give as
    many components as there are.
    """
    wide = rows[:, :width].astype(np.float64)
    mean = wide.mean(0)
    _, spread, components = np.linalg.svd(wide - mean, full_matrices=False)
    deviation = np.maximum(spread[:dim] / np.sqrt(len(rows)), 1e-9)
    kept = components[:dim] / deviation[:, None] ** _WHITENING
    weight = np.zeros((len(kept), rows.shape[1]), np.float32)
    weight[:, :width] = kept
    return weight, (-kept @ mean).astype(np.float32)


def project(
    rows: NDArray[np.float32], weight: NDArray[np.float32], bias: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Descriptors float32 (..., d) to vectors float32 (..., dim) of unit length."""
    vectors = rows @ weight.T + bias
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit
