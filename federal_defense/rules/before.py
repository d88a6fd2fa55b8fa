"""What stands in front of a rule, which then sees means of the clients' differences."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from extra_utils.aggregation.messages import Added, Aggregate, Array, Rule, State, Updates
from extra_utils.basics.errors import WrongKey, show
from extra_utils.basics.random_streams import Purpose
from extra_utils.config.keys import DefenseConfig
from federal_defense.two_means import squared_distances

SINGLES_OUT = {  # rules that remember, trust or know single clients
    "nnm": ("fltrust", "oracle"),
    "bucketing": ("foolsgold", "class_mean", "fltrust", "oracle"),
}


class Mixed:
    """Updates in which row i is a mean of the clients', by the matrix [m, n], whose rows sum to 1.

    What a rule is given is linear in the differences, so no difference is touched.
    """

    def __init__(self, updates: Updates, matrix: Array) -> None:
        self._updates, self._matrix, self.draw = updates, matrix, updates.draw
        is_mixed = len(matrix) < len(updates.samples)  # rows are clients no more
        self.client_ids = list(range(len(matrix))) if is_mixed else updates.client_ids
        self.num_clients = len(matrix) if is_mixed else updates.num_clients
        self.samples: Array = matrix @ updates.samples

    @cached_property
    def class_means(self) -> Array:
        return self._matrix @ self._updates.class_means

    @cached_property
    def is_attacker(self) -> NDArray[np.bool_]:
        raise AssertionError("the oracle is refused here")

    def gram(self, added: Added | None = None) -> Array:
        m, n = self._matrix.shape
        mixed = np.eye(m + 1, n + 1, n - m)  # the added row stays as it is
        mixed[:m, :n] = self._matrix
        mixed = mixed if added is not None else self._matrix
        return mixed @ self._updates.gram(added) @ mixed.T

    def output_layer(self) -> Array:
        return np.tensordot(self._matrix, self._updates.output_layer(), axes=1)


def nnm(updates: Updates, f: int) -> Array:
    """Each row [n, n] is the mean of the n - f nearest differences, itself included.

    Source: Allouah et al., AISTATS 2023.
    """
    squared = squared_distances(updates.gram())
    nearest = np.argsort(squared, axis=1, kind="stable")[:, : len(squared) - f]
    matrix = np.zeros_like(squared)
    np.put_along_axis(matrix, nearest, 1 / nearest.shape[1], axis=1)
    return matrix


def bucketing(updates: Updates, s: int) -> Array:
    """Each row [n / s, n] is the mean of the next s clients in an order drawn for the round.

    Source: Karimireddy et al., ICLR 2022.
    """
    n = len(updates.samples)
    order = updates.draw(Purpose.BUCKETS, 0).permutation(n)
    matrix = np.zeros((-(-n // s), n))
    matrix[np.arange(n) // s, order] = 1
    return matrix / matrix.sum(axis=1, keepdims=True)


def with_pre(rule: Rule, defense: DefenseConfig) -> Rule:
    """The rule behind what the config puts in front of it."""
    if defense.pre is None:
        return rule
    kind, number = (nnm, assumed(defense)) if defense.pre == "nnm" else (bucketing, size(defense))
    return partial(on_means, rule=rule, matrix_of=lambda updates: kind(updates, number))


def on_means(
    updates: Updates, state: State, *, rule: Rule, matrix_of: Callable[[Updates], Array]
) -> Aggregate:
    """What the rule makes of the means, in terms of the clients."""
    matrix = matrix_of(updates)
    found = rule(Mixed(updates, matrix), state)
    weights = found.weights @ matrix
    factors = (found.weights * found.factors) @ matrix / np.maximum(weights, 1e-300)
    flagged = None if found.flagged is None else weights == 0
    inner = found.per_coordinate
    outer = None if inner is None else lambda block: inner(matrix @ block)
    return replace(found, weights=weights, factors=factors, flagged=flagged, per_coordinate=outer)


def check_pre(defense: DefenseConfig, n: int) -> int:
    """How many differences n clients are behind it. Raises WrongKey where that cannot be."""
    if defense.pre is not None and defense.name in SINGLES_OUT[defense.pre]:
        why = f"{defense.name} singles out clients, which {defense.pre} has mixed"
        raise WrongKey("defense.pre", f"got {show(defense.pre)}; {why}")
    if defense.pre == "nnm" and n <= assumed(defense):
        raise WrongKey("defense.pre_f", f"nnm needs n > pre_f, got n={n}, pre_f={assumed(defense)}")
    return -(-n // size(defense)) if defense.pre == "bucketing" else n


def assumed(defense: DefenseConfig) -> int:
    return 1 if defense.pre_f is None else defense.pre_f


def size(defense: DefenseConfig) -> int:
    return defense.pre_s or 2
