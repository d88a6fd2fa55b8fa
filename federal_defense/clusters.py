"""Two groups of points, found the same way whatever the points' order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from extra_utils.verdict import Array

MOST_STEPS = 100


def two_means(points: Array) -> NDArray[np.bool_]:
    """Lloyd's 2-means of points [n, k]: which of them [n] are in the first of two groups.

    It begins from the two points that are farthest apart, so no draw is needed. Where all points
    are equal they are one group.
    """
    distances = squared_distances(points @ points.T)  # [n, n]
    first, second = np.unravel_index(distances.argmax(), distances.shape)
    centres = points[[first, second]]
    groups = np.ones(len(points), dtype=bool)
    for _ in range(MOST_STEPS):
        to_first, to_second = (((points - centre) ** 2).sum(axis=1) for centre in centres)
        old, groups = groups, to_first <= to_second
        if groups.all() or (groups == old).all():
            break
        centres = np.stack([points[groups].mean(axis=0), points[~groups].mean(axis=0)])
    return groups


def squared_distances(gram: Array) -> Array:
    """norm(x_i - x_j)^2 [n, n] from the inner products of the points."""
    lengths = np.diag(gram)
    return np.maximum(lengths[:, None] + lengths[None, :] - 2 * gram, 0.0)
