"""The server's steps by hand, and what it leaves alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from extra_utils.aggregation.flat_model import FIXED_POINT
from extra_utils.aggregation.messages import ClientReport, RoundResult, State
from extra_utils.aggregation.server import Server
from extra_utils.basics.errors import RunFailed
from extra_utils.config.keys import ChoiceConfig

CHANGES = [0.5, -0.25]  # of one weight, in two rounds; a running statistic changes by 1


def result_of(change: float, weight: float | None = 1.0) -> RoundResult:
    total = (torch.tensor([change, 1.0], dtype=torch.float64) * FIXED_POINT).long()
    report = ClientReport(0, 1, 0, weight, 0.0, [], [])
    return RoundResult(total, torch.zeros(0, dtype=torch.int64), [report], {"own": np.ones(1)})


def server_of(name: str, state: State | None = None, **keys: Any) -> Server:
    return Server(ChoiceConfig(name=name, parameters=keys), {} if state is None else state)


def steps_of(name: str, **keys: Any) -> list[float]:
    server = server_of(name, **keys)
    totals = [server._turn(result_of(change), 1).total.double() / FIXED_POINT for change in CHANGES]
    assert all(total[1] == 1.0 for total in totals)  # the statistic
    return [total[0].item() for total in totals]


def test_sgd_by_hand() -> None:
    assert steps_of("sgd") == CHANGES
    assert steps_of("sgd", lr=0.5) == [0.25, -0.125]
    assert steps_of("sgd", lr=2.0, momentum=0.5) == [1.0, 2 * (-0.25 + 0.25)]


def test_a_longer_step_without_momentum_remembers_nothing() -> None:
    assert server_of("sgd", lr=0.5)._turn(result_of(0.5), 1).rule.keys() == {"own"}


def by_hand(kind: str, lr: float, beta1: float, beta2: float, tau: float) -> list[float]:
    """Reddi et al., ICLR 2021, algorithm 2, in plain numbers."""
    mean, square, steps = 0.0, tau**2, []
    for change in CHANGES:
        mean = beta1 * mean + (1 - beta1) * change
        new = change**2
        if kind == "adam":
            square = beta2 * square + (1 - beta2) * new
        elif kind == "yogi":
            square -= (1 - beta2) * new * math.copysign(1, square - new)
        else:
            square += new
        steps.append(lr * mean / (math.sqrt(square) + tau))
    return steps


@pytest.mark.parametrize("kind", ["adam", "yogi", "adagrad"])
def test_the_adaptive_ones_are_the_papers(kind: str) -> None:
    keys = {"lr": 0.3, "beta1": 0.8, "tau": 0.1} | ({} if kind == "adagrad" else {"beta2": 0.7})
    expected = by_hand(kind, 0.3, 0.8, 0.7, 0.1)
    assert steps_of(kind, **keys) == pytest.approx(expected, abs=1e-12)
    assert steps_of(kind) == pytest.approx(by_hand(kind, 0.01, 0.9, 0.99, 1e-3), abs=1e-12)


def test_adams_first_step_in_numbers() -> None:
    """m = 0.1 x 0.5, v = 0.99 x 10^-6 + 0.01 x 0.25, and 0.01 m / (sqrt(v) + 10^-3)."""
    assert steps_of("adam")[0] == pytest.approx(0.01 * 0.05 / (0.05000989902 + 0.001), rel=1e-9)


def test_its_memory_lies_beside_the_rules_and_goes_on() -> None:
    whole = steps_of("yogi")
    first = server_of("yogi")._turn(result_of(CHANGES[0]), 1)
    assert first.rule.keys() == {"own", "server mean", "server square"}
    state = dict(first.rule)
    server = server_of("yogi", state)
    assert state.keys() == {"own"}
    second = server._turn(result_of(CHANGES[1]), 1)
    assert second.total[0].double() / FIXED_POINT == pytest.approx(whole[1], abs=1e-15)


def test_a_round_that_leaves_everybody_out_moves_nothing_and_keeps_the_memory() -> None:
    server = server_of("sgd", momentum=0.5)
    server._turn(result_of(0.5), 1)
    still = server._turn(result_of(0.0, weight=0.0), 1)
    assert still.total[0] == 0
    assert still.rule["server velocity"].tolist() == [0.5]
    assert server._turn(result_of(0.0, weight=None), 1).total[0].double() / FIXED_POINT == 0.25


@pytest.mark.parametrize("change", [0.5, -0.5])
def test_a_step_too_large_for_the_sum_is_refused(change: float) -> None:
    with pytest.raises(
        RunFailed, match=r"a step of 500000.0, must be below 262144; a smaller serv"
    ):
        server_of("sgd", lr=1e6)._turn(result_of(change), 1)
