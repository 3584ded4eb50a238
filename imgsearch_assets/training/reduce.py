"""Descriptors to fewer numbers without labels: principal components.

Without labels, so that photographs are served that are unlike anything it met. ``docs/training.md`` has what
whitening and the trunk's middle layers did to them.
"""

import numpy as np
from numpy.typing import NDArray


def fit(
    rows: NDArray[np.float32], dim: int, width: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Projection (weight float32 (dim, d), bias float32 (dim,)) fitted to descriptors float32 (n, d).

    Of their first ``width`` numbers; the others weigh nothing. Fewer rows, or numbers, than ``dim`` give as
    many components as there are.
    """
    wide = rows[:, :width].astype(np.float64)
    mean = wide.mean(0)
    _, _, components = np.linalg.svd(wide - mean, full_matrices=False)
    weight = np.zeros((len(components[:dim]), rows.shape[1]))
    weight[:, :width] = components[:dim]
    return weight.astype(np.float32), (-components[:dim] @ mean).astype(np.float32)


def project(
    rows: NDArray[np.float32], weight: NDArray[np.float32], bias: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Descriptors float32 (..., d) to vectors float32 (..., dim) of unit length."""
    vectors = rows @ weight.T + bias
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit
