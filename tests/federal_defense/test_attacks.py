"""Attacks edit a client's labels or its difference, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from extra_utils.config.keys import AttackConfig, Config
from federal_defense.attacks import (
    Setting,
    attack_on,
    backdoor,
    gaussian,
    label_flip,
    poison,
    random_label,
    scaling,
    sign_flip,
    with_drawn_attackers,
    with_patch,
)
from tests.helpers import make_config

ATTACK = AttackConfig(name="label_flip", clients=[2], parameters={"source": 1, "target": 4})
CONFIG = make_config(type="synthetic", num_clients=20, attack=ATTACK)
LABELS = np.array([0, 1, 4, 1, 9])


def setting(seed: int = 0) -> Setting:
    return Setting(10, np.random.default_rng(seed))


def test_label_flip_makes_the_source_the_target_and_leaves_the_rest() -> None:
    assert label_flip(LABELS, setting()).labels.tolist() == [0, 4, 4, 4, 9]
    assert label_flip(LABELS, setting(), source=9, target=0).labels.tolist() == [0, 1, 4, 1, 0]
    assert label_flip(LABELS, setting(), source="all").labels.tolist() == [9, 8, 5, 8, 0]
    assert LABELS.tolist() == [0, 1, 4, 1, 9]


def test_random_labels_are_the_seeds_and_of_every_class() -> None:
    labels = np.zeros(2000, dtype=np.int64)
    found = random_label(labels, setting()).labels
    assert np.array_equal(found, random_label(labels, setting()).labels)
    assert np.bincount(found, minlength=10).min() > 120


def test_a_backdoor_stamps_a_share_of_the_images_and_gives_them_its_class() -> None:
    labels = np.ones(1000, dtype=np.int64)
    found = backdoor(labels, setting(), target=7, share=0.25, size=2)
    assert found.is_stamped is not None
    assert 200 < found.is_stamped.sum() < 300
    assert set(found.labels[found.is_stamped]) == {7}
    assert set(found.labels[~found.is_stamped]) == {1}
    images = np.zeros((3, 8, 8, 3), dtype=np.uint8)
    stamped = with_patch(images, 2)
    assert images.sum() == 0
    assert (stamped > 0).sum() == 3 * 2 * 2 * 3
    assert stamped[:, -2:, -2:].min() == 255


def test_differences_are_turned_lengthened_and_made_noisy() -> None:
    diff = torch.tensor([1.0, -2.0], dtype=torch.float64)
    assert sign_flip(diff, setting(), factor=3.0).tolist() == [-3.0, 6.0]
    assert scaling(diff, setting(), factor=5.0).tolist() == [5.0, -10.0]
    noisy = gaussian(torch.zeros(20_000, dtype=torch.float64), setting(), sigma=0.1)
    assert float(noisy.std()) == pytest.approx(0.1, rel=0.02)
    assert diff.tolist() == [1.0, -2.0]


def labels_of(config: Config, client_id: int, round_index: int) -> Any:
    return poison(LABELS, config, 10, client_id, round_index).labels


def test_only_attackers_from_their_first_round_on_are_edited() -> None:
    config = replace(CONFIG, attack=replace(ATTACK, start_round=3))
    assert labels_of(config, 2, 2) is LABELS
    assert labels_of(config, 1, 3) is LABELS
    assert labels_of(config, 2, 3).tolist() == [0, 4, 4, 4, 9]
    assert labels_of(replace(config, attack=None), 2, 3) is LABELS
    assert attack_on("diff", config, 10, 2, 3) is None


def test_an_attack_on_the_difference_leaves_the_labels_alone() -> None:
    attack = AttackConfig(name="gaussian", clients=[2], parameters={"sigma": 1.0})
    config = replace(CONFIG, attack=attack)
    assert labels_of(config, 2, 1) is LABELS
    assert attack_on("diff", config, 10, 1, 1) is None
    zeros = torch.zeros(3, dtype=torch.float64)
    first, again, later = (attack_on("diff", config, 10, 2, r) for r in (1, 1, 2))
    assert first is not None
    assert again is not None
    assert later is not None
    noise = first(zeros)
    assert torch.equal(noise, again(zeros))
    assert not torch.equal(noise, later(zeros))
    assert not torch.equal(noise, first(zeros))  # the next block


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
