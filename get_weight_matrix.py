"""What the clients' models say, and how it is brought together: class means and weight differences.

The weighted mean of the differences is summed as integers, so that it does not depend on how many
processes add it up, nor in which order.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from extra_utils.distributed_utils import Ranks, from_bits, to_bits
from extra_utils.errors import ClientFailed
from extra_utils.messages import ClientReport, Point, RoundResult, Update
from extra_utils.model import float_values, integer_values, last_linear, set_integer_values

FIXED_POINT = 2.0**44  # a sum of weighted differences is kept in units of 2^-44
LARGEST_DIFF = 2.0**18  # so that no sum of them can leave the 64 bits


def class_mean(model: nn.Module) -> Tensor:
    """The article's class means [C]: a row's mean weight in the last layer, and its bias share."""
    layer = last_linear(model)
    weight = layer.weight.detach().double()  # [C, h]
    bias = 0.0 if layer.bias is None else layer.bias.detach().double()
    return weight.mean(dim=1) + bias / layer.in_features


def weight_diff(local_model: nn.Module, model: nn.Module) -> Tensor:
    """Local minus global [P] of all that can change, in float64, where it is exact."""
    pairs = zip(float_values(local_model), float_values(model), strict=True)
    return torch.cat([(local.double() - old.double()).flatten() for local, old in pairs])


@torch.no_grad()
def apply_result(model: nn.Module, result: RoundResult) -> None:
    """Moves the global model by the round's mean difference. All ranks do the same."""
    start = 0
    for value in float_values(model):
        part = result.diff[start : start + value.numel()].view(value.shape)
        value.copy_(value.double() + part)
        start += value.numel()
    set_integer_values(model, result.counters)


class RoundSum:
    """One round's sum on one rank: takes the updates of its clients, then meets the others.

    Memory does not grow with the number of clients, but for a short row of figures for each.
    """

    def __init__(self, samples: dict[int, int], num_points: int) -> None:
        """``samples``: this round's clients, of all ranks, and their numbers of images."""
        self._samples = samples
        self._total = sum(samples.values())
        self._rows = {client_id: row for row, client_id in enumerate(samples)}
        self._num_points = num_points
        self._sum: Tensor | None = None
        self._figures: Tensor | None = None

    def add(self, update: Update) -> None:
        """Raises ClientFailed where the difference is not finite or too large for the sum."""
        largest = float(update.diff.abs().max())
        if not largest < LARGEST_DIFF:  # NaN is not less than anything
            raise ClientFailed(
                f"client {update.client_id} diverged: the largest weight difference is {largest}, "
                f"must be below {LARGEST_DIFF:.0f}; a smaller lr may help"
            )
        part = to_fixed_point(update.diff, self.weight(update.client_id))
        self._sum = part if self._sum is None else self._sum.add_(part)
        figures = pack_figures(update, self._num_points)
        if self._figures is None:
            self._figures = torch.zeros(len(self._rows), len(figures), dtype=torch.int64)
        self._figures[self._rows[update.client_id]] = figures

    def weight(self, client_id: int) -> float:
        """The client's share of the round's images."""
        return self._samples[client_id] / self._total

    def reduce(self, ranks: Ranks, model: nn.Module) -> RoundResult:
        """One packed all_reduce of all that the ranks have added. All ranks call this."""
        num_values = sum(value.numel() for value in float_values(model))
        num_counters = len(integer_values(model))
        num_classes = last_linear(model).out_features
        width = 2 + num_classes + num_counters + 4 * self._num_points
        packed = torch.zeros(num_values + len(self._rows) * width, dtype=torch.int64)
        if self._sum is not None and self._figures is not None:
            packed[:num_values] = self._sum
            packed[num_values:] = self._figures.flatten()
        ranks.sum_exactly(packed)
        rows = packed[num_values:].view(len(self._rows), width)
        counters = rows[:, 2 + num_classes : 2 + num_classes + num_counters]
        return RoundResult(
            diff=packed[:num_values].double() / FIXED_POINT,
            counters=counters.max(dim=0).values,
            reports=[self._report(c, rows[row], num_classes) for c, row in self._rows.items()],
        )

    def _report(self, client_id: int, row: Tensor, num_classes: int) -> ClientReport:
        num_points = 4 * self._num_points
        values = from_bits(row[1 : 2 + num_classes]).tolist()
        table = from_bits(row[len(row) - num_points :]).view(-1, 4).tolist()
        points = [Point(int(e), int(s), loss, accuracy) for e, s, loss, accuracy in table if s]
        weight = self.weight(client_id)
        return ClientReport(client_id, int(row[0]), weight, values[0], values[1:], points)


def to_fixed_point(diff: Tensor, weight: float) -> Tensor:
    """round(weight * diff * 2^44) as int64 [P], of which sums are exact."""
    return (diff * (weight * FIXED_POINT)).round_().long()


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
