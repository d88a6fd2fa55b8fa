"""What the clients' models say, and how it is brought together: class means and weight differences.

The weighted mean of the differences is summed as integers, so that it does not depend on how many
processes add it up, nor in which order.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from extra_utils.distributed_utils import Ranks, from_bits, to_bits
from extra_utils.errors import ClientFailed
from extra_utils.messages import (
    BLOCK,
    ClientReport,
    Point,
    RoundResult,
    Update,
    WeightDiff,
    flat,
)
from extra_utils.model import float_values, integer_values, last_linear, set_integer_values

FIXED_POINT = 2.0**44  # a sum of weighted differences is kept in units of 2^-44
LARGEST_DIFF = 2.0**18  # so that no sum of them can leave the 64 bits


def class_mean(model: nn.Module) -> Tensor:
    """The article's class means [C]: a row's mean weight in the last layer, and its bias share."""
    layer = last_linear(model)
    weight = layer.weight.detach().double()  # [C, h]
    bias = 0.0 if layer.bias is None else layer.bias.detach().double()
    return weight.mean(dim=1) + bias / layer.in_features


def weight_diff(local_model: nn.Module, model: nn.Module) -> WeightDiff:
    """Local minus global [P] of all that can change; both models must stay as they are."""
    return WeightDiff(float_values(local_model), float_values(model))


@torch.no_grad()
def apply_result(model: nn.Module, result: RoundResult) -> None:
    """Moves the global model by the round's mean difference. All ranks do the same."""
    mean, new = torch.empty(2, BLOCK, dtype=torch.float64)
    start = 0
    for value in map(flat, float_values(model)):
        for begin in range(0, len(value), BLOCK):
            part = value[begin : begin + BLOCK]
            size = len(part)
            mean[:size].copy_(result.total[start : start + size])
            part.copy_(new[:size].copy_(part).add_(mean[:size], alpha=1 / FIXED_POINT))
            start += size
    set_integer_values(model, result.counters)


class RoundSum:
    """The sum of a round's updates on one rank: takes those of its clients, then meets the others.

    Its memory is used again in each round, and does not grow with the number of clients but for a
    short row of figures for each client of a round.
    """

    def __init__(self, model: nn.Module, num_points: int, clients_per_round: int) -> None:
        """``num_points``: the most that a client draws in a round."""
        self._num_values = sum(value.numel() for value in float_values(model))
        self._num_classes = last_linear(model).out_features
        self._num_points = num_points
        num_counters = len(integer_values(model))
        self._counters = slice(2 + self._num_classes, 2 + self._num_classes + num_counters)
        width = self._counters.stop + 4 * num_points
        self._packed = torch.empty(self._num_values + clients_per_round * width, dtype=torch.int64)
        self._sum = self._packed[: self._num_values]  # [P]
        self._figures = self._packed[self._num_values :].view(clients_per_round, width)

    def begin(self, samples: dict[int, int]) -> None:
        """A new round of these clients, of all ranks, with their numbers of images."""
        self._samples = samples
        self._total = sum(samples.values())
        self._rows = {client_id: row for row, client_id in enumerate(samples)}
        self._is_empty = True
        self._figures.zero_()

    def weight(self, client_id: int) -> float:
        """The client's share of the round's images."""
        return self._samples[client_id] / self._total

    def add(self, update: Update) -> None:
        """Raises ClientFailed where a difference is not finite or too large for the sum."""
        start = 0
        for block in update.diff.blocks():
            low, high = block.aminmax()
            largest = max(-low.item(), high.item())
            if not largest < LARGEST_DIFF:  # NaN is not less than anything
                raise ClientFailed(
                    f"client {update.client_id} diverged: a weight difference is {largest}, "
                    f"must be below {LARGEST_DIFF:.0f}; a smaller lr may help"
                )
            part = self._sum[start : start + len(block)]
            fixed = to_fixed_point(block, self.weight(update.client_id))
            if self._is_empty:
                part.copy_(fixed)
            else:
                part.add_(fixed.long())
            start += len(block)
        self._is_empty = False
        self._figures[self._rows[update.client_id]] = pack_figures(update, self._num_points)

    def reduce(self, ranks: Ranks) -> RoundResult:
        """One packed all_reduce of all that the ranks have added. All ranks call this.

        The result lies in memory that the next round uses again.
        """
        if self._is_empty:
            self._sum.zero_()
        ranks.sum_exactly(self._packed)
        return RoundResult(
            total=self._sum,
            counters=self._figures[:, self._counters].max(dim=0).values,
            reports=[self._report(c, self._figures[row]) for c, row in self._rows.items()],
        )

    def _report(self, client_id: int, row: Tensor) -> ClientReport:
        values = from_bits(row[1 : self._counters.start]).tolist()
        table = from_bits(row[self._counters.stop :]).view(-1, 4).tolist()
        points = [Point(int(e), int(s), loss, accuracy) for e, s, loss, accuracy in table if s]
        weight = self.weight(client_id)
        return ClientReport(client_id, int(row[0]), weight, values[0], values[1:], points)


def to_fixed_point(diff: Tensor, weight: float) -> Tensor:
    """round(weight * diff * 2^44), in place: whole numbers, of which sums as int64 are exact."""
    return diff.mul_(weight * FIXED_POINT).round_()


def pack_figures(update: Update, num_points: int) -> Tensor:
    """An update's row of figures as int64: samples, loss, class mean, counters, points."""
    table = torch.zeros(num_points, 4, dtype=torch.float64)  # a point's step is never 0
    for row, point in zip(table, update.points, strict=False):
        row.copy_(
            torch.tensor([point.epoch, point.step, point.loss, point.accuracy], dtype=torch.float64)
        )
    loss = torch.tensor([update.train_loss], dtype=torch.float64)
    return torch.cat(
        [
            torch.tensor([update.num_samples]),
            to_bits(torch.cat([loss, update.class_mean])),
            update.counters,
            to_bits(table.flatten()),
        ]
    )
