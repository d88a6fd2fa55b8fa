"""What every rank is to know of each client of a round, as integers that an all_reduce can add."""

import torch
from torch import Tensor

from extra_utils.aggregation.flat_model import FlatModel
from extra_utils.aggregation.messages import (
    Aggregate,
    Array,
    ClientReport,
    Point,
    RoundPlan,
    RoundResult,
    Update,
)
from extra_utils.distributed_utils import from_bits, to_bits


class ReportRows:
    """A short row [width] int64 of each of a round's n clients.

    Its own rank alone fills it, so the sum over the ranks is everybody's row: what is read of the
    rows is right once they are all_reduced.
    """

    def __init__(self, memory: Tensor, plan: RoundPlan, sizes: list[int]) -> None:
        """``memory`` [n * width] becomes the rows, ``sizes`` are those of ``report_sizes``."""
        self.rows = memory.zero_().view(-1, sum(sizes))
        columns = torch.split(self.rows, sizes, dim=1)
        self._samples, self._losses, self._means, self._counters, self._points = columns
        self._client_ids = list(plan.samples)

    def put(self, update: Update) -> None:
        place = self._client_ids.index(update.client_id)
        self._samples[place] = update.num_samples
        self._losses[place] = to_bits(torch.tensor([update.train_loss], dtype=torch.float64))
        self._means[place] = to_bits(update.class_mean)
        self._counters[place] = update.diff.local.counters
        table = [(p.epoch, p.step, p.loss, p.accuracy) for p in update.points]
        points = torch.tensor(table, dtype=torch.float64).flatten()
        self._points[place, : len(points)] = to_bits(points)

    def class_means(self) -> Array:
        """The weight matrix [n, C]."""
        return from_bits(self._means).numpy()

    def result(self, total: Tensor, aggregate: Aggregate) -> RoundResult:
        """The round: its total [P], and what is known of each client."""
        unknown = [None] * len(self.rows)
        tables = from_bits(self._points).view(len(self.rows), self._points.shape[1] // 4, 4)
        columns = (
            self._client_ids,
            self._samples.flatten().tolist(),
            unknown if aggregate.per_coordinate else aggregate.weights.tolist(),
            from_bits(self._losses).flatten().tolist(),
            from_bits(self._means).tolist(),
            map(points_of, tables.tolist()),
            unknown if aggregate.flagged is None else aggregate.flagged.tolist(),
        )
        reports = [ClientReport(*known) for known in zip(*columns, strict=True)]
        return RoundResult(total, self._counters.max(dim=0).values, reports, aggregate.state)


def points_of(table: list[list[float]]) -> list[Point]:
    """The points that a client has drawn; a step is never 0."""
    return [Point(int(e), int(s), loss, accuracy) for e, s, loss, accuracy in table if s]


def report_sizes(model: FlatModel, num_points: int) -> list[int]:
    """A row's columns: samples, loss, class mean, counters, and the most points in a round."""
    return [1, 1, model.layer_shape[0], len(model.counters), 4 * num_points]
