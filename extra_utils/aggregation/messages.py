"""What crosses the wire, and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from extra_utils.aggregation.updates import State

BLOCK = 2**16  # values worked on at a time: two such blocks of float64 fit the second-level cache


class WeightDiff:
    """Local minus global weights [P] in float64, where the difference is exact.

    It is computed a block at a time from the tensors of both models, which it does not copy:
    temporaries of the whole length cost more than the arithmetic. Values come in the order in
    which the tensors lie in memory.
    """

    def __init__(self, local: list[Tensor], old: list[Tensor]) -> None:
        self._pairs = [(flat(a), flat(b)) for a, b in zip(local, old, strict=True)]

    def __len__(self) -> int:
        return sum(len(old) for _, old in self._pairs)

    def blocks(self) -> Iterator[Tensor]:
        """float64 values, at most BLOCK at a time; each block uses the memory of the last."""
        buffer = torch.empty(BLOCK, dtype=torch.float64)
        for local, old in self._parts():
            yield buffer[: len(old)].copy_(local).sub_(old)

    def local(self, num_first: int) -> tuple[list[Tensor], list[Tensor]]:
        """The local model's tensors: those that hold the first so many values, and the others."""
        first: list[Tensor] = []
        tensors = [local for local, _ in self._pairs]
        while sum(map(len, first)) < num_first:
            first.append(tensors.pop(0))
        return first, tensors

    def edit(self, function: Callable[[Tensor], Tensor], num_first: int) -> None:
        """Moves the local model so that each block of the first so many values is what the
        function makes of it; running statistics, which come last, stay possible ones."""
        done = 0
        for (local, old), block in zip(self._parts(), self.blocks(), strict=True):
            if done == num_first:
                return
            local.copy_(function(block) + old)
            done += len(old)

    def dense(self) -> Tensor:
        """All values [P] at once."""
        return torch.cat([block.clone() for block in self.blocks()])

    def _parts(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Both models' values, at most BLOCK at a time; a part never crosses two tensors."""
        for local, old in self._pairs:
            for start in range(0, len(old), BLOCK):
                yield local[start : start + BLOCK], old[start : start + BLOCK]


def flat(tensor: Tensor) -> Tensor:
    """A tensor's values as one row, in the order of its memory and without a copy."""
    contiguous = tensor.is_contiguous() or tensor.is_contiguous(memory_format=torch.channels_last)
    assert contiguous, "the tensor has gaps"
    return tensor.detach().as_strided((tensor.numel(),), (1,))


@dataclass(frozen=True)
class Point:
    """A local model at one of its evaluation points."""

    epoch: int
    step: int  # batches since the round began, from 1
    loss: float  # mean per batch since the point before
    accuracy: float  # percent of the test images


@dataclass(frozen=True)
class Update:
    """All that a client sends after its local training."""

    client_id: int
    num_samples: int
    diff: WeightDiff  # [P], for every floating-point value of the state
    counters: Tensor  # [K] int64, the integer values of the state
    class_mean: Tensor  # [C] float64, of the last layer
    train_loss: float  # mean per batch over the round
    points: list[Point] = field(default_factory=list)


@dataclass(frozen=True)
class ClientReport:
    """What every rank knows of one client after the all_reduce."""

    client_id: int
    num_samples: int
    weight: float | None  # its share in the new global model; None by a rule that gives none
    train_loss: float
    class_mean: list[float]
    points: list[Point]
    flagged: bool | None = None  # left out by a rule that looks for attackers


@dataclass(frozen=True)
class RoundResult:
    """A round, brought together; equal on every rank."""

    total: Tensor  # [P] int64, the weighted mean of the differences in units of 2^-44
    counters: Tensor  # [K] int64, the largest of the clients'
    reports: list[ClientReport]  # by client
    rule: State = field(default_factory=dict)  # what the rule remembers
