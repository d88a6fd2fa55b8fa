"""What must hold between keys, on both sides of each bound, and defaults that depend on others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from extra_utils.basics.errors import WrongKey
from extra_utils.config.keys import AttackConfig, Config, GivenConfig
from extra_utils.config.rules import check_classes, check_rules, check_sizes, resolve


def made(**keys: Any) -> Config:
    return resolve(GivenConfig(**{"type": "cifar", "name": "n"} | keys))


def flip(clients: list[int], fraction: float | None = None, **parameters: Any) -> AttackConfig:
    own = {"source": 1, "target": 4} | parameters
    return AttackConfig(name="label_flip", clients=clients, fraction=fraction, parameters=own)


@pytest.mark.parametrize(
    "keys",
    [
        {"num_clients": 4, "clients_per_round": 4},
        {"model_name": "net", "image_size": 16},
        {"model_name": "resnet18", "image_size": 8},
        {"model_name": "resnet18", "weights": "imagenet"},
        {"model_name": "net", "weights": "a.pth"},
        {"syncBN": True, "world_size": 2, "num_clients": 2, "clients_per_round": 2},
        {"attack": [flip([0, 2])]},
        {"attack": [flip([])]},
        {"attack": [flip([1]), replace(flip([1]), start_round=3, end_round=3)]},
        {"attack": [flip([7], fraction=0.5)]},  # the clients are drawn, not those
        {"attack": [AttackConfig(name="gaussian", parameters={"sigma": 1.0})]},
        {"name": "a b.c"},
    ],
)
def test_what_just_holds_is_taken(keys: dict[str, Any]) -> None:
    check_rules(made(**keys))


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        ({"num_clients": 4, "clients_per_round": 5}, "clients_per_round"),
        ({"model_name": "net", "image_size": 15}, "image_size"),
        ({"model_name": "mnist_net", "weights": "imagenet"}, "weights"),
        ({"syncBN": True, "world_size": 2, "num_clients": 3}, "syncBN"),
        ({"syncBN": True, "world_size": 2, "num_clients": 2, "clients_per_round": 1}, "syncBN"),
        ({"syncBN": True, "world_size": 1, "num_clients": 2, "clients_per_round": 1}, "syncBN"),
        ({"attack": [flip([3])]}, "attack.clients"),
        ({"attack": [flip([1, 1])]}, "attack.clients"),
        ({"attack": [flip([1], source=4)]}, "attack.target"),
        ({"attack": [flip([1], source=0, target=0)]}, "attack.target"),
        ({"attack": [flip([1]), flip([3])]}, "attack.clients"),
        ({"attack": [replace(flip([1]), start_round=3, end_round=2)]}, "attack.end_round"),
        ({"name": " a"}, "name"),
        ({"name": "a."}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": "a\n"}, "name"),
    ],
)
def test_what_just_does_not_hold_is_blamed_on_its_key(keys: dict[str, Any], wrong: str) -> None:
    with pytest.raises(WrongKey) as caught:
        check_rules(made(**keys))
    assert caught.value.key == wrong


@pytest.mark.parametrize(
    ("keys", "sizes", "wrong"),  # sizes: training and test images that there are
    [
        ({}, (3, 1), None),
        ({}, (2, 1), "num_clients"),
        ({}, (3, 0), "data_path"),
        ({"num_train": 9}, (9, 1), None),
        ({"num_train": 9}, (8, 1), "num_train"),
        ({"num_train": 2}, (9, 1), "num_clients"),  # what is used counts, not what there is
        ({"num_test": 9}, (9, 9), None),
        ({"num_test": 9}, (9, 8), "num_test"),
        ({"partition": "shards", "shards_per_client": 3}, (9, 1), None),
        ({"partition": "shards", "shards_per_client": 3}, (8, 1), "shards_per_client"),
        ({"partition": "shards", "num_train": 5}, (9, 1), "shards_per_client"),
        ({"shards_per_client": 9}, (3, 1), None),
    ],
)
def test_there_are_images_for_what_is_asked(
    keys: dict[str, Any], sizes: tuple[int, int], wrong: str | None
) -> None:
    config = made(**keys)
    if wrong is None:
        check_sizes(config, "X", *sizes)
        return
    with pytest.raises(WrongKey) as caught:
        check_sizes(config, "X", *sizes)
    assert caught.value.key == wrong


@pytest.mark.parametrize(
    ("attack", "wrong"),
    [
        (None, None),
        (flip([1], source=2, target=1), None),
        (flip([1], source=3, target=1), "attack.source"),
        (flip([1], source=1, target=3), "attack.target"),
        (flip([1], source="all", target=9), None),
    ],
)
def test_an_attacks_classes_are_the_data_sets(
    attack: AttackConfig | None, wrong: str | None
) -> None:
    config = made(attack=[attack] if attack else None)
    if wrong is None:
        check_classes(config, ["a", "b", "c"])
        return
    with pytest.raises(WrongKey, match=r"from 0 \(a\) to 2 \(c\)") as caught:
        check_classes(config, ["a", "b", "c"])
    assert caught.value.key == wrong


def test_what_is_not_given_follows_from_what_is() -> None:
    config = made(world_size=4)
    assert (config.num_clients, config.clients_per_round, config.eval_points) == (4, 4, 5)
    config = made(num_clients=6, clients_per_round=2, eval_points=0)
    assert (config.world_size, config.num_clients, config.clients_per_round) == (3, 6, 2)
    assert config.eval_points == 0
    torchruns = resolve(GivenConfig(type="cifar", world_size=4), 2)
    assert (torchruns.world_size, torchruns.num_clients) == (2, 2)
    models = {kind: made(type=kind).model_name for kind in ("mnist", "fashion_mnist", "flower")}
    assert models == {"mnist": "mnist_net", "fashion_mnist": "mnist_net", "flower": "resnet34"}
    assert made().model_name == "net"
    assert made(type="mnist", model_name="net").model_name == "net"
