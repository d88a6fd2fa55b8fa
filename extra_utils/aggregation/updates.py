"""What an aggregation rule is given, and what it answers; NumPy only, so that it loads at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
State = dict[str, Array]


class Updates(Protocol):
    """One round's n updates, clients in ascending order. All ranks ask for the same things."""

    client_ids: list[int]
    num_clients: int  # of the whole run
    samples: Array  # [n]
    class_means: Array  # [n, C]: the weight matrix
    is_attacker: NDArray[np.bool_]  # [n]; for the oracle alone

    def gram(self) -> Array:
        """Inner products [n, n] of the differences of all trainable values."""

    def output_layer(self) -> Array:
        """Differences of the last layer [n, C, h + 1]; each class's bias stands last."""


@dataclass(frozen=True)
class Aggregate:
    """A rule's answer.

    The new global model moves by sum_i weights_i factors_i d_i, or by ``combine`` of blocks [n, B]
    of all differences, which works on each coordinate by itself.
    """

    weights: Array  # [n], sums to 1; running statistics are averaged by it as well
    factors: Array | None = None  # [n], shortens single differences
    combine: Callable[[Array], Array] | None = None
    flagged: NDArray[np.bool_] | None = None  # [n], by rules that leave clients out
    state: State = field(default_factory=dict)  # kept for the next round, and in the checkpoint


def by_samples(updates: Updates) -> Array:
    """Each client's share [n] of the round's images."""
    return updates.samples / updates.samples.sum()


def without(updates: Updates, flagged: NDArray[np.bool_], state: State | None = None) -> Aggregate:
    """The mean of the clients that are not flagged, by their images."""
    kept = np.where(flagged, 0.0, updates.samples)
    return Aggregate(kept / max(kept.sum(), 1.0), flagged=flagged, state=state or {})
