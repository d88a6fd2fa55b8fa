"""Figures over several seeds, with their doubt."""

import math
import statistics
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import numpy as np

CONFIDENCE = 0.95


class Spread(NamedTuple):
    """A figure over n seeds: mean and sample standard deviation (of one seed alone: None)."""

    mean: float
    deviation: float | None
    n: int

    def text(self, digits: int = 1) -> str:
        own = f"{self.mean:.{digits}f}"
        return own if self.deviation is None else f"{own} ± {self.deviation:.{digits}f}"


class Difference(NamedTuple):
    """A mean of n paired differences, and half its 95 % interval (of one pair alone: None)."""

    mean: float
    half: float | None
    n: int

    def text(self, digits: int = 1) -> str:
        own = f"{self.mean:+.{digits}f}"
        return own if self.half is None else f"{own} ± {self.half:.{digits}f}"


def spread_of(values: Iterable[float | None]) -> Spread | None:
    """None where no seed has the figure."""
    numbers = [value for value in values if value is not None]
    if not numbers:
        return None
    deviation = statistics.stdev(numbers) if len(numbers) > 1 else None
    return Spread(statistics.fmean(numbers), deviation, len(numbers))


def difference_of(pairs: Iterable[tuple[float | None, float | None]]) -> Difference | None:
    """Of the first less the second of each pair; None where no pair has both.

    The interval is Student's: t x deviation / sqrt(n), which takes the differences for normal.
    """
    spread = spread_of(a - b for a, b in pairs if a is not None and b is not None)
    if spread is None:
        return None
    mean, deviation, n = spread
    half = None if deviation is None else t_quantile(n - 1) * deviation / math.sqrt(n)
    return Difference(mean, half, n)


@cache
def t_quantile(freedom: int) -> float:
    """The t beyond which, on both sides together, 5 % of Student's distribution lie.

    With t = sqrt(freedom) tan(angle) its density becomes cos(angle)^(freedom - 1).
    """
    angles = np.linspace(0, math.pi / 2, 200_001)
    density = np.cos(angles) ** (freedom - 1)
    below = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(freedom) * math.tan(float(np.interp(CONFIDENCE * below[-1], below, angles)))
