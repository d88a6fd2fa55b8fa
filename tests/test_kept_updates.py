"""Updates in blocks on real ranks: as all at once, and the same for any number of ranks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from extra_utils.aggregation.flat_model import FIXED_POINT, FlatModel, WeightDiff
from extra_utils.aggregation.messages import Aggregate, State, Update, Updates, by_samples
from extra_utils.distributed_utils import Ranks
from federal_defense.rules.table import DEFENSES, rule_of
from get_weight_matrix import RuleRound, class_means
from tests.federal_defense.rules.test_table import Dense, judge, make_config, step_of
from tests.helpers import run_distributed
from tests.test_get_weight_matrix import make_plan


class Small(nn.Module):
    """A model with running statistics and a counter, of more values than one block."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(10, 2000)
        self.norm = nn.BatchNorm1d(2000)
        self.last = nn.Linear(2000, 4)


def make_update(client_id: int, num_samples: int, local: Small, model: Small) -> Update:
    diff = WeightDiff(local, model)
    return Update(client_id, num_samples, diff, class_means(local), train_loss=0.5)


def aggregate_with_all_rules(ranks: Ranks) -> dict[str, Any]:
    """Every rule on the same updates of seven clients; the result's bits and the reports."""
    found = {}
    samples = {client: 3 * client + 5 for client in range(7)}
    plan = make_plan(samples, ranks.world_size)
    for name in DEFENSES:
        torch.manual_seed(0)
        model = Small()
        rows = [torch.randn(len(FlatModel(model))) for _ in samples]
        aggregation = RuleRound(model, 0, 7, rule_of(make_config(name, 7).defense), {})
        aggregation.begin(plan)
        for client in plan.shares[ranks.rank]:
            local = Small()
            values = FlatModel(local)
            for piece, part in zip(values.pieces(), values.cut(rows[client]), strict=True):
                piece.copy_(part)
            values.set_counters(values.counters + client)
            aggregation.add(make_update(client, samples[client], local, model))
        result = aggregation.reduce(ranks)
        reports = [[r.weight, r.flagged, r.class_mean] for r in result.reports]
        totals = [result.total.tolist()[::101], int(result.total.sum())]
        found[name] = [*totals, reports, result.counters.tolist()]
    return found


class Spy:
    """A rule that answers as the mean, and keeps what it was given."""

    def __call__(self, updates: Updates, state: State) -> Aggregate:
        self.layer, self.class_means = updates.output_layer(), updates.class_means
        self.gram = updates.gram()
        return Aggregate(by_samples(updates), state=state)


def look_at_updates(ranks: Ranks) -> dict[str, Any]:
    """What a rule is given of three clients, and the same from their models themselves."""
    torch.manual_seed(0)
    model, locals_, spy = Small(), [Small() for _ in range(3)], Spy()
    aggregation = RuleRound(model, 0, 3, spy, {})
    plan = make_plan(dict.fromkeys(range(3), 4), ranks.world_size)
    aggregation.begin(plan)
    for client in plan.shares[ranks.rank]:
        aggregation.add(make_update(client, 4, locals_[client], model))
    aggregation.reduce(ranks)
    diffs, layers, means = [], [], []
    before = nn.utils.parameters_to_vector(model.parameters())
    for local in locals_:
        diffs.append(nn.utils.parameters_to_vector(local.parameters()) - before)
        weight, bias = local.last.weight - model.last.weight, local.last.bias - model.last.bias
        layers.append(torch.cat([weight, bias[:, None]], dim=1).tolist())
        means.append((local.last.weight.mean(dim=1) + local.last.bias / 2000).tolist())
    gram = torch.stack(diffs) @ torch.stack(diffs).T
    return {
        "seen": [spy.layer.tolist(), spy.class_means.tolist(), spy.gram.tolist()],
        "own": [layers, means, gram.tolist()],
    }


def test_a_rule_is_given_what_the_models_say(tmp_path: Path) -> None:
    for found in run_distributed(look_at_updates, 2, tmp_path):
        for seen, own in zip(found["seen"], found["own"], strict=True):
            assert np.shape(seen) == np.shape(own)
            assert np.allclose(seen, own, rtol=1e-4, atol=1e-6)


def test_all_rules_give_the_same_bytes_on_any_number_of_ranks(tmp_path: Path) -> None:
    results = {}
    for world_size in (1, 2, 3):
        folder = tmp_path / str(world_size)
        folder.mkdir()
        results[world_size] = run_distributed(aggregate_with_all_rules, world_size, folder)
    first = results[1][0]
    for rank_results in results.values():
        for found in rank_results:
            assert json.dumps(found) == json.dumps(first)
    assert set(first) == set(DEFENSES)
    assert first["mean"][3] == [6]  # the largest counter


def test_the_blocks_way_is_the_dense_way(tmp_path: Path) -> None:
    """What two ranks make of the blocks, against NumPy on all differences at once."""
    (found, _) = run_distributed(aggregate_with_all_rules, 2, tmp_path)
    torch.manual_seed(0)
    model = Small()
    flat = torch.cat(list(FlatModel(model).pieces())).double()
    diffs = torch.stack([torch.randn(len(flat)) for _ in range(7)]).double() - flat
    updates = Dense(diffs.numpy(), [3.0 * client + 5 for client in range(7)])
    scored = sum(parameter.numel() for parameter in model.parameters())
    average = by_samples(updates) @ updates.diffs
    for name in ("mean", "median", "trimmed_mean", "geometric_median", "norm_clipping"):
        seen = Dense(updates.diffs[:, :scored], updates.samples)
        step = step_of(judge(name, seen), seen)
        expected = np.concatenate([step, average[scored:]])
        if name == "geometric_median":
            expected = expected[:scored]
        values = np.array(found[name][0]) / FIXED_POINT
        places = np.arange(0, len(flat), 101)[: len(values)]
        inside = places < len(expected)
        assert np.allclose(values[inside], expected[places[inside]], atol=1e-9), name


def clip_twice(ranks: Ranks) -> list[Any]:
    """Two rounds of centered clipping, of which the second begins where the first ended."""
    torch.manual_seed(0)
    model, locals_ = Small(), [Small() for _ in range(3)]
    rule = rule_of(make_config("centered_clipping", 3, tau=0.5).defense)
    aggregation = RuleRound(model, 0, 3, rule, {})
    found: list[Any] = []
    for _ in range(2):
        plan = make_plan(dict.fromkeys(range(3), 4), ranks.world_size)
        aggregation.begin(plan)
        for client in plan.shares[ranks.rank]:
            aggregation.add(make_update(client, 4, locals_[client], model))
        result = aggregation.reduce(ranks)
        found.append([result.total.tolist(), result.rule["step"].tolist()])
    rows = [torch.cat(list(WeightDiff(own, model).local.scored)) for own in locals_]
    before = torch.cat(FlatModel(model).scored).double()
    return [*found, [(row.double() - before).tolist() for row in rows]]


def test_a_rule_remembers_the_last_rounds_step(tmp_path: Path) -> None:
    for first, second, rows in run_distributed(clip_twice, 2, tmp_path):
        diffs, step = np.array(rows), np.zeros(len(rows[0]))
        for total, remembered in (first, second):
            gaps = diffs - step
            lengths = np.linalg.norm(gaps, axis=1, keepdims=True)
            step = step + (np.minimum(1, 0.5 / lengths) * gaps).mean(axis=0)
            assert np.allclose(np.array(total)[: len(step)] / FIXED_POINT, step, atol=1e-9)
            assert remembered == (np.array(total)[: len(step)] / FIXED_POINT).tolist()
        assert np.abs(step).max() > 0
