"""A model as a row of numbers: its values, what training made of them, and the exact sum of that.

All of it works on the tensors where they lie, a piece at a time: temporaries of the whole length
cost more than the arithmetic.
"""

import math
from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from extra_utils.model import is_frozen, last_linear, num_parameters

PIECE = 2**16  # values worked on at a time: two such pieces of float64 fit the second-level cache
BLOCK = 2**14  # values of a block: what a rule works on. It is part of what fixes a run's bytes
FIXED_POINT = 2.0**44  # a sum of weighted differences is kept in units of 2^-44


class FlatModel:
    """A model's floating-point values as one row [P], each tensor's in the order of its memory.

    First what is scored, the parameters that learn, of which the last layer's stand last; then the
    running statistics. Batch norm's counters, which are integers, stand apart. Of a frozen model
    only the last layer learns, and all else is left out. The row is no copy: who writes to it moves
    the model."""

    def __init__(self, model: nn.Module) -> None:
        buffers = [] if is_frozen(model) else list(model.buffers())
        self.scored = [flat(value) for value in model.parameters() if value.requires_grad]
        self.statistics = [flat(value) for value in buffers if value.is_floating_point()]
        self._counters = [flat(value) for value in buffers if not value.is_floating_point()]
        self.last = last = last_linear(model)
        self.layer_shape = last.weight.shape  # [C, h]
        self.num_scored = sum(map(len, self.scored))
        self.layer_size = num_parameters(last)
        self.num_statistics = sum(map(len, self.statistics))
        self.scored_blocks = -(-self.num_scored // BLOCK)
        self.num_blocks = self.scored_blocks - (-self.num_statistics // BLOCK)

    def __len__(self) -> int:
        return self.num_scored + self.num_statistics

    def pieces(self) -> Iterator[Tensor]:
        return in_pieces(self.scored + self.statistics)

    def cut(self, row: Tensor) -> tuple[Tensor, ...]:
        """Another row [P], cut where this one's pieces end."""
        return torch.split(row, [len(piece) for piece in self.pieces()])

    def to_blocks(self) -> Tensor:
        """A copy [blocks, BLOCK]; zeros fill up the scored values, and the statistics."""
        return torch.cat(filled_up(self.scored) + filled_up(self.statistics)).view(-1, BLOCK)

    def from_blocks(self, blocks: Tensor) -> Tensor:
        """Such blocks as a row [P], without the zeros."""
        row = blocks.flatten()
        statistics = row[self.scored_blocks * BLOCK :]
        return torch.cat([row[: self.num_scored], statistics[: self.num_statistics]])

    def as_layer(self, rows: Tensor) -> Tensor:
        """Rows of the last layer's values as [n, C, h + 1], the bias last; 0 if it has none."""
        num_classes, width = self.layer_shape
        rows = F.pad(rows, (0, num_classes * (width + 1) - rows.shape[1]))
        weights, biases = torch.split(rows, [num_classes * width, num_classes], dim=1)
        return torch.cat([weights.view(-1, num_classes, width), biases[:, :, None]], dim=2)

    def layer(self) -> Tensor:
        """The last layer [C, h + 1] in float64, its bias last."""
        rows = torch.cat([flat(value) for value in self.last.parameters()])
        return self.as_layer(rows[None])[0].double()

    @property
    def counters(self) -> Tensor:
        """The integers [K] that training changes."""
        return torch.cat([torch.zeros(0, dtype=torch.int64), *self._counters])

    def set_counters(self, counters: Tensor) -> None:
        """Writes back what ``counters`` [K] gives."""
        parts = torch.split(counters, [*map(len, self._counters)])
        for value, part in zip(self._counters, parts, strict=True):
            value.copy_(part)

    def move(self, step: Tensor) -> None:
        """Adds a step [P] int64 in units of 2^-44; the sum is rounded once."""
        for piece, part in zip(self.pieces(), self.cut(step), strict=True):
            piece.copy_(piece.double().add_(part.double(), alpha=1 / FIXED_POINT))


class WeightDiff:
    """Local minus global weights [P] in float64, finer than either is known. It is a view: what is
    written to the local model later counts too, and the global one must stay as it is."""

    def __init__(self, local_model: nn.Module, model: nn.Module) -> None:
        self.local, self._old = FlatModel(local_model), FlatModel(model)

    def pieces(self) -> Iterator[Tensor]:
        """The values in pieces; each uses the memory of the last."""
        memory = torch.empty(PIECE, dtype=torch.float64)
        for local, old in zip(self.local.pieces(), self._old.pieces(), strict=True):
            yield memory[: len(old)].copy_(local).sub_(old)

    def edit(self, function: Callable[[Tensor], Tensor]) -> None:
        """Lets the function change each scored piece; running statistics stay possible ones."""
        scored = in_pieces(self.local.scored), in_pieces(self._old.scored)
        for local, old in zip(*scored, strict=True):
            local.copy_(function(local.double() - old) + old)

    def length(self) -> float:
        """Of the scored values' difference."""
        scored = in_pieces(self.local.scored), in_pieces(self._old.scored)
        pairs = zip(*scored, strict=True)
        return math.sqrt(sum(float((new.double() - old).square().sum()) for new, old in pairs))


def flat(tensor: Tensor) -> Tensor:
    """A tensor's values as one row, in the order of its memory and without a copy."""
    contiguous = tensor.is_contiguous() or tensor.is_contiguous(memory_format=torch.channels_last)
    assert contiguous, "the tensor has gaps"
    return tensor.detach().as_strided((tensor.numel(),), (1,))


def in_pieces(rows: Iterable[Tensor]) -> Iterator[Tensor]:
    """Views of at most PIECE values; none goes from one tensor to the next."""
    for row in rows:
        yield from torch.split(row, PIECE)


def filled_up(rows: list[Tensor]) -> list[Tensor]:
    """The rows, and the zeros that they lack to whole blocks."""
    return [*rows, torch.zeros(-sum(map(len, rows)) % BLOCK)]


def to_fixed_point(diff: Tensor, weight: float | Tensor) -> Tensor:
    """round(weight * diff * 2^44), in place: whole numbers, of which sums as int64 are exact."""
    return diff.mul_(weight * FIXED_POINT).round_()
