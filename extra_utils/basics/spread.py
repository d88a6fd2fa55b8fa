"""Figures over several seeds, with their doubt."""

import math
import statistics
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import numpy as np


class Spread(NamedTuple):
    """A figure over n seeds: mean and sample standard deviation (of one seed alone: None)."""

    mean: float
    deviation: float | None
    n: int

    @property
    def half(self) -> float | None:
        """Of the mean's 95 % interval, Student's, which takes the figures for normal."""
        return self.deviation and t_quantile(self.n - 1) * self.deviation / math.sqrt(self.n)


def with_doubt(mean: float, doubt: float | None, digits: int = 1, sign: str = "") -> str:
    """Both with so many digits; ``sign``: "+" where it is to be shown."""
    own = f"{mean:{sign}.{digits}f}"
    return own if doubt is None else f"{own} ± {doubt:.{digits}f}"


def spread_of(values: Iterable[float | None]) -> Spread | None:
    """None where no seed has the figure."""
    numbers = [value for value in values if value is not None]
    if not numbers:
        return None
    deviation = statistics.stdev(numbers) if len(numbers) > 1 else None
    return Spread(statistics.fmean(numbers), deviation, len(numbers))


def difference_of(pairs: Iterable[tuple[float | None, float | None]]) -> Spread | None:
    """Of the first less the second of each pair; None where no pair has both."""
    return spread_of(a - b for a, b in pairs if a is not None and b is not None)


@cache
def t_quantile(freedom: int) -> float:
    """The t beyond which, on both sides together, 5 % of Student's distribution lie."""
    # with t = sqrt(freedom) tan(angle) its density becomes cos(angle)^(freedom - 1)
    angles = np.linspace(0, math.pi / 2, 200_001)
    density = np.cos(angles) ** (freedom - 1)
    below = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(freedom) * math.tan(float(np.interp(0.95 * below[-1], below, angles)))
