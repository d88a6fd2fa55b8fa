"""Class means, weight differences, and their exact sum."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from extra_utils.aggregation.flat_model import FIXED_POINT, FlatModel, WeightDiff, to_fixed_point
from extra_utils.aggregation.messages import (
    Aggregate,
    Point,
    RoundPlan,
    RoundResult,
    State,
    Update,
    Updates,
)
from extra_utils.aggregation.server import Server
from extra_utils.basics.errors import ClientFailed
from extra_utils.basics.heartbeat import new_heartbeats
from extra_utils.config.keys import ChoiceConfig
from extra_utils.distributed_utils import Ranks
from extra_utils.processes.child import process_context
from get_weight_matrix import RoundSum, RuleRound, class_means
from tests.extra_utils.aggregation.test_flat_model import dense
from tests.helpers import run_distributed


class Counting(nn.Module):
    """Some weights, without a bias, and a counter: [width] -> [2]."""

    def __init__(self, width: int = 1) -> None:
        super().__init__()
        self.last = nn.Linear(width, 2, bias=False)
        self.register_buffer("counter", torch.tensor(0))


def make_update(client_id: int, diff: list[float], num_samples: int = 1) -> Update:
    local, model = (Counting(len(diff) // 2).double() for _ in range(2))
    local.last.weight.data = torch.tensor(diff, dtype=torch.float64).view(2, -1)
    model.last.weight.data.zero_()
    FlatModel(local).set_counters(torch.tensor([10 * client_id]))
    return Update(
        client_id=client_id,
        num_samples=num_samples,
        diff=WeightDiff(local, model),
        class_mean=torch.tensor([client_id + 0.1, -0.0], dtype=torch.float64),
        train_loss=0.1 * client_id,
        points=[Point(1, 3, 0.25, 50.0)] if client_id == 1 else [],
    )


def make_plan(samples: dict[int, int], world_size: int = 1) -> RoundPlan:
    """A round of these clients, dealt out to the ranks in turns; nobody attacks."""
    shares = [list(samples)[rank::world_size] for rank in range(world_size)]
    return RoundPlan(samples, shares, attackers=set(), num_clients=len(samples))


def test_class_mean_is_the_row_mean_plus_the_bias_share() -> None:
    layer = nn.Linear(2, 3)
    layer.weight.data = torch.tensor([[1.0, 2.0], [3.0, 5.0], [-1.0, 1.0]])
    layer.bias.data = torch.tensor([1.0, 0.0, -4.0])
    assert class_means(layer).tolist() == [2.0, 4.0, -2.0]


def test_class_mean_equals_the_articles_matrix_product() -> None:
    layer = nn.Linear(84, 10)
    ones = torch.ones(84, 1) / 84
    expected = layer.weight.mm(ones) + layer.bias.unsqueeze(1) / 84
    assert torch.allclose(class_means(layer).float(), expected.flatten(), atol=1e-7)


def test_class_mean_refuses_a_model_without_a_full_last_layer() -> None:
    with pytest.raises(ValueError, match="last layer, the model has Conv2d"):
        class_means(nn.Sequential(nn.Linear(2, 2), nn.Conv2d(1, 1, 1)))


SERVER = Server(ChoiceConfig(name="sgd"), {})


def test_weight_diff_and_apply_are_inverse() -> None:
    old, new = nn.Linear(3, 2), nn.Linear(3, 2)
    total = to_fixed_point(dense(WeightDiff(new, old)), 1.0).long()
    result = RoundResult(total, torch.zeros(0, dtype=torch.int64), [])
    after = SERVER.apply(old, result)
    assert after.total is total
    assert (after.counters.tolist(), after.reports, after.rule) == ([], [], {})
    assert all(torch.equal(a, b) for a, b in zip(old.parameters(), new.parameters(), strict=True))


def test_apply_sets_the_counters() -> None:
    model = Counting()
    result = RoundResult(torch.zeros(2, dtype=torch.int64), torch.tensor([7]), [])
    SERVER.apply(model, result)
    assert FlatModel(model).counters.tolist() == [7]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2.0**18, -(2.0**18)])
def test_a_difference_that_does_not_fit_names_its_client(value: float) -> None:
    round_sum = RoundSum(Counting(), num_points=0, clients_per_round=1)
    round_sum.begin(make_plan({4: 1}))
    with pytest.raises(ClientFailed, match="client 4 diverged"):
        round_sum.add(make_update(4, [0.0, value]))


@pytest.mark.parametrize("value", [3e5, math.nan])
def test_where_somebody_attacks_the_attack_may_be_why(value: float) -> None:
    plan = make_plan({2: 1})
    for attackers, what in ((set[int](), "lr"), ({4}, "lr, or a weaker attack,")):
        for aggregation in (RoundSum(Counting(), 0, 1), RuleRound(Counting(), 0, 1, nobody)):
            aggregation.begin(plan._replace(attackers=attackers))
            with pytest.raises(ClientFailed) as caught:
                aggregation.add(make_update(2, [0.0, value]))
            assert str(caught.value) == (
                f"client 2 diverged: a weight difference is {value}, must be below 262144; "
                f"a smaller {what} may help"
            )


def nobody(updates: Updates, _: State) -> Aggregate:
    """A rule for rounds that do not come so far."""
    return Aggregate(0 * updates.samples)


def test_the_largest_differences_of_all_clients_do_not_overflow() -> None:
    limit = math.nextafter(2.0**18, 0)
    parts = [to_fixed_point(torch.tensor([limit], dtype=torch.float64), 1 / 3) for _ in range(3)]
    total = sum(part.item() for part in parts)
    assert total < 2**63
    assert total / FIXED_POINT == pytest.approx(limit)


def weighted_mean(ranks: Ranks) -> dict[str, Any]:
    """The weighted mean of {1, 4} with n = {3, 1} is 1.75."""
    samples = {0: 3, 1: 1}
    round_sum = RoundSum(Counting(), num_points=2, clients_per_round=2)
    round_sum.begin(make_plan({0: 1, 1: 9}))  # a round whose sum must not stay
    round_sum.add(make_update(0, [7.0, 7.0]))
    round_sum.begin(make_plan(samples))
    for client_id, diff in ((0, [1.0, 1.0]), (1, [4.0, 4.0])):
        if client_id % ranks.world_size == ranks.rank:
            round_sum.add(make_update(client_id, diff, samples[client_id]))
    result = round_sum.reduce(ranks)
    return {
        "diff": (result.total.double() / FIXED_POINT).tolist(),
        "counters": result.counters.tolist(),
        "reports": [
            [r.client_id, r.num_samples, r.weight, r.train_loss, r.class_mean, len(r.points)]
            for r in result.reports
        ],
        "point": vars(result.reports[1].points[0]),
        "bytes": ranks.num_bytes,
    }


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_all_ranks_get_the_weighted_mean_and_every_report(world_size: int, tmp_path: Path) -> None:
    for result in run_distributed(weighted_mean, world_size, tmp_path):
        assert result["diff"] == [1.75, 1.75]
        assert result["counters"] == [10]
        assert result["reports"] == [
            [0, 3, 0.75, 0.0, [0.1, -0.0], 0],
            [1, 1, 0.25, 0.1, [1.1, -0.0], 1],
        ]
        assert result["point"] == {"epoch": 1, "step": 3, "loss": 0.25, "accuracy": 50.0}
        assert result["bytes"] == 8 * (2 + 2 * (3 + 2 + 1 + 4 * 2))


def test_the_sum_does_not_depend_on_the_order_of_the_clients() -> None:
    generator = torch.Generator().manual_seed(0)
    diffs = torch.randn(7, 100, dtype=torch.float64, generator=generator)
    samples = {client: 3 * client + 1 for client in range(7)}
    sums = []
    round_sum = RoundSum(Counting(50), num_points=1, clients_per_round=7)
    for order in (range(7), range(6, -1, -1), (3, 0, 6, 1, 5, 2, 4)):
        round_sum.begin(make_plan(samples))
        for client in order:
            round_sum.add(make_update(client, diffs[client].tolist(), samples[client]))
        sums.append(round_sum._sum.clone())
    assert all(torch.equal(sums[0], other) for other in sums[1:])
    exact = sum(d * samples[c] for c, d in enumerate(diffs)) / sum(samples.values())
    assert torch.allclose(sums[0].double() / FIXED_POINT, exact, rtol=0, atol=1e-12)


def test_marks_writer_is_what_ranks_expect() -> None:
    marks = new_heartbeats(process_context(), 2)
    ranks = Ranks(1, 2, marks[1])
    ranks.heartbeat.place(3, 5)
    assert str(marks[1]) == "rank 1 (client 5, round 3)"
    assert not ranks.is_main
