"""Bulyan, centered clipping, FLTrust and RLR: by hand, by their formulae, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from extra_utils.aggregation.messages import Array
from extra_utils.basics.errors import WrongKey
from extra_utils.config.keys import AttackConfig
from federal_defense.rules.compared import bulyan, centered_clipping, fltrust, rlr
from federal_defense.rules.table import check_bounds
from tests.federal_defense.rules.test_table import Dense, judge, make_config, step_of


def test_bulyan_by_hand() -> None:
    """Of seven clients five are taken, then the three in the middle of them.

    The last one is taken of three by its one nearest neighbour: 50, whose neighbour is 40, and not
    4. What comes after that is there for such a case.
    """
    updates = Dense([0, 50, 1, 2, 40, 3, 4])
    found = bulyan(updates, {}, f=1)
    assert step_of(found, updates).tolist() == [2.0]
    assert found.weights.tolist() == pytest.approx([0.2, 0.2, 0.2, 0.2, 0, 0.2, 0])
    assert found.flagged is None
    # near the median 1 of 0, 0, 1, 8, 9 are 0, 0 and 1, and no farther ones
    lopsided = Dense([0, 0, 1, 8, 9, 1000, 2000])
    assert step_of(bulyan(lopsided, {}, f=1), lopsided).tolist() == pytest.approx([1 / 3])


def slow_bulyan(diffs: Array, f: int) -> Array:
    left, taken, n = dict(enumerate(diffs)), list[Array](), len(diffs)
    while len(taken) < n - 2 * f:
        scores = {}
        for i, own in left.items():
            gaps = sorted(float(((own - d) ** 2).sum()) for j, d in left.items() if j != i)
            scores[i] = sum(gaps[: max(1, len(left) - f - 2)])
        best = min(scores, key=lambda i: (scores[i], i))
        taken.append(left.pop(best))
    step = []
    for column in np.array(taken).T:
        median = float(np.median(column))
        nearest = np.argsort([abs(value - median) for value in column], kind="stable")
        step.append(float(np.mean([column[place] for place in nearest[: n - 4 * f]])))
    return np.array(step)


@pytest.mark.parametrize(("n", "f"), [(7, 1), (12, 2), (20, 4), (5, 0)])
def test_bulyan_is_its_papers_procedure(n: int, f: int) -> None:
    for seed in range(4):
        diffs = np.random.default_rng(seed).standard_normal((n, 30))
        diffs[:f] += 5
        updates = Dense(diffs, np.arange(1.0, n + 1))
        assert np.allclose(step_of(bulyan(updates, {}, f=f), updates), slow_bulyan(diffs, f))


def slow_centered_clipping(diffs: Array, v: Array, tau: float, steps: int) -> Array:
    for _ in range(steps):
        gaps = [d - v for d in diffs]
        v = v + np.mean([g * min(1.0, tau / float(np.linalg.norm(g))) for g in gaps], axis=0)
    return v


@pytest.mark.parametrize(("tau", "steps"), [(100.0, 1), (1.0, 1), (0.5, 3), (2.0, 5)])
def test_centered_clipping_goes_on_from_the_last_rounds_step(tau: float, steps: int) -> None:
    generator = np.random.default_rng(0)
    first, second = (Dense(generator.standard_normal((6, 9)), [1.0, 5, 2, 9, 3, 4]) for _ in "ab")
    found = centered_clipping(first, {}, tau=tau, steps=steps)
    step = step_of(found, first)
    assert np.allclose(step, slow_centered_clipping(first.diffs, np.zeros(9), tau, steps))
    assert found.keeps_step
    found = centered_clipping(second, {"step": step}, tau=tau, steps=steps)
    assert np.allclose(
        step_of(found, second), slow_centered_clipping(second.diffs, step, tau, steps)
    )
    assert found.weights.tolist() == pytest.approx(second.samples / 24)  # of running statistics


def test_a_part_of_the_last_step_goes_with_its_block() -> None:
    """Blocks of 4 of a step of 6 values: the second one is filled up with zeros."""
    found = centered_clipping(Dense(np.zeros((3, 6))), {"step": np.arange(6.0)}, tau=1e-9)
    assert found.added is not None
    blocks = [found.added(number, np.zeros((3, 4))) for number in (0, 1)]
    assert np.allclose(blocks, [[0, 1, 2, 3], [4, 5, 0, 0]])


def test_fltrust_by_hand() -> None:
    updates = Dense([[2.0, 0.0], [3.0, 4.0], [-1.0, 5.0], [6.0, 8.0], [0.0, 1.0]])
    found = fltrust(updates, {})  # cosines 0.6, below 0, 0.6, 0
    assert found.weights.tolist() == pytest.approx([0, 0.5, 0, 0.5, 0])
    assert step_of(found, updates).tolist() == pytest.approx([1.2, 1.6])  # as long as client 0's
    nobody = fltrust(Dense([[1.0, 0.0], [-1.0, 0.0], [-2.0, 1.0]]), {})
    assert nobody.weights.tolist() == [0, 0, 0]  # the model stays, and not the mean


def test_fltrust_does_not_depend_on_the_others_order() -> None:
    diffs = np.random.default_rng(1).standard_normal((6, 5)) + 0.5
    order = [0, 4, 2, 5, 1, 3]
    one, other = Dense(diffs), Dense(diffs[order])
    assert np.allclose(step_of(fltrust(one, {}), one), step_of(fltrust(other, {}), other))


def test_fltrust_is_refused_where_client_0_cannot_be_trusted() -> None:
    config = make_config("fltrust", 5)
    check_bounds(config)
    flip = AttackConfig(name="label_flip", clients=[2, 3])
    check_bounds(replace(config, attack=[flip]))
    reasons = {
        "attacks here, or may be drawn to": replace(
            config, attack=[flip, replace(flip, clients=[4, 0], start_round=5)]
        ),
        "may be drawn to": replace(
            config, attack=[replace(flip, fraction=0.2, sample_clients="each_round")]
        ),
        "sits out unless drawn: clients_per_round is 4": replace(config, clients_per_round=4),
    }
    for reason, wrong in reasons.items():
        with pytest.raises(WrongKey, match=reason):
            check_bounds(wrong)
    drawn = [replace(config, seed=s, attack=[replace(flip, fraction=0.4)]) for s in range(8)]
    for one in drawn:
        if 0 in one.attackers(1):
            with pytest.raises(WrongKey, match="attacks here"):
                check_bounds(one)
        else:
            check_bounds(one)
    assert {0 in one.attackers(1) for one in drawn} == {True, False}


def test_rlr_by_hand() -> None:
    diffs = [[1.0, 1.0, 0.0], [2.0, -1.0, 4.0], [3.0, -1.0, -4.0], [6.0, 5.0, 8.0]]
    updates = Dense(diffs, [1.0, 1, 1, 1])  # signs add up to 4, 0 and 1
    assert step_of(rlr(updates, {}, theta=2), updates).tolist() == [3.0, -1.0, -2.0]
    assert step_of(rlr(updates, {}, theta=1), updates).tolist() == [3.0, -1.0, 2.0]
    weighted = Dense(diffs, [1.0, 0, 0, 3])
    assert step_of(rlr(weighted, {}, theta=4), weighted).tolist() == [4.75, -4.0, -6.0]


def test_noise_is_drawn_for_each_block_and_round_and_has_its_deviation() -> None:
    updates = Dense(np.zeros((3, 20_000)))
    found = judge("norm_clipping", updates, tau=1.0, sigma=0.5)
    step = step_of(found, updates)
    assert step.std() == pytest.approx(0.5, rel=0.02)
    assert abs(step.mean()) < 0.02
    assert found.added is not None
    assert np.array_equal(found.added(0, updates.diffs), step)
    assert not np.array_equal(found.added(1, updates.diffs), step)
    assert judge("norm_clipping", updates, tau=1.0).added is None
