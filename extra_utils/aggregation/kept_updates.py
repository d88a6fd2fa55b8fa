"""A round's updates, kept for a rule that looks at each of them, and what the rule makes of them.

A rank holds its own clients' models and, after an all_to_all, all clients' values of its own
slice instead: max(own clients, all clients / ranks) x values and a little more. Slices are whole
blocks of a fixed size, and a block is always the same array, clients in ascending order; so the
result has the same bytes for any number of ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from extra_utils.aggregation.messages import flat
from extra_utils.aggregation.updates import Aggregate, Array
from extra_utils.distributed_utils import Ranks, from_bits, to_bits
from extra_utils.model import last_linear, scored_values, statistics

SLICE = 2**14  # values of a block


class Layout:
    """The model's values as blocks: first those that are scored, then running statistics."""

    def __init__(self, model: nn.Module) -> None:
        scored = scored_values(model)
        self.num_scored = sum(value.numel() for value in scored)
        self.num_statistics = sum(value.numel() for value in statistics(model))
        self.scored_blocks = -(-self.num_scored // SLICE)
        self.num_blocks = self.scored_blocks - (-self.num_statistics // SLICE)
        layer = last_linear(model)
        self._layer_shape = layer.weight.shape  # [C, h]
        places = [value.data_ptr() for value in scored]
        before = scored[: places.index(layer.weight.data_ptr())]
        start = sum(value.numel() for value in before)
        num_biases = 0 if layer.bias is None else layer.bias.numel()  # right after the weights
        self._layer = slice(start, start + layer.weight.numel() + num_biases)

    def share(self, rank: int, world_size: int) -> slice:
        """The blocks that a rank works on."""
        start, stop = (self.num_blocks * r // world_size for r in (rank, rank + 1))
        return slice(start, stop)

    def pack(self, scored: list[Tensor], others: list[Tensor]) -> Tensor:
        """The values [blocks, SLICE], float32; zeros fill up each of the two parts."""
        packed = torch.zeros(self.num_blocks * SLICE)
        for start, values in ((0, scored), (self.scored_blocks * SLICE, others)):
            for value in values:
                packed[start : start + value.numel()] = flat(value)
                start += value.numel()
        return packed.view(self.num_blocks, SLICE)

    def unpack(self, blocks: Tensor) -> Tensor:
        """Without the zeros again: [P], in the order of ``float_values``."""
        row = blocks.flatten()
        start = self.scored_blocks * SLICE
        return torch.cat([row[: self.num_scored], row[start : start + self.num_statistics]])

    def layer_rows(self, clients: list[int], own: dict[int, Tensor], old: Tensor) -> Tensor:
        """The last layer's differences of own clients [n, C h + C]; zeros for all others."""
        rows = torch.zeros(len(clients), self._layer.stop - self._layer.start, dtype=torch.float64)
        before = old.flatten()[self._layer].double()
        for client, blocks in own.items():
            rows[clients.index(client)] = blocks.flatten()[self._layer].double() - before
        return rows

    def shape_layer(self, rows: Tensor) -> Tensor:
        """Rows [n, C h + C] as [n, C, h + 1]."""
        num_classes, width = self._layer_shape
        weights = rows[:, : num_classes * width].view(-1, num_classes, width)
        biases = rows[:, num_classes * width :]
        if not biases.shape[1]:
            biases = torch.zeros(len(rows), num_classes, dtype=rows.dtype)
        return torch.cat([weights, biases[:, :, None]], dim=2)


class KeptUpdates:
    """This round's updates as a rule sees them (``Updates``). All ranks ask for the same."""

    def __init__(self, ranks: Ranks, layout: Layout, old: Tensor, own: dict[int, Tensor],
                 shares: list[list[int]]) -> None:  # fmt: skip
        """``old`` are the global model's blocks, ``own`` those of each of this rank's clients,
        which are taken out of it, and ``shares`` every rank's clients. All ranks call this."""
        self._ranks, self._layout = ranks, layout
        self.client_ids = sorted(client for share in shares for client in share)
        self._layer = layout.layer_rows(self.client_ids, own, old)
        self._mine = layout.share(ranks.rank, ranks.world_size)
        self._old = old[self._mine]
        self._slices = self._exchange(own, shares)  # [clients in the order of shares, mine, SLICE]
        sent = [share[turn] for turn in range(max(map(len, shares))) for share in shares
                if turn < len(share)]  # fmt: skip
        self._rows = [sent.index(client) for client in self.client_ids]

    def set_figures(
        self, num_clients: int, samples: Array, class_means: Array, attackers: set[int]
    ) -> None:
        """What a rule may know beside the differences."""
        self.num_clients, self.samples, self.class_means = num_clients, samples, class_means
        self.is_attacker: NDArray[np.bool_] = np.isin(self.client_ids, list(attackers))

    def gram(self) -> Array:
        """Inner products [n, n] of all scored differences; blocks are added in their order."""
        n = len(self.client_ids)
        grams = torch.zeros(self._layout.scored_blocks, n, n, dtype=torch.int64)
        for number, block in self._blocks():
            if number < self._layout.scored_blocks:
                grams[number] = to_bits(block @ block.T)
        self._ranks.all_reduce(grams)
        total: Array = np.zeros((n, n))
        for gram in from_bits(grams).numpy():
            total += gram
        return total

    def output_layer(self) -> Array:
        """The last layer's differences [n, C, h + 1]; the bias is 0 where there is none."""
        bits = to_bits(self._layer)
        self._ranks.all_reduce(bits)
        return self._layout.shape_layer(from_bits(bits)).numpy()

    def combine(self, aggregate: Aggregate, fix: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """The step of the global model that the rule has decided on: [P] int64.

        ``fix`` brings float64 values times their weight to fixed point. A weighted mean is a sum
        of integers, as without a rule: whoever leaves nobody out gets the same bytes. The updates
        are gone after it.
        """
        weights = torch.from_numpy(aggregate.weights)[:, None]  # [n, 1]
        factors = 1.0 if aggregate.factors is None else torch.from_numpy(aggregate.factors)[:, None]
        step = torch.zeros(self._layout.num_blocks, SLICE, dtype=torch.int64)
        for number, block in self._blocks():
            if number >= self._layout.scored_blocks:
                fixed = fix(block, weights)
            elif aggregate.combine is None:
                fixed = fix(block, weights * factors)
            else:
                fixed = fix(torch.from_numpy(aggregate.combine(block.numpy()))[None], torch.ones(1))
            step[number] = fixed.long().sum(dim=0)
        del self._slices
        self._ranks.all_reduce(step)
        return self._layout.unpack(step)

    def _exchange(self, own: dict[int, Tensor], shares: list[list[int]]) -> Tensor:
        """Every client's blocks of this rank's slice; in each turn a rank sends one client.

        What was sent is let go, so that memory does not grow meanwhile.
        """
        size = (self._mine.stop - self._mine.start) * SLICE
        received = torch.empty(len(self.client_ids) * size)
        start = 0
        for turn in range(max(map(len, shares))):
            has_one = [turn < len(share) for share in shares]
            is_sending = has_one[self._ranks.rank]
            blocks = own.pop(shares[self._ranks.rank][turn]) if is_sending else torch.empty(0)
            stop = start + sum(has_one) * size
            self._ranks.all_to_all(
                blocks.flatten(),
                [is_sending * self._num_values(rank) for rank in range(len(shares))],
                received[start:stop],
                [sends * size for sends in has_one],
            )
            start = stop
        return received.view(len(self.client_ids), -1, SLICE)

    def _num_values(self, rank: int) -> int:
        share = self._layout.share(rank, self._ranks.world_size)
        return (share.stop - share.start) * SLICE

    def _blocks(self) -> Iterator[tuple[int, Tensor]]:
        """This rank's blocks by number: differences [n, SLICE] in float64, clients ascending."""
        for place in range(self._mine.stop - self._mine.start):
            block = torch.stack([self._slices[row, place].double() for row in self._rows])
            yield self._mine.start + place, block.sub_(self._old[place].double())
            self._ranks.heartbeat.beat()
