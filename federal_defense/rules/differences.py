"""Rules that look at whole differences: each coordinate by itself, or lengths and distances.

The first ones count all clients alike; all that the others need is a Gram matrix.
"""

import math
from functools import partial
from typing import Annotated

import numpy as np

from extra_utils.aggregation.messages import Aggregate, Array, State, Updates, by_samples, without
from extra_utils.basics.random_streams import Purpose
from extra_utils.config.values import Count, CountOrZero, Positive, Range
from federal_defense.two_means import squared_distances

SMOOTHING = 1e-6  # nu: the distance below which the geometric median no longer sharpens


def median(updates: Updates, state: State) -> Aggregate:
    """the median of each coordinate; of an even number of clients the mean of the middle two

    Source: Yin et al., ICML 2018."""
    return Aggregate(by_samples(updates), per_coordinate=partial(np.median, axis=0), state=state)


def trimmed_mean(
    updates: Updates, state: State, *, beta: Annotated[float, Range(0, 0.5)] = 0.2
) -> Aggregate:
    """the mean of each coordinate without its largest and its smallest values

    `beta`: the share of the clients that is cut off at each end; at least that of the attackers
    Source: Yin et al., ICML 2018."""
    cut = num_trimmed(len(updates.samples), beta)

    def mean_of_kept(block: Array) -> Array:
        return np.sort(block, axis=0)[cut : len(block) - cut].mean(axis=0)

    return Aggregate(by_samples(updates), per_coordinate=mean_of_kept, state=state)


def num_trimmed(n: int, beta: float) -> int:
    """floor(beta n), where 0.29 x 100 is 29."""
    return math.floor(beta * n + 1e-9)


def krum(updates: Updates, state: State, *, f: CountOrZero = 1) -> Aggregate:
    """the one difference that is nearest to its n - f - 2 nearest neighbours

    `f`: how many attackers are assumed
    Source: Blanchard et al., NeurIPS 2017."""
    return multi_krum(updates, state, f=f, m=1)


def multi_krum(
    updates: Updates, state: State, *, f: CountOrZero = 1, m: Count | None = None
) -> Aggregate:
    """the mean of the m differences that are nearest to their n - f - 2 nearest neighbours

    `f`: how many attackers are assumed
    `m`: how many clients are kept (null: n - f)
    Source: Blanchard et al., NeurIPS 2017."""
    squared = squared_distances(updates.gram())
    np.fill_diagonal(squared, np.inf)
    n = len(squared)
    scores = np.sort(squared, axis=1)[:, : n - f - 2].sum(axis=1)
    nearest = np.argsort(scores, kind="stable")  # of equal ones the lowest client comes first
    flagged = np.ones(n, dtype=bool)
    flagged[nearest[: m or n - f]] = False
    return without(updates, flagged, state)


def geometric_median(updates: Updates, state: State, *, steps: Count = 100) -> Aggregate:
    """the point with the least sum of distances to all differences (RFA)

    `steps`: the most steps of Weiszfeld's iteration

    A client's weight in the sum is its share of the images.
    Source: Pillutla et al., IEEE Transactions on Signal Processing 2022."""
    gram, shares = updates.gram(), by_samples(updates)
    weights = shares
    for _ in range(steps):
        towards = gram @ weights  # <z, d_i>
        squared = weights @ towards - 2 * towards + np.diag(gram)  # norm(z - d_i)^2
        pulls = shares / np.maximum(SMOOTHING, np.sqrt(np.maximum(squared, 0.0)))
        old, weights = weights, pulls / pulls.sum()
        if np.abs(weights - old).max() < 1e-12:
            break
    return Aggregate(weights, state=state)


def norm_clipping(
    updates: Updates, state: State, *, tau: Positive | None = None, sigma: Positive | None = None
) -> Aggregate:
    """the mean of the differences, of which long ones are shortened

    `tau`: the length that no difference exceeds (null: the median of the round's lengths)
    `sigma`: weak differential privacy: normal noise of this deviation; no budget is accounted for
    Source: Sun et al. 2019, arXiv 1911.07963."""

    def noise(number: int, block: Array) -> Array:
        drawn = updates.draw(Purpose.NOISE, number).standard_normal(block.shape[1:])
        return drawn * (sigma or 0.0)

    lengths = np.sqrt(np.maximum(np.diag(updates.gram()), 0.0))
    limit = float(np.median(lengths)) if tau is None else tau
    factors = np.minimum(1.0, limit / np.maximum(lengths, 1e-300))
    added = None if sigma is None else noise
    return Aggregate(by_samples(updates), factors=factors, added=added, state=state)
