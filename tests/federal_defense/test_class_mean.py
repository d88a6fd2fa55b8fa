"""Our own rule: found and left alone, whatever the clients' order, and remembered."""

from __future__ import annotations

import numpy as np
import pytest

from extra_utils.aggregation.messages import Array, State
from federal_defense.class_mean import class_mean, evidence, least_ratio, smaller_group
from tests.federal_defense.rules.test_table import Dense

CLASSES = 10


def weight_matrix(n: int, num_attackers: int, seed: int = 0, gap: float = 6.0) -> Array:
    """Class means [n, C] of noise 1; the last clients lack class 1 and have more of class 4."""
    matrix: Array = np.random.default_rng(seed).normal(size=(n, CLASSES))
    matrix[n - num_attackers :, 1] -= gap
    matrix[n - num_attackers :, 4] += gap / 2
    return matrix + np.arange(CLASSES)


def updates_of(matrix: Array) -> Dense:
    updates = Dense(matrix)
    updates.class_means = matrix
    return updates


@pytest.mark.parametrize(("n", "num_attackers"), [(10, 1), (10, 4), (20, 2), (20, 8), (100, 45)])
def test_attackers_are_found_without_knowing_how_many(n: int, num_attackers: int) -> None:
    for seed in range(10):
        aggregate = class_mean(updates_of(weight_matrix(n, num_attackers, seed, gap=9)), {})
        assert aggregate.flagged is not None
        assert aggregate.flagged.nonzero()[0].tolist() == list(range(n - num_attackers, n))


@pytest.mark.parametrize("n", [5, 10, 20, 100])
def test_rounds_without_attack_are_left_alone(n: int) -> None:
    suspected = [(evidence(weight_matrix(n, 0, seed)) > 0).mean() for seed in range(200)]
    assert np.mean(suspected) < 0.02  # of the clients, in 200 rounds of pure noise


@pytest.mark.parametrize("n", [5, 10, 20])
def test_memory_does_not_make_much_of_a_false_alarm(n: int) -> None:
    shares = []
    for run in range(20):
        state: State = {}
        for turn in range(30):
            aggregate = class_mean(updates_of(weight_matrix(n, 0, 100 * run + turn)), state)
            state = aggregate.state
            assert aggregate.flagged is not None
            shares.append(aggregate.flagged.mean())
    assert np.mean(shares) < 0.03  # of the clients, in 20 runs of 30 rounds


def test_equal_clients_are_left_alone() -> None:
    assert not evidence(np.ones((7, CLASSES))).any()
    matrix = np.ones((7, CLASSES))
    matrix[3, 1] = 2  # one class alone differs: its spread cannot be compared with the others'
    assert not evidence(matrix).any()


def test_the_order_of_clients_and_classes_does_not_matter() -> None:
    matrix = weight_matrix(20, 8)
    order = np.random.default_rng(1).permutation(20)
    classes = np.random.default_rng(2).permutation(CLASSES)
    assert np.allclose(evidence(matrix)[order], evidence(matrix[order]))
    assert np.allclose(evidence(matrix), evidence(matrix[:, classes]))


def test_suspicion_stays_when_the_evidence_is_gone_and_fades() -> None:
    first = class_mean(updates_of(weight_matrix(20, 8, gap=9)), {})
    quiet = updates_of(weight_matrix(20, 0))
    state, flagged_rounds = first.state, 0
    for _ in range(60):
        aggregate = class_mean(quiet, state)
        state = aggregate.state
        assert aggregate.flagged is not None
        flagged_rounds += int(aggregate.flagged.any())
    assert 5 < flagged_rounds < 60


def test_the_state_is_by_client_not_by_place() -> None:
    updates = updates_of(weight_matrix(20, 8, gap=9))
    updates.client_ids, updates.num_clients = list(range(0, 40, 2)), 40
    aggregate = class_mean(updates, {})
    assert aggregate.state["suspicion"].shape == (40,)
    assert (aggregate.state["suspicion"] > 0).nonzero()[0].tolist() == list(range(24, 40, 2))


def test_groups_and_ratios() -> None:
    assert smaller_group(np.array([0.0, 0.1, 5.0])).tolist() == [False, False, True]
    assert smaller_group(np.array([0.0, 0.1, 5.0, 5.1])).tolist() == [True, True, False, False]
    assert least_ratio(20) == pytest.approx(1.75)
    assert least_ratio(5) == pytest.approx(1 + 3.3 / 5**0.5)
