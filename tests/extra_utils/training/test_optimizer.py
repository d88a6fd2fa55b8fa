"""The clients' optimizers against torch's own, FedProx by hand, and the schedules."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from extra_utils.config.keys import ChoiceConfig
from extra_utils.model import Net
from extra_utils.training.optimizer import (
    OPTIMIZERS,
    Adam,
    Moment,
    Optimizer,
    Sgd,
    learning_rate,
    new_optimizer,
)
from tests.helpers import make_config

TORCHS: dict[str, Any] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
TORCHS["sgd"] = torch.optim.SGD
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [  # name, our keys, torch's
    ("adam", {}, {}),
    (
        "adam",
        {"beta1": 0.5, "beta2": 0.9, "eps": 1e-3, "weight_decay": 0.1},
        {"betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1},
    ),
    ("adamw", {}, {}),
    ("adamw", {"beta1": 0.8, "weight_decay": 0.2}, {"betas": (0.8, 0.999), "weight_decay": 0.2}),
    ("sgd", {}, {"momentum": 0.9}),
    ("sgd", {"momentum": 0.0}, {}),
    (
        "sgd",
        {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1},
        {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1},
    ),
]


@pytest.mark.parametrize(("name", "keys", "theirs"), CASES)
def test_each_is_torchs_fused_class_to_the_bit(
    name: str, keys: dict[str, Any], theirs: dict[str, Any]
) -> None:
    ours = Net().to(memory_format=torch.channels_last)
    model = copy.deepcopy(ours)
    config = make_config(
        type="synthetic", lr=0.01, optimizer=ChoiceConfig(name=name, parameters=keys)
    )
    optimizer = new_optimizer(ours.parameters(), config)
    reference = TORCHS[name](model.parameters(), lr=0.01, fused=True, **theirs)
    for step in range(5):
        images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(step))
        optimizer.lr = reference.param_groups[0]["lr"] = 0.01 / (step + 1)
        optimizer.zero_grad()
        reference.zero_grad()
        ours(images).square().sum().backward()
        model(images).square().sum().backward()
        optimizer.step()
        reference.step()
    pairs = zip(ours.parameters(), model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_no_two_optimizers_do_the_same() -> None:
    """So that a wrong name in the table would be seen."""
    found = []
    for rule in (*(kind() for kind in OPTIMIZERS.values()), Adam(weight_decay=0.01)):
        torch.manual_seed(0)
        layer = nn.Linear(3, 2)
        optimizer = Optimizer(layer.parameters(), 0.1, rule)
        for _ in range(2):
            optimizer.zero_grad()
            layer(torch.ones(1, 3)).sum().backward()
            optimizer.step()
        found.append(layer.weight.detach().clone())
    assert not any(torch.equal(a, b) for i, a in enumerate(found) for b in found[:i])


def test_frozen_parameters_are_left_alone() -> None:
    model = Net()
    model.fc1.weight.requires_grad_(False)
    before = model.fc1.weight.clone()
    optimizer = Optimizer(model.parameters(), 0.1, Adam(), mu=1.0)
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    assert torch.equal(model.fc1.weight, before)


def steps_of(mu: float, lr: float, count: int) -> list[float]:
    """One weight, at 1 before, and the loss 2 w, of which the gradient is 2."""
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    own = ChoiceConfig(name="sgd", parameters={"momentum": 0.0})
    config = make_config(type="synthetic", lr=lr, optimizer=own, proximal_mu=mu)
    optimizer = new_optimizer([weight], config)
    seen = []
    for _ in range(count):
        optimizer.zero_grad()
        (2 * weight).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        seen.append(weight.item())
    return seen


def test_fedprox_by_hand() -> None:
    """Gradients 2, 2 + 3 (0.8 - 1) = 1.4 and 2 + 3 (0.66 - 1) = 0.98, at a rate of 0.1."""
    assert steps_of(3.0, 0.1, 3) == pytest.approx([0.8, 0.66, 0.562], rel=1e-12)
    assert steps_of(0.0, 0.1, 3) == pytest.approx([0.8, 0.6, 0.4], rel=1e-12)


def test_without_a_mu_nothing_pulls() -> None:
    weight = torch.ones(1, requires_grad=True)
    optimizer = Optimizer([weight], 0.1, Sgd(momentum=0.0))
    for _ in range(2):
        optimizer.zero_grad()
        (2 * weight).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert weight.item() == pytest.approx(0.6)


def test_fedprox_with_a_huge_mu_does_not_move() -> None:
    """The least of 2 w + mu / 2 (w - 1)^2 lies 2 / mu from 1."""
    assert steps_of(1e6, 1e-6, 50)[-1] == pytest.approx(1 - 2e-6, abs=1e-9)
    assert steps_of(0.0, 1e-6, 50)[-1] == pytest.approx(1 - 1e-4, abs=1e-9)


def rates(name: str, **parameters: Any) -> list[float]:
    """In the two local epochs of each of four rounds."""
    config = make_config(type="synthetic", lr=1.0, lrf=0.2, local_epochs=2, global_epochs=4)
    config = replace(config, schedule=ChoiceConfig(name=name, parameters=parameters))
    moments = (Moment(config, number, epoch) for number in range(1, 5) for epoch in range(2))
    return [learning_rate(moment) for moment in moments]


def test_the_articles_rates_are_what_they_were_to_the_bit() -> None:
    """Another order of product and quotient gives other rates from 11 local epochs on."""
    for epochs in range(1, 40):
        config = make_config(type="synthetic", lr=0.003, lrf=0.07, local_epochs=epochs)
        for epoch in range(epochs):
            share = (1 + math.cos(math.pi * epoch / epochs)) / 2
            expected = 0.003 * (share * (1 - 0.07) + 0.07)
            assert learning_rate(Moment(config, 1, epoch)) == expected


def test_schedules_by_hand() -> None:
    half = math.sqrt(0.5)
    over = [1.0, 0.6 + 0.4 * half, 0.6, 0.6 - 0.4 * half]
    assert rates("cosine_local") == pytest.approx([1.0, 0.6] * 4)
    assert rates("cosine_rounds") == pytest.approx([rate for rate in over for _ in range(2)])
    stepped = rates("step_rounds", milestones=[1, 3], gamma=0.5)
    assert stepped == [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert rates("step_rounds", milestones=[2])[3:5] == pytest.approx([1.0, 0.1])
    assert rates("constant") == [1.0] * 8
