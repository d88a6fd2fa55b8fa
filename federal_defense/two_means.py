"""Two groups of points, found the same way whatever the points' order."""

import numpy as np
from numpy.typing import NDArray

from extra_utils.aggregation.messages import Array

MOST_STEPS = 100
MOST_BEGINNINGS = 100


def two_means(points: Array) -> NDArray[np.bool_]:
    """Lloyd's 2-means of points [n, k]: which of them [n] are in the first one's group.

    Where Lloyd's steps end depends on where they begin, so there is a beginning for each of the
    outermost points: those nearer to it than to the point farthest from it. All go on side by
    side, and the least sum of squared distances counts; no draw is needed. Where all points are
    equal they are one group."""
    centred = points - points.mean(axis=0)
    gram = centred @ centred.T  # [n, n]
    squared = squared_distances(gram)
    outer = np.argsort(-np.diag(gram), kind="stable")[:MOST_BEGINNINGS]
    groups = squared[outer] <= squared[squared[outer].argmax(axis=1)]  # [beginnings, n]
    for _ in range(MOST_STEPS):
        to_first, to_second = to_centres(gram, groups), to_centres(gram, ~groups)
        old, groups = groups, to_first <= to_second
        if (groups == old).all():
            break
    ends = np.minimum(to_first, to_second).sum(axis=1)
    best = groups[ends.argmin()]
    return best == best[0]


def to_centres(gram: Array, groups: NDArray[np.bool_]) -> Array:
    """Squared distances [m, n] of all points to the centre of each of m groups [m, n]."""
    weights = groups / np.maximum(groups.sum(axis=1, keepdims=True), 1)
    towards = weights @ gram
    return np.diag(gram) - 2 * towards + (towards * weights).sum(axis=1, keepdims=True)


def squared_distances(gram: Array) -> Array:
    """norm(x_i - x_j)^2 [n, n] from the inner products of the points."""
    lengths = np.diag(gram)
    return np.maximum(lengths[:, None] + lengths[None, :] - 2 * gram, 0.0)
