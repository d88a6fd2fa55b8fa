"""Two groups of points, against all ways to split them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from extra_utils.aggregation.messages import Array
from federal_defense.two_means import squared_distances, two_means


def scatter(points: Array, group: NDArray[np.bool_]) -> float:
    """The sum of squared distances to the two groups' centres."""
    parts = [points[mask] for mask in (group, ~group) if mask.any()]
    return sum(float(((part - part.mean(axis=0)) ** 2).sum()) for part in parts)


def all_splits(n: int) -> list[NDArray[np.bool_]]:
    """The last point is always in the first group, so that none comes twice."""
    bits = np.arange(n - 1)
    return [np.append((number >> bits) & 1, 1).astype(bool) for number in range(2 ** (n - 1) - 1)]


@pytest.mark.parametrize("width", [1, 2, 100])
def test_the_split_is_the_best_of_all_or_close_to_it(width: int) -> None:
    draw, splits = np.random.default_rng(0), all_splits(9)
    ratios = []
    for turn in range(40):
        points = draw.normal(size=(9, width)) if turn % 2 else draw.exponential(size=(9, width))
        best = min(scatter(points, split) for split in splits)
        ratios.append(scatter(points, two_means(points)) / best)
    assert min(ratios) > 1 - 1e-9
    assert max(ratios) < 1.1
    if width < 3:
        assert np.median(ratios) == pytest.approx(1)


def test_every_beginning_is_followed_to_its_end() -> None:
    """Against Lloyd's steps on the points themselves, one beginning after the other."""
    for seed in range(30):
        points = np.random.default_rng(seed).normal(size=(14, 3))
        ends = [lloyd(points, first) for first in range(len(points))]
        best = min(ends, key=lambda group: scatter(points, group))
        assert two_means(points).tolist() == (best == best[0]).tolist(), seed


def lloyd(points: Array, first: int) -> NDArray[np.bool_]:
    """The group that ends where the points nearer to one point than to its farthest began."""
    far = int(np.linalg.norm(points - points[first], axis=1).argmax())
    centres, group = points[[first, far]], np.zeros(len(points), dtype=bool)
    for _ in range(50):
        to_both = [np.linalg.norm(points - centre, axis=1) for centre in centres]
        group = to_both[0] <= to_both[1]
        centres = np.stack([points[group].mean(axis=0), points[~group].mean(axis=0)])
    return group


def test_two_clear_groups_are_found_however_many_points() -> None:
    points = np.random.default_rng(0).normal(size=(300, 5))
    points[:40] += 9
    group = two_means(points)
    assert group.nonzero()[0].tolist() == list(range(40))


def test_equal_points_are_one_group() -> None:
    assert two_means(np.ones((6, 3))).all()
    assert two_means(np.zeros((1, 3))).all()


def test_distances_come_from_inner_products() -> None:
    points = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert squared_distances(points @ points.T).tolist() == [[0.0, 25.0], [25.0, 0.0]]
