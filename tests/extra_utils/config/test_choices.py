"""The keys that choose an optimizer, a schedule and the server's step, as users give them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from extra_utils.basics.errors import ConfigError
from extra_utils.config.keys import Config, to_json
from extra_utils.config.reader import Arguments, read_config
from extra_utils.config.rules import check_classes, check_rules, idle_keys, resolve
from federal_defense.rules.table import TABLES
from tests.helpers import write_config


def read(
    folder: Path, typed: dict[str, str] | None = None, **keys: Any
) -> tuple[Config, list[str]]:
    """The resolved config, and what it warns of without the file's name."""
    path = write_config(folder, **keys)
    given, places = read_config(Arguments(str(path), overrides=typed or {}), TABLES)
    config = resolve(given)
    check_rules(config)
    return config, [warning.removeprefix(f"{path}: ") for warning in idle_keys(config, places)]


def test_the_defaults_are_written_down_and_read_back(tmp_path: Path) -> None:
    config, warnings = read(tmp_path)
    assert warnings == []
    found = to_json(config)
    adam = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}
    assert found["optimizer"] == {"name": "adam", **adam}
    assert found["schedule"] == {"name": "cosine_local"}
    assert found["server"] == {"name": "sgd", "lr": 1.0, "momentum": 0.0}
    assert read(tmp_path, **found)[0] == config


def test_the_command_line_reaches_into_them(tmp_path: Path) -> None:
    typed = {"optimizer.name": "sgd", "optimizer.nesterov": "true", "schedule.milestones": "[3]"}
    typed |= {"schedule.name": "step_rounds", "server.momentum": "0.5"}
    config, warnings = read(tmp_path, typed, optimizer={"name": "adam", "eps": 1e-3})
    assert warnings == []
    sgd = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.0}
    assert config.optimizer.parameters == sgd
    assert config.schedule.parameters == {"milestones": [3], "gamma": 0.1}
    assert config.server.parameters == {"lr": 1.0, "momentum": 0.5}


IDLE: list[tuple[dict[str, Any], str]] = [
    (
        {"optimizer": {"name": "adam", "momentum": 0.9}},
        "optimizer.momentum: has no effect here: optimizer is adam",
    ),
    (
        {"server": {"name": "yogi", "momentum": 0.9}},
        "server.momentum: has no effect here: server is yogi",
    ),
    (
        {"optimizer": {"name": "sgd", "momentum": 0, "nesterov": True}},
        "optimizer.nesterov: has no effect here: optimizer.momentum is 0",
    ),
    (
        {"schedule": {"name": "constant", "gamma": 0.5}},
        "schedule.gamma: has no effect here: schedule is constant",
    ),
    (
        {"schedule": {"name": "constant"}, "lrf": 0.5},
        "lrf: has no effect here: schedule is constant",
    ),
    (
        {"local_epochs": 1, "lrf": 0.5},
        "lrf: has no effect here: with one local epoch the rate stays at lr",
    ),
    ({"norm": "group"}, "norm: has no effect here: the model is no ResNet"),
    ({"coarse_labels": True}, "coarse_labels: has no effect here: the data set is not cifar100"),
    ({"classes_per_client": 3}, "classes_per_client: has no effect here: partition is iid"),
    (
        {"partition": "quantity", "shards_per_client": 3},
        "shards_per_client: has no effect here: partition is quantity",
    ),
    (
        {"model_name": "resnet18", "norm": "group", "syncBN": True},
        "syncBN: has no effect here: no batch norm is trained",
    ),
]


@pytest.mark.parametrize(("keys", "expected"), IDLE, ids=[text for _, text in IDLE])
def test_a_key_of_another_choice_is_warned_of(
    keys: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    _, warnings = read(tmp_path, **({"local_epochs": 2} | keys))
    assert warnings == [expected]


EFFECTIVE: list[dict[str, Any]] = [
    {"schedule": {"name": "cosine_rounds"}, "lrf": 0.5, "local_epochs": 1},
    {"partition": "quantity", "alpha": 0.1},
    {"partition": "classes", "classes_per_client": 4},
    {"model_name": "resnet18", "norm": "group"},
]


@pytest.mark.parametrize("keys", EFFECTIVE, ids=str)
def test_no_key_that_counts_is_warned_of(keys: dict[str, Any], tmp_path: Path) -> None:
    assert read(tmp_path, **keys)[1] == []


WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"optimizer": {"name": "adan"}},
        'optimizer.name: got "adan", must be one of adam, adamw, sgd',
    ),
    ({"optimizer": None}, 'optimizer: got null, must be {"name": ...} with its keys'),
    (
        {"optimizer": {"name": "sgd", "momentum": 1}},
        "optimizer.momentum: got 1, must be a number from 0 to 0.999999",
    ),
    (
        {"optimizer": {"name": "sgd", "momentun": 0.5}},
        'optimizer: unknown key "momentun"; did you mean "momentum"?',
    ),
    (
        {"schedule": {"name": "step_rounds"}},
        "schedule.milestones: is missing, step_rounds needs it",
    ),
    (
        {"schedule": {"name": "step_rounds", "milestones": [0]}},
        "schedule.milestones: got [0], must be a list of whole numbers from 1 to 2147483647",
    ),
    (
        {"server": {"name": "sgd", "lr": 0}},
        "server.lr: got 0, must be a number above 0 to 1000000",
    ),
    ({"proximal_mu": -1}, "proximal_mu: got -1, must be a number from 0 to 1000000"),
]


@pytest.mark.parametrize(("keys", "expected"), WRONG, ids=[text for _, text in WRONG])
def test_what_is_wrong_is_one_line(keys: dict[str, Any], expected: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(expected) + "$"):
        read(tmp_path, **keys)


@pytest.mark.parametrize(("each", "clients"), [(11, 3), (2, 4), (9, 1)])
def test_clients_that_cannot_hold_all_classes_are_refused(
    each: int, clients: int, tmp_path: Path
) -> None:
    keys: dict[str, Any] = {
        "partition": "classes",
        "classes_per_client": each,
        "num_clients": clients,
    }
    config, _ = read(tmp_path, **keys)
    names = [str(number) for number in range(10)]
    right = f"must be 10 at most, and with {clients} clients enough for all 10 classes of the data"
    with pytest.raises(ConfigError, match=f"classes_per_client: got {each}, {right}"):
        check_classes(config, names)
    check_classes(read(tmp_path, **(keys | {"classes_per_client": 10}))[0], names)


def test_what_a_partition_asks_for_is_blamed_on_it(tmp_path: Path) -> None:
    arguments = Arguments(str(write_config(tmp_path)), overrides={"partition": "classes"})
    given, places = read_config(arguments, TABLES)
    with (
        pytest.raises(ConfigError, match=r"^command line: classes_per_client: got 2"),
        places.named(),
    ):
        check_classes(resolve(given, world_size=3), [str(number) for number in range(10)])
