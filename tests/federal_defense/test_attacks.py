"""Attacks edit a client's labels, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from extra_utils.config import AttackConfig, Config
from federal_defense.attacks import attack_labels, label_flip, with_drawn_attackers

ATTACK = AttackConfig(name="label_flip", clients=[2], parameters={"source": 1, "target": 4})
CONFIG = Config(type="synthetic", num_clients=20, attack=ATTACK)
LABELS = np.array([0, 1, 4, 1, 9])


def test_label_flip_makes_the_source_the_target_and_leaves_the_rest() -> None:
    assert label_flip(LABELS).tolist() == [0, 4, 4, 4, 9]
    assert label_flip(LABELS, source=9, target=0).tolist() == [0, 1, 4, 1, 0]
    assert LABELS.tolist() == [0, 1, 4, 1, 9]


def test_only_attackers_from_their_first_round_on_are_edited() -> None:
    config = replace(CONFIG, attack=replace(ATTACK, start_round=3))
    assert attack_labels(LABELS, config, 2, 2) is LABELS
    assert attack_labels(LABELS, config, 1, 3) is LABELS
    assert attack_labels(LABELS, config, 2, 3).tolist() == [0, 4, 4, 4, 9]
    assert attack_labels(LABELS, replace(config, attack=None), 2, 3) is LABELS


@pytest.mark.parametrize(("fraction", "number"), [(0.0, 0), (0.1, 2), (0.4, 8), (1.0, 20)])
def test_a_fraction_is_drawn_from_the_seed(fraction: float, number: int) -> None:
    config = replace(CONFIG, attack=replace(ATTACK, fraction=fraction))
    drawn = with_drawn_attackers(config).attack
    again = with_drawn_attackers(config).attack
    assert drawn is not None
    assert drawn == again
    assert len(set(drawn.clients)) == number
    assert drawn.fraction is None
    assert set(drawn.clients) <= set(range(20))


def test_named_clients_stay_as_they_are() -> None:
    assert with_drawn_attackers(CONFIG) is CONFIG
