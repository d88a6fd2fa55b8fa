"""Our own rule: found and left alone, whatever the clients' order, and remembered."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from extra_utils.aggregation.messages import Array, State
from federal_defense.class_mean import class_mean, evidence, most_suspected
from tests.federal_defense.rules.test_table import Dense

CLASSES = 10
RECORDED = json.loads(Path(__file__).with_name("recorded_class_means.json").read_text())


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


def test_a_round_speaks_for_those_on_the_other_side_too() -> None:
    matrix = weight_matrix(20, 8, gap=9)
    found = evidence(matrix)
    assert (found[:12] < 0).all()
    assert (found[12:] > 0).all()
    suspected = {"suspicion": np.full(20, 1.0)}
    left = class_mean(updates_of(matrix), suspected).state["suspicion"]
    assert np.allclose(left, 0.9 + found)


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


def flags_of(rounds: list[Array]) -> NDArray[np.bool_]:
    """What the rule flags [rounds, n] in rounds that were recorded."""
    state: State = {}
    flags = []
    for matrix in rounds:
        aggregate = class_mean(updates_of(np.array(matrix)), state)
        state = aggregate.state
        assert aggregate.flagged is not None
        flags.append(aggregate.flagged)
    return np.array(flags)


@pytest.mark.parametrize(
    ("name", "least_found", "most_honest"),
    [("shirts", 7, 2), ("pullovers", 8, 0), ("dogs", 8, 1), ("nobody", 0, 0)],
)
def test_recorded_rounds(name: str, least_found: int, most_honest: int) -> None:
    """Of 8 attackers and 12 honest clients, from round 3 on; nobody is flagged in round 1."""
    attackers = np.isin(np.arange(20), RECORDED[name]["attackers"])
    flags = flags_of(RECORDED[name]["rounds"])
    assert not flags[0].any()
    assert (flags[2:, attackers].sum(axis=1) >= least_found).all()
    assert (flags[2:, ~attackers].sum(axis=1) <= most_honest).all()


def test_honest_clients_that_hold_the_attacked_class_are_never_flagged() -> None:
    """They once were, all eight: the smaller group in the class of the shirts."""
    holders = [0, 2, 5, 10, 12, 13, 15, 17]  # the others hold at most 21 shirts, or flip them
    assert not flags_of(RECORDED["shirts"]["rounds"])[:, holders].any()


def test_a_group_that_raises_a_class_turns_nobody_against_the_others() -> None:
    for num_attackers in (2, 8):
        matrix = weight_matrix(20, 0)
        matrix[20 - num_attackers :, 5] += 9  # a backdoor's target: the honest are the lower ones
        assert not evidence(matrix).any()


@pytest.mark.parametrize("n", [5, 6, 10, 11, 20])
def test_fewer_than_half_are_flagged_whatever_the_matrices(n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(20):
        state: State = {}
        for _ in range(10):
            matrix = rng.standard_t(df=1.5, size=(n, CLASSES))
            matrix[: rng.integers(n), rng.integers(CLASSES)] -= rng.uniform(0, 30)
            aggregate = class_mean(updates_of(matrix), state)
            state = aggregate.state
            assert aggregate.flagged is not None
            assert aggregate.flagged.sum() <= (n - 1) // 2


def test_of_too_many_suspects_the_most_suspected() -> None:
    assert most_suspected(np.array([0.1, 0.4, 0.3, 0.2, -1.0])).tolist() == [0, 1, 1, 0, 0]
    assert not most_suspected(np.full(6, 0.5)).any()  # no reason to take one rather than another
    assert not most_suspected(np.array([0.04, 0.0, 0.0, -1.0, -1.0])).any()


def small_matrix(low: list[float], level: float = 0.0) -> Array:
    """Class means [n, 5] of spread 1 but in class 1, whose are given."""
    matrix = np.tile(np.resize([1.0, -1.0], len(low))[:, None], (1, 5))
    matrix[:, 1] = low
    return matrix + level * np.eye(5)[1]


@pytest.mark.parametrize(("times", "least_ratio"), [(1, 1 + 3.3 / 10**0.5), (2, 1.75)])
def test_evidence_worked_by_hand(times: int, least_ratio: float) -> None:
    """The groups' means are -10 and 0; who is at one has all of it, at -6 the fifth part.

    Of 10 clients or of 20: from few the ratio must be larger.
    """
    low = times * [-11.0, -13, -6, 1, 1, 1, -1, -1, -1, 0]
    strength = float(np.std(low)) / least_ratio - 1
    expected = times * [1, 1, 0.2, -1, -1, -1, -0.8, -0.8, -0.8, -1]
    assert evidence(small_matrix(low)) == pytest.approx(strength * np.array(expected))


def test_the_lower_group_is_spoken_against_be_it_the_first_clients_or_not() -> None:
    assert (evidence(small_matrix([-20.0, -21, 1, 0, 1, -1])) > 0).tolist() == [1, 1, 0, 0, 0, 0]
    assert (evidence(small_matrix([1.0, 0, -20, 1, -1, -21])) > 0).tolist() == [0, 0, 1, 0, 0, 1]


def test_half_of_the_clients_speak_only_where_the_model_has_unlearned_a_class() -> None:
    low = [-20.0, -21, -19, 0, 1, -1]
    assert (evidence(small_matrix(low)) != 0).all()
    assert not evidence(small_matrix(low, level=50)).any()
