"""What stands in front of a rule, which then sees means of the clients' differences."""

from dataclasses import replace
from functools import cached_property

import numpy as np

from extra_utils.aggregation.messages import Added, Aggregate, Array, Rule, State, Updates
from extra_utils.basics.errors import WrongKey, show
from extra_utils.basics.random_streams import Purpose
from extra_utils.config.keys import DefenseConfig
from federal_defense.two_means import squared_distances

SINGLES_OUT = {  # rules that remember, trust or know single clients
    "nnm": ("fltrust", "oracle"),
    "bucketing": ("foolsgold", "class_mean", "class_rows", "fltrust", "oracle"),
}


class Mixed:
    """Updates in which row i is a mean of the clients', by the matrix [m, n], whose rows sum to 1.

    What a rule is given is linear in the differences, so no difference is touched."""

    def __init__(self, updates: Updates, matrix: Array) -> None:
        self._updates, self._matrix, self.draw = updates, matrix, updates.draw
        is_by_client = len(matrix) == len(updates.samples)
        self.client_ids = updates.client_ids if is_by_client else list(range(len(matrix)))
        self.num_clients = updates.num_clients if is_by_client else len(matrix)
        self.samples: Array = matrix @ updates.samples
        self.is_attacker = np.zeros(len(matrix), dtype=bool)  # the oracle is refused

    @cached_property
    def class_means(self) -> Array:
        return self._matrix @ self._updates.class_means

    def gram(self, added: Added | None = None) -> Array:
        m, n = self._matrix.shape
        matrix = np.eye(m + 1, n + 1, n - m)  # an added row stays as it is
        matrix[:m, :n] = self._matrix
        matrix = self._matrix if added is None else matrix
        return matrix @ self._updates.gram(added) @ matrix.T

    def output_layer(self) -> Array:
        return np.tensordot(self._matrix, self._updates.output_layer(), axes=1)


def nnm(updates: Updates, defense: DefenseConfig) -> Array:
    """Each row [n, n] is the mean of the n - f nearest differences, itself included.

    Source: Allouah et al., AISTATS 2023."""
    squared = squared_distances(updates.gram())
    nearest = np.argsort(squared, axis=1, kind="stable")[:, : len(squared) - defense.pre_f]
    matrix = np.zeros_like(squared)
    np.put_along_axis(matrix, nearest, 1 / nearest.shape[1], axis=1)
    return matrix


def bucketing(updates: Updates, defense: DefenseConfig) -> Array:
    """Each row [n / s, n] is the mean of the next s clients in an order drawn for the round.

    Source: Karimireddy et al., ICLR 2022."""
    n = len(updates.samples)
    matrix = np.zeros((num_after(defense, n), n))
    order = updates.draw(Purpose.BUCKETS, 0).permutation(n)
    matrix[np.arange(n) // defense.pre_s, order] = 1
    return matrix / matrix.sum(axis=1, keepdims=True)


MATRICES = {"nnm": nnm, "bucketing": bucketing}


def on_means(updates: Updates, state: State, *, rule: Rule, defense: DefenseConfig) -> Aggregate:
    """What the rule makes of the means, in terms of the clients."""
    matrix = MATRICES[defense.pre or ""](updates, defense)
    found = rule(Mixed(updates, matrix), state)
    weights = found.weights @ matrix
    factors = (found.weights * found.factors) @ matrix / np.maximum(weights, 1e-300)
    flagged = None if found.flagged is None else weights == 0
    inner = found.per_coordinate
    outer = None if inner is None else lambda block: inner(matrix @ block)
    return replace(found, weights=weights, factors=factors, flagged=flagged, per_coordinate=outer)


def check_pre(defense: DefenseConfig, n: int) -> None:
    """Raises WrongKey where what is in front of the rule does not go with it, or with n clients."""
    if defense.pre is not None and defense.name in SINGLES_OUT[defense.pre]:
        why = f"{defense.name} singles out clients, which {defense.pre} has mixed"
        raise WrongKey("defense.pre", f"got {show(defense.pre)}; {why}")
    key = "pre_f" if defense.pre == "nnm" else "pre_s"
    if defense.pre is not None and n <= (own := getattr(defense, key)):
        raise WrongKey(f"defense.{key}", f"{defense.pre} needs n > {key}, got n={n}, {key}={own}")


def num_after(defense: DefenseConfig, n: int) -> int:
    """How many differences the rule is given."""
    return -(-n // defense.pre_s) if defense.pre == "bucketing" else n
