"""Streams are named, and independent of each other."""

from __future__ import annotations

from itertools import product

from extra_utils.basics.random_streams import Purpose, stream, torch_seed


def test_each_name_has_its_own_stream() -> None:
    names = list(product((0, 1), Purpose, (0, 1), (0, 1)))
    draws = {name: int(stream(*name).integers(2**62)) for name in names}
    assert len(set(draws.values())) == len(names)
    assert draws == {name: int(stream(*name).integers(2**62)) for name in names}


def test_a_torch_seed_is_what_torch_takes() -> None:
    seeds = {torch_seed(0, purpose) for purpose in Purpose}
    assert len(seeds) == len(Purpose)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_draws_never_change() -> None:
    """Published results depend on them."""
    assert stream(0, Purpose.TRAINING, 1, 2).integers(1000, size=3).tolist() == DRAWS


DRAWS = [55, 643, 987]
