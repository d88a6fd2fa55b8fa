"""The server's steps by hand, and what it leaves alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from extra_utils.aggregation.flat_model import FIXED_POINT
from extra_utils.aggregation.messages import ClientReport, RoundResult, State
from extra_utils.aggregation.server import Server
from extra_utils.basics.errors import RunFailed
from extra_utils.config.keys import ChoiceConfig

ADAMS_FIRST = 0.01 * 0.05 / (0.05000989902 + 0.001)  # step, for 0.5
CHANGES = [0.5, -0.25]  # of one weight, in two rounds; running statistics change by 1


def result_of(change: float, weight: float | None = 1.0) -> RoundResult:
    total = (torch.tensor([change, 1.0, 1.0], dtype=torch.float64) * FIXED_POINT).long()
    report = ClientReport(0, 1, 0, weight, 0.0, [], [])
    return RoundResult(total, torch.tensor([7]), [report], {"own": np.ones(1)})


def small_model() -> nn.Sequential:
    """One weight, and batch norm's two statistics and a counter."""
    return nn.Sequential(nn.BatchNorm1d(1, affine=False), nn.Linear(1, 1, bias=False))


def turn(server: Server, result: RoundResult) -> RoundResult:
    return server.apply(small_model(), result)


def server_of(name: str, state: State | None = None, **keys: Any) -> Server:
    return Server(ChoiceConfig(name=name, parameters=keys), {} if state is None else state)


def steps_of(name: str, **keys: Any) -> list[float]:
    server = server_of(name, **keys)
    totals = [turn(server, result_of(change)).total.double() / FIXED_POINT for change in CHANGES]
    assert all(total[1] == 1.0 for total in totals)  # a statistic
    return [total[0].item() for total in totals]


def test_sgd_by_hand() -> None:
    assert steps_of("sgd") == CHANGES
    assert steps_of("sgd", lr=0.5) == [0.25, -0.125]
    assert steps_of("sgd", lr=2.0, momentum=0.5) == [1.0, 2 * (-0.25 + 0.25)]


def test_a_longer_step_without_momentum_remembers_nothing() -> None:
    assert turn(server_of("sgd", lr=0.5), result_of(0.5)).rule.keys() == {"own"}


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
    assert steps_of("adam")[0] == pytest.approx(ADAMS_FIRST, rel=1e-9)


def test_its_memory_lies_beside_the_rules_and_goes_on() -> None:
    whole = steps_of("yogi")
    first = turn(server_of("yogi"), result_of(CHANGES[0]))
    assert first.rule.keys() == {"own", "server mean", "server square"}
    state = dict(first.rule)
    server = server_of("yogi", state)
    assert state.keys() == {"own"}
    second = turn(server, result_of(CHANGES[1]))
    assert second.total[0].double() / FIXED_POINT == pytest.approx(whole[1], abs=1e-15)


def test_a_round_that_leaves_everybody_out_moves_nothing_and_keeps_the_memory() -> None:
    server = server_of("sgd", momentum=0.5)
    turn(server, result_of(0.5))
    still = turn(server, result_of(0.0, weight=0.0))
    assert still.total[0] == 0
    assert still.rule["server velocity"].tolist() == [0.5]
    assert turn(server, result_of(0.0, weight=None)).total[0].double() / FIXED_POINT == 0.25


@pytest.mark.parametrize(("change", "lr"), [(0.5, 1e6), (-0.5, 1e6), (0.5, 2.0**19)])
def test_a_step_too_large_for_the_sum_is_refused(change: float, lr: float) -> None:
    step = abs(change) * lr  # the last one is just as large as it may not be
    with pytest.raises(RunFailed, match=f"a step of {step}, must be below 262144; a smaller serv"):
        turn(server_of("sgd", lr=lr), result_of(change))


def test_yogis_square_stays_where_the_new_one_is_as_large() -> None:
    """tau^2 = 0.5^2 = change^2, so the step is 0.01 x 0.1 x 0.5 / (0.5 + 0.5)."""
    server = server_of("yogi", tau=0.5)
    step = turn(server, result_of(0.5)).total[0].double() / FIXED_POINT
    assert step == pytest.approx(0.0005, abs=1e-12)


@pytest.mark.parametrize(("name", "expected"), [("sgd", 0.5), ("adam", ADAMS_FIRST)])
def test_the_model_moves_by_the_servers_step_and_its_statistics_by_the_mean(
    name: str, expected: float
) -> None:
    model = small_model()
    nn.init.constant_(model.get_parameter("1.weight"), 0.25)
    applied = server_of(name).apply(model, result_of(0.5))
    assert model.get_parameter("1.weight").item() == pytest.approx(0.25 + expected, abs=1e-7)
    assert applied.total[0].double() / FIXED_POINT == pytest.approx(expected, abs=1e-9)
    assert {key: value.item() for key, value in model[0].state_dict().items()} == {
        "running_mean": 1.0,
        "running_var": 2.0,
        "num_batches_tracked": 7,
    }
