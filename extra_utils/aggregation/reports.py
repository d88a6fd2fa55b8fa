"""What every rank is to know of each client of a round, as integers that an all_reduce can add."""

import torch
from torch import Tensor

from extra_utils.aggregation.flat_model import FlatModel
from extra_utils.aggregation.messages import Aggregate, ClientReport, Point, RoundPlan, Update
from extra_utils.distributed_utils import from_bits, to_bits


class ReportRows:
    """A short row [width] of each of a round's n clients: float64, as the int64 of the same bits.

    Its own rank alone fills it, so the sum over the ranks is everybody's row: what is read of the
    rows is right once they are all_reduced."""

    def __init__(self, memory: Tensor, plan: RoundPlan, sizes: list[int]) -> None:
        """``memory`` [n * width] becomes the rows, ``sizes`` are those of ``report_sizes``."""
        self.rows = memory.zero_().view(-1, sum(sizes))
        self._client_ids, self._sizes = list(plan.samples), sizes

    def put(self, update: Update) -> None:
        row: list[float] = [update.num_samples, update.edited_labels, update.train_loss]
        row += update.class_mean.tolist() + update.diff.local.counters.tolist()
        for point in update.points:
            row += [point.epoch, point.step, point.loss, point.accuracy]
        place = self._client_ids.index(update.client_id)
        self.rows[place, : len(row)] = to_bits(torch.tensor(row, dtype=torch.float64))

    def columns(self) -> tuple[Tensor, ...]:
        """Samples, edited labels and loss [n, 3], class means [n, C], counters [n, K], points."""
        return torch.split(from_bits(self.rows), self._sizes, dim=1)

    def counters(self) -> Tensor:
        """The largest [K] of the clients'."""
        return self.columns()[2].long().max(dim=0).values

    def reports(self, aggregate: Aggregate) -> list[ClientReport]:
        """What is known of each client, with what the rule has made of it."""
        columns = [column.tolist() for column in self.columns()]
        unknown = [None] * len(self.rows)
        weights = unknown if aggregate.per_coordinate else aggregate.weights.tolist()
        flags = unknown if aggregate.flagged is None else aggregate.flagged.tolist()
        table = zip(self._client_ids, *columns, weights, flags, strict=True)
        return [
            ClientReport(client, int(n), int(edited), weight, loss, means, points_of(points), flag)
            for client, (n, edited, loss), means, _, points, weight, flag in table
        ]


def points_of(numbers: list[float]) -> list[Point]:
    """The points that a client has drawn, of four numbers each; a step is never 0."""
    table = (numbers[start : start + 4] for start in range(0, len(numbers), 4))
    return [Point(int(e), int(s), loss, accuracy) for e, s, loss, accuracy in table if s]


def report_sizes(model: FlatModel, num_points: int) -> list[int]:
    """A row's columns, where a client draws so many points in a round at most."""
    return [3, model.layer_shape[0], len(model.counters), 4 * num_points]
