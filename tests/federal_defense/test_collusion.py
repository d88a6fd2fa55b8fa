"""Attackers that see the honest differences: their papers' formulae, and what ranks make of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch

from extra_utils.aggregation.flat_model import BLOCK, FIXED_POINT, FlatModel
from extra_utils.aggregation.messages import (
    Aggregate,
    Array,
    Collusion,
    Forge,
    HonestUpdates,
    State,
    Updates,
    by_samples,
)
from extra_utils.basics.errors import ClientFailed
from extra_utils.config.keys import AttackConfig
from extra_utils.distributed_utils import Ranks
from federal_defense.attacks.table import ATTACKS, collusions
from federal_defense.attacks.updates import alie, ipm, min_max, min_sum
from federal_defense.rules.table import looks_at_updates
from get_weight_matrix import RuleRound
from tests.federal_defense.rules.test_table import Dense
from tests.helpers import make_config, run_distributed
from tests.test_get_weight_matrix import make_plan
from tests.test_kept_updates import Small, make_update


def seen_of(diffs: Any, attackers: list[int]) -> HonestUpdates:
    updates = Dense(diffs)
    updates.is_attacker[attackers] = True
    return HonestUpdates(updates, len(attackers))


def forged(make: Forge, diffs: Any, attackers: list[int]) -> Array:
    return make(np.delete(np.array(diffs, dtype=np.float64), attackers, axis=0))


def test_alie_and_ipm_by_hand() -> None:
    diffs = [[1.0, 0.0], [3.0, 0.0], [99.0, 99.0], [2.0, 6.0]]  # mean (2, 2), squares 2/3 and 8
    made = forged(alie(seen_of(diffs, [2]), z=2.0), diffs, [2])
    assert made.tolist() == pytest.approx([2 - 2 * (2 / 3) ** 0.5, 2 - 2 * 8**0.5])
    made = forged(ipm(seen_of(diffs, [2]), eps=0.5), diffs, [2])
    assert made.tolist() == pytest.approx([-1.0, -1.0])


@pytest.mark.parametrize(
    ("n", "f", "share"),
    [
        (50, 12, (50 - 12 - 14) / 38),  # the paper's own setting: 14 supporters
        (20, 4, 9 / 16),
        (20, 8, 9 / 12),
        (4, 1, 1 / 3),  # so few attackers that they lie above the mean
        (5, 3, 1 / 2),  # more than half: one supporter is left to look like
        (2, 1, 1 / 2),
    ],
)
def test_alies_z_is_the_papers(n: int, f: int, share: float) -> None:
    diffs = np.arange(n, dtype=np.float64)[:, None] ** 2
    attackers = list(range(f))
    honest = diffs[f:]
    z = NormalDist().inv_cdf(share)
    made = forged(alie(seen_of(diffs, attackers)), diffs, attackers)
    assert made[0] == pytest.approx(honest.mean() - z * honest.std())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("attack", [min_max, min_sum])
def test_min_max_and_min_sum_go_as_far_as_their_bound(attack: Any, seed: int) -> None:
    """The paper's search by halving, on the vectors themselves."""
    generator = np.random.default_rng(seed)
    diffs, attackers = generator.standard_normal((9, 40)) * generator.random(40), [3, 7]
    honest = np.delete(diffs, attackers, axis=0)
    mean, step = honest.mean(axis=0), -honest.std(axis=0)
    between = ((honest[:, None] - honest[None]) ** 2).sum(axis=2)

    def holds(gamma: float) -> bool:
        own = ((mean + gamma * step - honest) ** 2).sum(axis=1)
        if attack is min_max:
            return bool(own.max() <= between.max())
        return bool(own.sum() <= between.sum(axis=1).max())

    low, high = 0.0, 1000.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    made = forged(attack(seen_of(diffs, attackers)), diffs, attackers)
    assert low > 0.1
    assert np.allclose(made, mean + low * step, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("attack", [min_max, min_sum])
def test_where_all_honest_ones_are_equal_the_forged_one_is_too(attack: Any) -> None:
    diffs = [[1.0, -2.0]] * 4
    assert forged(attack(seen_of(diffs, [0])), diffs, [0]).tolist() == [1.0, -2.0]


def test_they_need_the_honest_updates_in_their_rounds_alone() -> None:
    attacks = [
        AttackConfig(name="alie", clients=[1, 2], start_round=2, parameters={"z": None}),
        AttackConfig(name="label_flip", clients=[3], parameters={"source": 1, "target": 4}),
    ]
    config = make_config(num_clients=5, attack=attacks)
    assert looks_at_updates(config) == "alie"
    assert not looks_at_updates(make_config(num_clients=5, attack=attacks[1:]))
    assert collusions(config, 1) == []
    (found,) = collusions(config, 2)
    assert found.clients == [1, 2]
    alone = {name: make_config(attack=[AttackConfig(name=name)]) for name in ATTACKS}
    seeing = {name for name, one in alone.items() if looks_at_updates(one)}
    assert seeing == {"alie", "ipm", "min_max", "min_sum"}


class Spy:
    """A rule that answers as the mean, and keeps what it was given."""

    def __call__(self, updates: Updates, state: State) -> Aggregate:
        self.layer, self.class_means = updates.output_layer(), np.array(updates.class_means)
        self.gram = updates.gram()
        return Aggregate(by_samples(updates), state=state)


def forge(ranks: Ranks, scale: float = 1.0) -> dict[str, Any]:
    """Five clients of a model of several blocks, two of which send the honest mean turned round."""
    torch.manual_seed(0)
    model, locals_, spy = Small(), [Small() for _ in range(5)], Spy()
    aggregation = RuleRound(model, 0, 5, spy)
    plan = make_plan(dict.fromkeys(range(5), 4), ranks.world_size)
    collusion = Collusion([1, 3], partial(ipm, eps=scale))
    aggregation.begin(plan._replace(attackers={1, 3}, collusions=[collusion]))
    for client in plan.shares[ranks.rank]:
        aggregation.add(make_update(client, 4, locals_[client], model))
    before = torch.cat([value.flatten() for value in FlatModel(model).pieces()])
    result = aggregation.reduce(ranks)
    rows = [torch.cat([v.flatten() for v in FlatModel(own).pieces()]) for own in locals_]
    diffs = torch.stack(rows).double() - before.double()
    return {
        "total": (result.total.double() / FIXED_POINT).tolist(),
        "diffs": diffs.tolist(),
        "layer": spy.layer.tolist(),
        "class_means": spy.class_means.tolist(),
        "reported": [report.class_mean for report in result.reports],
        "gram": spy.gram.tolist(),
        "old": [v.tolist() for v in (model.last.weight, model.last.bias)],
        "scored": FlatModel(model).num_scored,
    }


def test_what_is_forged_stands_in_for_what_was_trained(tmp_path: Path) -> None:
    (found, other) = run_distributed(forge, 2, tmp_path)
    scored, diffs = found["scored"], np.array(found["diffs"])
    assert scored > 2 * BLOCK
    sent = diffs.copy()
    sent[[1, 3], :scored] = -diffs[[0, 2, 4], :scored].mean(axis=0)  # but no running statistics
    assert np.allclose(found["total"], sent.mean(axis=0), atol=1e-7)
    assert np.abs(np.array(found["total"]) - diffs.mean(axis=0))[:scored].max() > 0.01
    assert np.allclose(found["gram"], sent[:, :scored] @ sent[:, :scored].T, rtol=1e-5, atol=1e-4)
    weight, bias = map(np.array, found["old"])
    own = [layer + np.c_[weight, bias] for layer in np.array(found["layer"])]
    means = [layer[:, :-1].mean(axis=1) + layer[:, -1] / 2000 for layer in own]
    assert np.allclose(found["class_means"], means, atol=1e-9)
    assert found["class_means"][1] == found["class_means"][3] != found["class_means"][0]
    assert found["reported"] == found["class_means"]  # and so it stands in metrics.jsonl
    assert {key: found[key] for key in ("total", "gram")} == {
        k: other[k] for k in ("total", "gram")
    }


def forge_too_much(ranks: Ranks) -> str:
    try:
        forge(ranks, scale=1e9)
    except ClientFailed as failed:
        return str(failed)
    return ""


def test_what_is_forged_too_large_names_the_attacker(tmp_path: Path) -> None:
    (said,) = run_distributed(forge_too_much, 1, tmp_path)
    assert said.startswith("client 1 diverged: a weight difference is ")
    assert said.endswith("a smaller lr, or a weaker attack, may help")
