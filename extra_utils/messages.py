"""What crosses the wire, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


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
    diff: Tensor  # [P] float64, local minus global, for every floating-point value of the state
    counters: Tensor  # [K] int64, the integer values of the state
    class_mean: Tensor  # [C] float64, of the last layer
    train_loss: float  # mean per batch over the round
    points: list[Point] = field(default_factory=list)


@dataclass(frozen=True)
class ClientReport:
    """What every rank knows of one client after the all_reduce."""

    client_id: int
    num_samples: int
    weight: float  # its share in the new global model
    train_loss: float
    class_mean: list[float]
    points: list[Point]


@dataclass(frozen=True)
class RoundResult:
    """A round, brought together; equal on every rank."""

    diff: Tensor  # [P] float64, the weighted mean of the differences
    counters: Tensor  # [K] int64, the largest of the clients'
    reports: list[ClientReport]  # by client
