"""Figures over seeds, against values worked by hand and the textbook's table of t."""

from __future__ import annotations

import math

import pytest

from extra_utils.basics.spread import (
    Spread,
    difference_of,
    spread_of,
    t_quantile,
    with_doubt,
)


def test_seeds_become_a_mean_and_a_sample_standard_deviation() -> None:
    found = spread_of([1.0, 3.0])
    assert found == Spread(2.0, math.sqrt(2), 2)
    assert with_doubt(*found[:2]) == "2.0 ± 1.4"
    assert spread_of([None, 3.0]) == Spread(3.0, None, 1)  # nobody was flagged under one seed
    assert with_doubt(3.0, None, 2) == "3.00"
    assert spread_of([None, None]) is None


@pytest.mark.parametrize(
    ("freedom", "t"),
    [(1, 12.706), (2, 4.303), (4, 2.776), (9, 2.262), (29, 2.045), (120, 1.980)],
)
def test_t_is_the_textbooks(freedom: int, t: float) -> None:
    assert t_quantile(freedom) == pytest.approx(t, abs=6e-4)


def test_pairs_have_an_interval_that_their_common_noise_does_not_widen() -> None:
    """Differences 1, 2 and 3: mean 2, deviation 1, and 4.303 x 1 / sqrt(3) = 2.484."""
    found = difference_of([(51.0, 50.0), (12.0, 10.0), (93.0, 90.0), (None, 7.0)])
    assert found is not None
    assert found.half is not None
    assert (found.mean, found.n) == (2.0, 3)
    assert found.half == pytest.approx(2.484, abs=1e-3)
    assert with_doubt(found.mean, found.half, sign="+") == "+2.0 ± 2.5"


def test_of_one_pair_there_is_no_interval_and_of_none_nothing() -> None:
    found = difference_of([(1.0, 3.0)])
    assert found == Spread(-2.0, None, 1)
    assert found.half is None
    assert with_doubt(-2.0, None, 2, "+") == "-2.00"
    assert difference_of([(1.0, None), (None, None)]) is None
