"""What the clients' models say, and how it is brought together: class means and weight differences.

The weighted mean of the differences is summed as integers, so that it does not depend on how many
processes add it up, nor in which order.
"""

from collections.abc import Iterator
from itertools import zip_longest

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from extra_utils.aggregation.flat_model import BLOCK, FIXED_POINT, FlatModel, to_fixed_point
from extra_utils.aggregation.messages import (
    Added,
    Aggregate,
    Array,
    Collusion,
    HonestUpdates,
    RoundPlan,
    RoundResult,
    Rule,
    Update,
)
from extra_utils.aggregation.reports import ReportRows, report_sizes
from extra_utils.distributed_utils import Ranks, from_bits, to_bits
from extra_utils.model import last_linear


def class_means(model: nn.Module) -> Tensor:
    """The article's class means [C]: a row's mean weight in the last layer, and its bias share."""
    layer = last_linear(model)
    weight = layer.weight.detach().double()  # [C, h]
    bias = 0.0 if layer.bias is None else layer.bias.detach().double()
    return weight.mean(dim=1) + bias / layer.in_features


class RoundSum:
    """How updates become one without a rule: each is added to a sum and forgotten.

    Its memory is used again in each round, and does not grow with the number of clients but for a
    short row of each client of a round."""

    def __init__(self, model: nn.Module, num_points: int, clients_per_round: int) -> None:
        """``num_points``: the most that a client draws in a round."""
        values = FlatModel(model)
        self._sizes = report_sizes(values, num_points)
        num_rest = clients_per_round * sum(self._sizes)
        self._packed = torch.empty(len(values) + num_rest, dtype=torch.int64)
        self._sum, self._rest = torch.split(self._packed, [len(values), num_rest])  # [P], reports
        self._pieces = values.cut(self._sum)

    def begin(self, plan: RoundPlan) -> None:
        """A new round, of which this rank will add its share."""
        total = sum(plan.samples.values())
        self._weights = {client_id: size / total for client_id, size in plan.samples.items()}
        self._plan, self._reports = plan, ReportRows(self._rest, plan, self._sizes)
        self._is_empty = True

    def add(self, update: Update) -> None:
        """Raises ClientFailed where a difference is not finite or too large for the sum."""
        for part, piece in zip(self._pieces, checked_pieces(update, self._plan), strict=True):
            fixed = to_fixed_point(piece, self._weights[update.client_id])
            if self._is_empty:
                part.copy_(fixed)
            else:
                part.add_(fixed.long())
        self._is_empty = False
        self._reports.put(update)

    def reduce(self, ranks: Ranks) -> RoundResult:
        """One packed all_reduce of all that the ranks have added, into memory that the next round
        uses again. All ranks call this."""
        if self._is_empty:
            self._sum.zero_()
        ranks.all_reduce(self._packed)
        shares = Aggregate(np.array(list(self._weights.values())))
        return RoundResult(self._sum, self._reports.counters(), self._reports.reports(shares))


class RuleRound:
    """How updates become one by a rule that looks at each: they are kept until all are there."""

    def __init__(
        self, model: nn.Module, num_points: int, rule: Rule, state: dict[str, Array]
    ) -> None:
        """``model`` is the global one, read where it lies; ``state`` what the rule remembers."""
        self._model, self._rule, self._state = FlatModel(model), rule, state
        self._sizes = report_sizes(self._model, num_points)

    def begin(self, plan: RoundPlan) -> None:
        """A new round, of which this rank will add its share."""
        self._plan = plan
        self._kept: dict[int, Tensor] = {}  # by client, the local model's blocks
        memory = torch.empty(len(plan.samples) * sum(self._sizes), dtype=torch.int64)
        self._reports = ReportRows(memory, plan, self._sizes)

    def add(self, update: Update) -> None:
        """Keeps the client's weights. Raises ClientFailed as the sum does."""
        for _ in checked_pieces(update, self._plan):
            pass
        self._kept[update.client_id] = update.diff.local.to_blocks()
        self._reports.put(update)

    def reduce(self, ranks: Ranks) -> RoundResult:
        """Asks the rule; where it leaves nobody, all stays as it is. All ranks call this."""
        ranks.all_reduce(self._reports.rows)
        own = map(self._kept.pop, self._plan.shares[ranks.rank])
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


class KeptUpdates:
    """A round's updates as a rule sees them (``Updates``). All ranks ask for the same things.

    Each rank works on all clients' values of its own slice. A slice is whole blocks, and a block is
    always the same array, clients in ascending order; so the result has the same bytes for any
    number of ranks. A rank holds max(own clients, all clients / ranks) x values and a little more.
    """

    def __init__(
        self, ranks: Ranks, plan: RoundPlan, model: FlatModel, own: Iterator[Tensor], means: Array
    ) -> None:
        """``model``: the global one. ``own``: the local models' blocks, in the order of this rank's
        share. Each is let go once it is sent, so that memory does not grow while slices come in;
        nobody else may hold it. ``means``: all clients' class means. All ranks call this."""
        self._ranks, self._plan, self._model, self.draw = ranks, plan, model, plan.draw
        self.client_ids, self.num_clients = list(plan.samples), plan.num_clients
        self.samples: Array = np.array(list(plan.samples.values()), dtype=np.float64)
        self.class_means = means
        self.is_attacker: NDArray[np.bool_] = np.isin(self.client_ids, list(plan.attackers))
        ends = np.arange(ranks.world_size + 1) * model.num_blocks // ranks.world_size
        self._mine = range(ends[ranks.rank], ends[ranks.rank + 1])
        self._old = model.to_blocks()[self._mine.start : self._mine.stop]
        self._slices = self._exchange(own, plan.shares, np.diff(ends) * BLOCK)

    def _exchange(
        self, own: Iterator[Tensor], shares: list[list[int]], sizes: NDArray[np.int64]
    ) -> dict[int, Tensor]:
        """Each client's values [mine, BLOCK] of this rank's slice; ``sizes`` are all ranks'."""
        rank = self._ranks.rank
        slices: dict[int, Tensor] = {}
        for turn in zip_longest(*shares):  # a client of each rank, None where it has no more
            clients = [client for client in turn if client is not None]
            sends = np.array([client is not None for client in turn])
            blocks = next(own) if sends[rank] else torch.empty(0)
            received = torch.empty(len(clients), len(self._mine), BLOCK)
            sent, taken = (sends[rank] * sizes).tolist(), (sends * sizes[rank]).tolist()
            self._ranks.all_to_all(blocks.flatten(), sent, received.flatten(), taken)
            slices.update(zip(clients, received, strict=True))
        return slices

    def collude(self, collusion: Collusion) -> None:
        """Lets the attack's clients send what it makes of the honest differences, with the class
        means of that; running statistics stay, and all where nobody is honest. Raises ClientFailed
        as the sum does. All ranks call this."""
        clients = [client for client in self.client_ids if client in collusion.clients]
        honest = HonestUpdates(self, len(clients))
        if not clients or not honest.is_honest.any():
            return
        make = collusion.attack(honest)
        for number, block in self._blocks(0, self._model.scored_blocks):
            values = torch.from_numpy(make(block.numpy()[honest.is_honest]))
            self._plan.check(clients[0], values)
            place = number - self._mine.start
            for client in clients:
                self._slices[client][place] = values + self._old[place]
        sent = self._model.layer().numpy() + self.output_layer()  # [n, C, h + 1]
        chosen = np.isin(self.client_ids, clients)
        self.class_means[chosen] = sent[chosen].sum(axis=2) / self._model.layer_shape[1]

    def gram(self, added: Added | None = None) -> Array:
        """Inner products [n, n] of all scored differences; blocks are added in their order."""
        n = len(self.client_ids) + (added is not None)
        grams = torch.zeros(self._model.scored_blocks, n, n, dtype=torch.int64)
        for number, block in self._blocks(0, len(grams)):
            if added is not None:
                block = torch.cat([block, torch.from_numpy(added(number, block.numpy()))[None]])
            grams[number] = to_bits(block @ block.T)
        self._ranks.all_reduce(grams)
        return sum(from_bits(grams).numpy(), start=np.zeros((n, n)))

    def output_layer(self) -> Array:
        """The last layer's differences [n, C, h + 1]; the bias is 0 where there is none."""
        model = self._model  # its last layer stands last
        first = (model.num_scored - model.layer_size) // BLOCK
        rows = torch.zeros(len(self.client_ids), model.scored_blocks - first, BLOCK).double()
        for number, block in self._blocks(first, model.scored_blocks):
            rows[:, number - first] = block
        scored = rows.flatten(1)[:, : model.num_scored - first * BLOCK]
        bits = to_bits(scored[:, -model.layer_size :])
        self._ranks.all_reduce(bits)
        return model.as_layer(from_bits(bits)).numpy()

    def step(self, aggregate: Aggregate) -> Tensor:
        """The step that the rule has decided on, [blocks, BLOCK] int64, 0 outside of this rank's
        slice. A weighted mean is a sum of integers, as without a rule: whoever leaves nobody out
        gets the same bytes."""
        weights = torch.from_numpy(aggregate.weights)[:, None]  # [n, 1]
        scored_weights = torch.from_numpy(aggregate.weights * aggregate.factors)[:, None]
        step = torch.zeros(self._model.num_blocks, BLOCK, dtype=torch.int64)
        for number, block in self._blocks(0, len(step)):
            if number >= self._model.scored_blocks:
                fixed = to_fixed_point(block, weights)
            elif aggregate.per_coordinate is None:
                fixed = to_fixed_point(block, scored_weights)
            else:
                values = aggregate.per_coordinate(block.numpy())
                fixed = to_fixed_point(torch.from_numpy(values)[None], 1.0)
            step[number] = fixed.long().sum(dim=0)
            if aggregate.added is not None and number < self._model.scored_blocks:
                values = aggregate.added(number, block.numpy())
                step[number] += to_fixed_point(torch.from_numpy(values), 1.0).long()
        return step

    def _blocks(self, first: int, stop: int) -> Iterator[tuple[int, Tensor]]:
        """This rank's of these blocks: number, differences [n, BLOCK] in float64."""
        for number in range(max(first, self._mine.start), min(stop, self._mine.stop)):
            place = number - self._mine.start
            values = [self._slices[client][place].double() for client in self.client_ids]
            yield number, torch.stack(values).sub_(self._old[place].double())
            self._ranks.heartbeat.beat()


def checked_pieces(update: Update, plan: RoundPlan) -> Iterator[Tensor]:
    """The difference's pieces. Raises ClientFailed where one is not finite or too large."""
    for piece in update.diff.pieces():
        plan.check(update.client_id, piece)
        yield piece
