"""Attacks edit a client's labels or its difference, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from extra_utils.config.keys import AttackConfig, Config
from federal_defense.attacks.labels import (
    Setting,
    backdoor,
    label_flip,
    random_label,
    with_patch,
)
from federal_defense.attacks.table import (
    backdoor_of,
    edits_of,
    idle_attack,
    poison,
    with_drawn_attackers,
)
from federal_defense.attacks.updates import gaussian, scaling, sign_flip
from tests.helpers import make_config

ATTACK = AttackConfig(name="label_flip", clients=[2], parameters={"source": 1, "target": 4})
CONFIG = make_config(type="synthetic", num_clients=20, attack=[ATTACK])
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
    ((is_stamped, _),) = found.stamps
    assert 200 < is_stamped.sum() < 300
    assert set(found.labels[is_stamped]) == {7}
    assert set(found.labels[~is_stamped]) == {1}
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
    config = replace(CONFIG, attack=[replace(ATTACK, start_round=3)])
    assert labels_of(config, 2, 2) is LABELS
    assert labels_of(config, 1, 3) is LABELS
    assert labels_of(config, 2, 3).tolist() == [0, 4, 4, 4, 9]
    assert labels_of(replace(config, attack=None), 2, 3) is LABELS
    assert edits_of("diff", config, 10, 2, 3) == []


def test_an_attack_on_the_difference_leaves_the_labels_alone() -> None:
    attack = AttackConfig(name="gaussian", clients=[2], parameters={"sigma": 1.0})
    config = replace(CONFIG, attack=[attack])
    assert labels_of(config, 2, 1) is LABELS
    assert edits_of("diff", config, 10, 1, 1) == []
    zeros = torch.zeros(3, dtype=torch.float64)
    ((first,), (again,), (later,)) = (edits_of("diff", config, 10, 2, r) for r in (1, 1, 2))
    both = replace(config, attack=[replace(attack, clients=[1, 2])])
    (other,) = edits_of("diff", both, 10, 1, 1)
    noise = first(zeros)
    assert not torch.equal(noise, other(zeros))  # attackers do not all send the same
    assert torch.equal(noise, again(zeros))
    assert not torch.equal(noise, later(zeros))
    assert not torch.equal(noise, first(zeros))  # the next block


def test_attackers_draw_labels_of_their_own_and_the_same_in_each_round() -> None:
    config = replace(CONFIG, attack=[AttackConfig(name="random_label", clients=[1, 2])])
    first, later, other = (
        poison(np.zeros(50, dtype=np.int64), config, 10, client, number).labels.tolist()
        for client, number in ((1, 1), (1, 2), (2, 1))
    )
    assert first == later
    assert first != other


def test_it_is_counted_how_many_labels_are_edited() -> None:
    config = replace(CONFIG, attack=[replace(ATTACK, start_round=3)])
    assert poison(LABELS, config, 10, 2, 3).edited_labels == 2
    assert poison(LABELS, config, 10, 2, 2).edited_labels == 0
    backdoor = AttackConfig(
        name="backdoor", clients=[2], parameters={"target": 9, "share": 1.0, "size": 3}
    )
    assert poison(LABELS, replace(CONFIG, attack=[backdoor]), 10, 2, 1).edited_labels == 4


@pytest.mark.parametrize(
    ("attack", "lines"),
    [
        (None, []),
        (replace(ATTACK, clients=[0, 1]), []),
        (
            replace(ATTACK, clients=[0, 2, 3], start_round=4),
            ["attack: label_flip finds no label to change at 2 of 3 attackers (of which client 2)"],
        ),
        (
            AttackConfig(name="backdoor", parameters={"target": 7, "share": 1.0, "size": 32}),
            ["attack.size: got 32, which covers an image of 32 x 32 pixels whole"],
        ),
        (AttackConfig(name="backdoor", parameters={"target": 7, "share": 1.0, "size": 31}), []),
        (AttackConfig(name="sign_flip", parameters={"factor": 1.0}), []),
    ],
)
def test_an_attack_that_edits_nothing_is_warned_of(
    attack: AttackConfig | None, lines: list[str]
) -> None:
    labels = [np.array([1, 2]), np.array([3, 1]), np.array([3, 3]), np.array([], dtype=np.int64)]
    config = make_config(num_clients=4, attack=[attack] if attack else None)
    assert list(idle_attack(config, labels, 10, 32)) == lines


def test_several_attacks_edit_labels_in_their_order_and_then_differences() -> None:
    flip = AttackConfig(name="label_flip", clients=[2, 3], parameters={"source": 4, "target": 9})
    double = AttackConfig(name="scaling", clients=[2], parameters={"factor": 2.0})
    noise = AttackConfig(name="sign_flip", clients=[2], parameters={"factor": 3.0})
    config = replace(CONFIG, attack=[noise, ATTACK, double, flip])
    found = poison(LABELS, config, 10, 2, 1)
    assert found.labels.tolist() == [0, 9, 9, 9, 9]  # 1 -> 4, then 4 -> 9
    assert found.edited_labels == 3
    assert labels_of(replace(config, attack=[flip, ATTACK]), 2, 1).tolist() == [0, 4, 9, 4, 9]
    assert labels_of(config, 3, 1).tolist() == [0, 1, 9, 1, 9]
    diff = torch.tensor([1.0], dtype=torch.float64)
    for edit in edits_of("diff", config, 10, 2, 1):
        diff = edit(diff)
    assert diff.tolist() == [-6.0]
    assert [config.attackers(1), config.num_attackers] == [{2, 3}, 2]


def test_each_of_several_attacks_draws_for_itself() -> None:
    drawn = AttackConfig(name="random_label", clients=[2])
    stamps = AttackConfig(
        name="backdoor", clients=[2], parameters={"target": 0, "share": 0.5, "size": 3}
    )
    labels = np.ones(500, dtype=np.int64)
    alone, behind, again = (
        poison(labels, replace(CONFIG, attack=attacks), 10, 2, 1)
        for attacks in ([stamps], [drawn, stamps], [stamps, stamps])
    )
    ((first, _),), ((second, _),) = alone.stamps, behind.stamps
    assert not np.array_equal(first, second)
    (one, _), (other, _) = again.stamps
    assert np.array_equal(one, first)
    assert 200 < (one ^ other).sum() < 300  # as two draws that have nothing to do with each other
    images = again.stamped(np.zeros((500, 4, 4, 1), dtype=np.uint8), np.arange(500))
    assert np.array_equal(images.any(axis=(1, 2, 3)), one | other)


def test_the_parts_of_a_distributed_backdoor_are_disjoint_and_make_up_the_whole() -> None:
    own = AttackConfig(
        name="dba", clients=[1, 2, 5], parameters={"target": 7, "share": 1.0, "size": 4}
    )
    config = replace(CONFIG, attack=[own])
    blank = np.zeros((5, 8, 8, 1), dtype=np.uint8)
    parts = [
        poison(LABELS, config, 10, c, 1).stamped(blank.copy(), np.arange(5)) for c in (1, 2, 5)
    ]
    assert [(part[0] > 0).sum() for part in parts] == [6, 5, 5]
    assert sum(part[0].astype(int) for part in parts).max() == 255  # no pixel twice
    found = backdoor_of(config)
    assert found is not None
    stamp, target = found
    assert target == 7
    assert np.array_equal(stamp(blank), sum(parts))
    assert set(labels_of(config, 5, 1)) == {7}
    # of more attackers than pixels each has one, and some the same
    small = [with_patch(blank, 1, (number, 3)) for number in range(3)]
    assert all((part[0] > 0).sum() == 1 for part in small)
    assert np.array_equal(with_patch(blank, 10**9), np.full_like(blank, 255))


def test_without_a_factor_scaling_makes_up_for_the_others_share() -> None:
    own = AttackConfig(name="scaling", clients=[1, 2, 5], parameters={"factor": None})
    config = replace(CONFIG, attack=[own])
    samples = {1: 30, 2: 10, 4: 40, 7: 80}  # 5 sits out
    (edit,) = edits_of("diff", config, 10, 2, 1, samples)
    assert edit(torch.ones(1, dtype=torch.float64)).tolist() == [160 / 40]


def test_an_attack_may_end_and_come_only_every_few_rounds() -> None:
    config = replace(CONFIG, attack=[replace(ATTACK, start_round=2, end_round=8, every=3)])
    assert [n for n in range(1, 13) if config.attackers(n)] == [2, 5, 8]
    forever = replace(CONFIG, attack=[replace(ATTACK, start_round=2, every=3)])
    assert [n for n in range(1, 13) if forever.attackers(n)] == [2, 5, 8, 11]
    once = replace(CONFIG, attack=[replace(ATTACK, start_round=2, end_round=2)])
    assert [n for n in range(1, 13) if once.attackers(n)] == [2]


def test_attackers_may_be_drawn_anew_in_each_round() -> None:
    own = replace(ATTACK, fraction=0.2, sample_clients="each_round", start_round=2)
    config = with_drawn_attackers(replace(CONFIG, attack=[own]))
    assert config.attacks == [own]  # nobody is named
    draws = [config.attackers(n) for n in range(1, 30)]
    assert draws[0] == set()
    assert all(len(draw) == 4 for draw in draws[1:])
    assert set().union(*draws) == set(range(20))
    assert draws == [config.attackers(n) for n in range(1, 30)]
    assert config.num_attackers == 4
    both = replace(CONFIG, attack=[own, replace(own, name="scaling")])
    assert both.attackers(3) == config.attackers(3)  # the same share is the same clients
