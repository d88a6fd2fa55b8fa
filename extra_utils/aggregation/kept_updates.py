"""A round's updates as a rule sees them: what clients publish, or all, once they are there."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from extra_utils.aggregation.flat_model import BLOCK, FlatModel, to_fixed_point
from extra_utils.aggregation.messages import (
    Added,
    Aggregate,
    Array,
    Collusion,
    HonestUpdates,
    RoundPlan,
    Update,
)
from extra_utils.distributed_utils import Ranks, from_bits, to_bits


class Published:
    """What is known to the server without a look at any update."""

    def __init__(self, plan: RoundPlan, means: Array, own: Sequence[Update] = ()) -> None:
        """``means``: all clients' class means. ``own``: what this rank's clients keep for now."""
        self._plan, self._own, self.draw = plan, own, plan.draw
        self.client_ids, self.num_clients = list(plan.samples), plan.num_clients
        self.samples: Array = np.array(list(plan.samples.values()), dtype=np.float64)
        self.class_means = means
        self.is_attacker: NDArray[np.bool_] = np.isin(self.client_ids, list(plan.attackers))

    def gram(self, added: Added | None = None) -> Array:  # noqa: ARG002
        """What a client knows: its own squared length; 0 for this rank in all other places."""
        squared = {update.client_id: update.diff.length() ** 2 for update in self._own}
        return np.diag([squared.get(client, 0.0) for client in self.client_ids])


class KeptUpdates(Published):
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
        super().__init__(plan, means)
        self._ranks, self._model = ranks, model
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
