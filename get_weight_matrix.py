"""What the clients' models say, and how it is brought together: class means and weight differences.

The weighted mean of the differences is summed as integers, so that it does not depend on how many
processes add it up, nor in which order.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from extra_utils.aggregation.flat_model import BLOCK, FIXED_POINT, FlatModel, to_fixed_point
from extra_utils.aggregation.kept_updates import KeptUpdates, Published
from extra_utils.aggregation.masks import mask, masks_of
from extra_utils.aggregation.messages import Aggregate, RoundPlan, RoundResult, Rule, State, Update
from extra_utils.aggregation.reports import ReportRows, report_sizes
from extra_utils.distributed_utils import Ranks
from extra_utils.model import last_linear


def class_means(model: nn.Module) -> Tensor:
    """The article's class means [C]: a row's mean weight in the last layer, and its bias share."""
    layer = last_linear(model)
    weight = layer.weight.detach().double()  # [C, h]
    bias = 0.0 if layer.bias is None else layer.bias.detach().double()
    return weight.mean(dim=1) + bias / layer.in_features


class RoundSum:
    """How updates become one where nobody looks at a single one: each is added to a sum.

    Without a rule it is forgotten then; a rule that decides from class means alone is asked before
    anything is added. The memory is used again in each round, and does not grow with clients but
    for a short row of each client of a round and, with a rule, this rank's local models."""

    def __init__(
        self,
        model: nn.Module,
        num_points: int,
        clients_per_round: int,
        rule: Rule | None = None,
        state: State | None = None,
    ) -> None:
        """``model``: the global one. ``num_points``: the most that a client draws in a round."""
        self._model, self._rule, self._state = FlatModel(model), rule, state or {}
        self._sizes = report_sizes(self._model, num_points)
        size, num_rest = len(self._model), clients_per_round * sum(self._sizes)
        self._packed = torch.empty(size + num_rest, dtype=torch.int64)
        self._sum, self._rest = torch.split(self._packed, [size, num_rest])  # [P], reports
        self._pieces = self._model.cut(self._sum)

    def begin(self, plan: RoundPlan, beat: Callable[[], None] = lambda: None) -> None:
        """A new round, of which this rank will add its share; ``beat`` is called at each step."""
        self._plan, self._beat = plan, beat
        self._reports = ReportRows(self._rest, plan, self._sizes)
        self._own: list[Update] = []
        self._is_empty = True
        self._decide(Aggregate(np.array(list(plan.samples.values())) / sum(plan.samples.values())))

    def _decide(self, aggregate: Aggregate) -> None:
        """Who is to send with which weight, masked with whom."""
        self._aggregate, clients = aggregate, list(self._plan.samples)
        factors = np.broadcast_to(aggregate.factors, len(clients)).tolist()
        pairs = zip(aggregate.weights.tolist(), factors, strict=True)
        self._weights = {c: pair for c, pair in zip(clients, pairs, strict=True) if pair[0]}
        self._masks = masks_of(list(self._weights), self._plan)

    def add(self, update: Update) -> None:
        """Raises ClientFailed where a difference is not finite or too large for the sum."""
        self._reports.put(update)
        pieces = checked_pieces(update, self._plan)
        if self._rule is None:
            self._send(update.client_id, pieces)
            return
        for _ in pieces:  # looks at them all, and keeps none
            pass
        self._own.append(update)

    def _send(self, client_id: int, pieces: Iterator[Tensor]) -> None:
        """Adds the client's weighted difference in whole numbers, behind its masks if it has any:
        the message [P] that a server would be sent. Masks cancel in the sum, modulo 2^64."""
        (weight, factor), masks, place = self._weights[client_id], self._masks(client_id), 0
        for part, piece in zip(self._pieces, pieces, strict=True):
            is_scored = place < self._model.num_scored
            fixed = to_fixed_point(piece, weight * factor if is_scored else weight)
            message = mask(fixed.long(), masks) if masks else fixed
            self._beat()
            if self._is_empty:
                part.copy_(message)
            else:
                part.add_(message.long())
            place += len(part)
        self._is_empty = False

    def reduce(self, ranks: Ranks) -> RoundResult:
        """One packed all_reduce of all that the ranks have added, into memory that the next round
        uses again; before a rule's verdict one of the reports. All ranks call this."""
        if self._rule is not None:
            ranks.all_reduce(self._reports.rows)
            means = self._reports.columns()[1].numpy()  # sent as the int64 of the floats' bits
            published: Any = Published(self._plan, means, self._own)  # no differences of others
            self._decide(self._rule(published, self._state))
            for update in self._own:
                if update.client_id in self._weights:
                    self._send(update.client_id, update.diff.pieces())
            self._own.clear()
        if self._is_empty:
            self._sum.zero_()
        if ranks.is_main:
            self._add_noise()
        ranks.all_reduce(self._packed if self._rule is None else self._sum)
        self._state, reports = self._aggregate.state, self._reports.reports(self._aggregate)
        counters = self._reports.counters() if self._weights else self._model.counters
        return RoundResult(self._sum, counters, reports, self._state, self._misreported())

    def _add_noise(self) -> None:
        """What the rule adds to the sum, block by block of the scored values."""
        if (added := self._aggregate.added) is not None:
            for number, part in enumerate(torch.split(self._sum[: self._model.num_scored], BLOCK)):
                values = torch.from_numpy(added(number, np.empty((0, BLOCK))))[: len(part)]
                part.add_(to_fixed_point(values, 1.0).long())

    def _misreported(self) -> list[int] | None:
        """The classes of which the reported class means are not those of the sum, the worst first.

        The sum's rows are exact; each value was rounded once, and the reported means as floats."""
        if not isinstance(self._aggregate.factors, float):
            return None  # a client shortens its own by what it alone knows
        model, means = self._model, self._reports.columns()[1]  # [n, C]
        width, weights = model.layer_shape[1], torch.from_numpy(self._aggregate.weights)
        old = model.layer() * FIXED_POINT  # [C, h + 1]
        values = self._sum[model.num_scored - model.layer_size : model.num_scored]
        moved = model.as_layer(values[None].double())[0]
        told = weights @ means * width * FIXED_POINT - weights.sum() * old.sum(dim=1)  # [C]
        # twice what rounding the values can do, and what rounding long sums of floats does
        unit = len(means) * (width + 1) + 1e-12 * (old.abs() + moved.abs()).sum(dim=1)
        off = (moved.sum(dim=1) - told).abs() / unit
        worst = off.argsort(descending=True).tolist() if self._weights else []
        return [number for number in worst if off[number] > 1]


class RuleRound(RoundSum):
    """The same by a rule that looks at each update: they are exchanged once all are there."""

    def reduce(self, ranks: Ranks) -> RoundResult:
        """Asks the rule; where it keeps nobody, all stays as it is. All ranks call this."""
        assert self._rule is not None
        ranks.all_reduce(self._reports.rows)
        own = (self._own.pop(0).diff.local.to_blocks() for _ in self._plan.shares[ranks.rank])
        means = self._reports.columns()[1].numpy()  # the rows themselves, not a copy
        updates = KeptUpdates(ranks, self._plan, self._model, own, means)
        for collusion in self._plan.collusions:
            updates.collude(collusion)
        aggregate = self._rule(updates, self._state)
        ranks.all_reduce(step := updates.step(aggregate))
        del updates  # which are larger than what follows
        total, reports = self._model.from_blocks(step), self._reports.reports(aggregate)
        self._state = aggregate.state
        if aggregate.keeps_step:
            self._state["step"] = total[: self._model.num_scored].numpy() / FIXED_POINT
        counters = self._reports.counters() if aggregate.weights.any() else self._model.counters
        return RoundResult(total, counters, reports, self._state)


def checked_pieces(update: Update, plan: RoundPlan) -> Iterator[Tensor]:
    """The difference's pieces. Raises ClientFailed where one is not finite or too large."""
    for piece in update.diff.pieces():
        plan.check(update.client_id, piece)
        yield piece
