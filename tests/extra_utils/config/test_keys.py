"""Configs are values: nobody changes one, and a resolved one has nothing left to fill in."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from extra_utils.config.keys import AttackConfig, ChoiceConfig, Config, GivenConfig
from tests.helpers import make_config


@pytest.mark.parametrize(
    "config",
    [
        AttackConfig(name="label_flip"),
        ChoiceConfig(name="mean"),
        GivenConfig(type="cifar"),
        make_config(),
    ],
)
def test_a_config_cannot_be_changed(config: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        config.name = "other"


def test_keys_are_given_by_name() -> None:
    kinds: list[Any] = [AttackConfig, ChoiceConfig, GivenConfig]
    for kind in kinds:
        with pytest.raises(TypeError, match="positional argument"):
            kind("label_flip")


@pytest.mark.parametrize(
    "key", ["name", "num_clients", "clients_per_round", "eval_points", "model_name"]
)
def test_a_resolved_config_has_no_default_of_its_own(key: str) -> None:
    values = {name: value for name, value in vars(make_config()).items() if name != key}
    with pytest.raises(TypeError, match=f"missing 1 required keyword-only argument: '{key}'"):
        Config(**values)


def test_who_attacks_from_which_round_on() -> None:
    attack = AttackConfig(name="label_flip", clients=[1, 2], start_round=3)
    config = make_config(attack=[attack])
    assert [config.attackers(number) for number in (2, 3, 4)] == [set(), {1, 2}, {1, 2}]
    assert make_config().attackers(3) == set()
    assert AttackConfig(name="label_flip").clients == [2]
