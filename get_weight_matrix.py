"""What the clients' models say, and how it is brought together: class means and weight differences.

The weighted mean of the differences is summed as integers, so that it does not depend on how many
processes add it up, nor in which order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from extra_utils.aggregation.kept_updates import KeptUpdates, Layout
from extra_utils.aggregation.messages import (
    BLOCK,
    ClientReport,
    Point,
    RoundResult,
    Update,
    WeightDiff,
    flat,
)
from extra_utils.aggregation.updates import Aggregate, State, Updates
from extra_utils.basics.errors import ClientFailed
from extra_utils.config.keys import Config
from extra_utils.distributed_utils import Ranks, from_bits, to_bits
from extra_utils.model import (
    float_values,
    integer_values,
    last_linear,
    scored_values,
    set_integer_values,
    statistics,
)

Rule = Callable[[Updates, State], Aggregate]

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


class ReportRows:
    """A short row of figures of each of a round's clients; only the row's own rank fills it."""

    def __init__(self, model: nn.Module, num_points: int, clients_per_round: int) -> None:
        """``num_points``: the most that a client draws in a round."""
        num_classes, num_counters = last_linear(model).out_features, len(integer_values(model))
        self._counters = slice(2 + num_classes, 2 + num_classes + num_counters)
        self._num_points = num_points
        self.shape = (clients_per_round, self._counters.stop + 4 * num_points)

    def begin(self, samples: dict[int, int], rows: Tensor) -> None:
        """A new round of these clients, of all ranks; ``rows`` is the memory for the figures."""
        self._rows = rows.zero_()
        self._places = {client_id: place for place, client_id in enumerate(samples)}

    def put(self, update: Update) -> None:
        self._rows[self._places[update.client_id]] = pack_report(update, self._num_points)

    def counters(self) -> Tensor:
        """The largest of the clients' counters [K], once the rows are summed over the ranks."""
        return self._rows[:, self._counters].max(dim=0).values

    def class_means(self) -> Tensor:
        """The weight matrix [n, C], likewise."""
        return from_bits(self._rows[:, 2 : self._counters.start])

    def reports(
        self, weights: Sequence[float | None], flagged: Sequence[bool | None]
    ) -> list[ClientReport]:
        """What is known of each client, likewise."""
        return [
            self._report(client_id, self._rows[place], weights[place], flagged[place])
            for client_id, place in self._places.items()
        ]

    def _report(
        self, client_id: int, row: Tensor, weight: float | None, flagged: bool | None
    ) -> ClientReport:
        loss, *means = from_bits(row[1 : self._counters.start]).tolist()
        table = from_bits(row[self._counters.stop :]).view(-1, 4).tolist()
        points = [Point(int(e), int(s), loss, accuracy) for e, s, loss, accuracy in table if s]
        return ClientReport(client_id, int(row[0]), weight, loss, means, points, flagged)


class RoundSum:
    """The sum of a round's updates on one rank: takes those of its clients, then meets the others.

    Its memory is used again in each round, and does not grow with the number of clients but for a
    short row of figures for each client of a round.
    """

    def __init__(self, model: nn.Module, figures: ReportRows) -> None:
        num_values = sum(value.numel() for value in float_values(model))
        self._packed = torch.empty(num_values + math.prod(figures.shape), dtype=torch.int64)
        self._sum, self._rows = self._packed[:num_values], self._packed[num_values:]  # [P], rest
        self._figures = figures

    def begin(self, round_index: int, samples: dict[int, int], shares: list[list[int]]) -> None:  # noqa: ARG002
        """A new round of these clients, of all ranks, with their numbers of images."""
        total = sum(samples.values())
        self._weights = {client_id: size / total for client_id, size in samples.items()}
        self._is_empty = True
        self._figures.begin(samples, self._rows.view(self._figures.shape))

    def add(self, update: Update) -> None:
        """Raises ClientFailed where a difference is not finite or too large for the sum."""
        start = 0
        for block in checked_blocks(update):
            part = self._sum[start : start + len(block)]
            fixed = to_fixed_point(block, self._weights[update.client_id])
            if self._is_empty:
                part.copy_(fixed)
            else:
                part.add_(fixed.long())
            start += len(block)
        self._is_empty = False
        self._figures.put(update)

    def reduce(self, ranks: Ranks, model: nn.Module) -> RoundResult:  # noqa: ARG002
        """One packed all_reduce of all that the ranks have added. All ranks call this.

        The result lies in memory that the next round uses again.
        """
        if self._is_empty:
            self._sum.zero_()
        ranks.all_reduce(self._packed)
        weights = list(self._weights.values())
        reports = self._figures.reports(weights, [None] * len(weights))
        return RoundResult(self._sum, self._figures.counters(), reports)


class RuleRound:
    """A round by a rule that looks at single updates, which are kept until it is over."""

    def __init__(
        self, model: nn.Module, figures: ReportRows, rule: Rule, config: Config, state: State
    ) -> None:
        """``state``: what the rule remembers of earlier rounds."""
        self._layout, self._figures, self._rule = Layout(model), figures, rule
        self._config, self._state = config, state

    def begin(self, round_index: int, samples: dict[int, int], shares: list[list[int]]) -> None:
        """A new round of these clients, and which of them each rank has."""
        self._samples, self._shares = samples, shares
        self._attackers = self._config.attackers(round_index)
        self._own: dict[int, Tensor] = {}
        rows = torch.empty(self._figures.shape, dtype=torch.int64)
        self._figures.begin(samples, rows)
        self._rows = rows

    def add(self, update: Update) -> None:
        """Keeps the client's weights. Raises ClientFailed as the sum does."""
        for _ in checked_blocks(update):
            pass
        self._own[update.client_id] = self._layout.pack(*update.diff.local(self._layout.num_scored))
        self._figures.put(update)

    def reduce(self, ranks: Ranks, model: nn.Module) -> RoundResult:
        """Asks the rule. All ranks call this. Raises ClientFailed where it leaves nobody."""
        ranks.all_reduce(self._rows)
        old = self._layout.pack(scored_values(model), statistics(model))
        updates = KeptUpdates(ranks, self._layout, old, self._own, self._shares)
        samples = np.array(list(self._samples.values()), dtype=np.float64)
        means = self._figures.class_means().numpy()
        updates.set_figures(self._config.num_clients, samples, means, self._attackers)
        aggregate = self._rule(updates, self._state)
        if not aggregate.weights.sum() > 0:
            raise ClientFailed("the rule has left out every client of this round")
        self._state = aggregate.state
        total = updates.combine(aggregate, to_fixed_point)
        weights = aggregate.weights.tolist() if aggregate.combine is None else [None] * len(samples)
        flagged = [None] * len(samples) if aggregate.flagged is None else aggregate.flagged.tolist()
        reports = self._figures.reports(weights, flagged)
        return RoundResult(total, self._figures.counters(), reports, self._state)


def checked_blocks(update: Update) -> Iterator[Tensor]:
    """The difference's blocks. Raises ClientFailed where one is not finite or too large."""
    for block in update.diff.blocks():
        low, high = block.aminmax()
        largest = max(-low.item(), high.item())
        if not largest < LARGEST_DIFF:  # NaN is not less than anything
            raise ClientFailed(
                f"client {update.client_id} diverged: a weight difference is {largest}, "
                f"must be below {LARGEST_DIFF:.0f}; a smaller lr may help"
            )
        yield block


def to_fixed_point(diff: Tensor, weight: float | Tensor) -> Tensor:
    """round(weight * diff * 2^44), in place: whole numbers, of which sums as int64 are exact."""
    return diff.mul_(weight * FIXED_POINT).round_()


def pack_report(update: Update, num_points: int) -> Tensor:
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
