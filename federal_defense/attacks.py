"""Attacks: each is a function that edits a client's data, and one line in ``ATTACKS``.

An attacker's training loop is everybody's; test labels are never touched. The keyword-only
parameters of an attack, with their types and defaults, are its keys in the config.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from extra_utils.config import Config
from extra_utils.config_check import ClassNumber
from extra_utils.random_streams import Purpose, stream


def label_flip(
    labels: NDArray[np.int64], *, source: ClassNumber = 1, target: ClassNumber = 4
) -> NDArray[np.int64]:
    """images of one class are trained on as another

    `source`: the class whose images get a wrong label
    `target`: the label that they get

    Takes and returns labels [N]; the labels given are left as they are. Source: the article.
    """
    flipped = labels.copy()
    flipped[labels == source] = target
    return flipped


ATTACKS: dict[str, Callable[..., NDArray[np.int64]]] = {"label_flip": label_flip}


def with_drawn_attackers(config: Config) -> Config:
    """The config with `fraction` replaced by the clients that the seed draws for it."""
    attack = config.attack
    if attack is None or attack.fraction is None:
        return config
    assert config.num_clients is not None
    size = round(attack.fraction * config.num_clients)
    drawn = stream(config.seed, Purpose.ATTACKERS).choice(config.num_clients, size, replace=False)
    clients = sorted(int(client) for client in drawn)
    return replace(config, attack=replace(attack, fraction=None, clients=clients))


def attack_labels(
    labels: NDArray[np.int64], config: Config, client_id: int, round_index: int
) -> NDArray[np.int64]:
    """The labels [N] that this client trains on in this round; those given unless it attacks."""
    attack = config.attack
    if attack is None or client_id not in attack.clients or round_index < attack.start_round:
        return labels
    return ATTACKS[attack.name](labels, **attack.parameters)
