"""Rules that look at each coordinate of the differences by itself. They are not weighted."""

import math
from functools import partial
from typing import Annotated

import numpy as np

from extra_utils.aggregation.messages import Aggregate, Array, State, Updates, by_samples
from extra_utils.config.values import Range


def median(updates: Updates, state: State) -> Aggregate:
    """the median of each coordinate; of an even number of clients the mean of the middle two

    Source: Yin et al., ICML 2018.
    """
    return Aggregate(by_samples(updates), per_coordinate=partial(np.median, axis=0), state=state)


def trimmed_mean(
    updates: Updates, state: State, *, beta: Annotated[float, Range(0, 0.5)] = 0.2
) -> Aggregate:
    """the mean of each coordinate without its largest and its smallest values

    `beta`: the share of the clients that is cut off at each end; at least that of the attackers

    Source: Yin et al., ICML 2018.
    """
    cut = num_trimmed(len(updates.samples), beta)

    def mean_of_kept(block: Array) -> Array:
        return np.sort(block, axis=0)[cut : len(block) - cut].mean(axis=0)

    return Aggregate(by_samples(updates), per_coordinate=mean_of_kept, state=state)


def num_trimmed(n: int, beta: float) -> int:
    """floor(beta n), where 0.29 x 100 is 29."""
    return math.floor(beta * n + 1e-9)
