"""What clients send, what a rule is given and answers, and what every rank knows in the end.

Without torch, so that rules load at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from extra_utils.basics.errors import ClientFailed
from extra_utils.basics.random_streams import Purpose, stream

if TYPE_CHECKING:
    from torch import Tensor

    from extra_utils.aggregation.flat_model import WeightDiff

LARGEST_DIFF = 2.0**18  # so that no sum of differences can leave the 64 bits
Array = NDArray[np.float64]
Draw = Callable[[Purpose, int], Generator]  # the stream of a purpose and number in this round
State = dict[str, Array]
Forge = Callable[[Array], Array]  # a block of the honest differences [m, B] to [B]
Added = Callable[[int, Array], Array]  # a block's number, and the differences [n, B], to [B]


class HonestUpdates:
    """A round's updates that nobody attacks, as colluding attackers see them."""

    def __init__(self, updates: "Updates", num_attackers: int) -> None:
        self._updates, self.is_honest = updates, ~updates.is_attacker
        self.num_clients, self.num_attackers = len(updates.samples), num_attackers

    def gram(self, added: Forge) -> Array:
        """Inner products [m + 1, m + 1] of the differences and, last, of what is ``added``."""
        gram = self._updates.gram(lambda _, block: added(block[self.is_honest]))
        seen = np.append(self.is_honest, True)
        return gram[np.ix_(seen, seen)]


class Collusion(NamedTuple):
    """Clients that all send what an attack makes of the round's honest differences."""

    clients: list[int]
    attack: Callable[[HonestUpdates], Forge]


class RoundPlan(NamedTuple):
    """Who takes part in a round; the same on every rank."""

    samples: dict[int, int]  # the round's clients, ascending, and their numbers of images
    shares: list[list[int]]  # each rank's clients
    attackers: set[int]
    num_clients: int  # of the whole run
    collusions: Sequence[Collusion] = ()
    draw: Draw = partial(stream, 0)
    neighbours: int = 0  # with how many others a client shares masks; 0 without them

    def check(self, client_id: int, piece: "Tensor") -> None:
        """Raises ClientFailed where a piece of this client's difference does not go into the sum:
        training overflows, or an attack makes it too large."""
        low, high = piece.aminmax()
        largest = max(-low.item(), high.item())
        if largest < LARGEST_DIFF:  # NaN is not less than anything
            return
        what = "lr, or a weaker attack," if self.attackers else "lr"
        limit = f"a weight difference is {largest}, must be below {LARGEST_DIFF:.0f}"
        raise ClientFailed(f"client {client_id} diverged: {limit}; a smaller {what} may help")


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
    diff: "WeightDiff"  # [P], and the local model's counters [K]
    class_mean: "Tensor"  # [C] float64, of the last layer
    train_loss: float  # mean per batch over the round
    points: list[Point] = field(default_factory=list)
    edited_labels: int = 0  # of its images, those that an attack gave another label


class Updates(Protocol):
    """One round's n updates, clients in ascending order. All ranks ask for the same things."""

    client_ids: list[int]
    num_clients: int  # of the whole run
    samples: Array  # [n]
    draw: Draw

    @property
    def class_means(self) -> Array:
        """The weight matrix [n, C]."""

    @property
    def is_attacker(self) -> NDArray[np.bool_]:
        """Who attacks [n]; for the oracle alone."""

    def gram(self, added: Added | None = None) -> Array:
        """Inner products [n, n] of the differences of all trainable values; [n + 1, n + 1] with
        those of a row that is ``added`` below them."""

    def output_layer(self) -> Array:
        """Differences of the last layer [n, C, h + 1]; each class's bias stands last."""


@dataclass(frozen=True)
class Aggregate:
    """A rule's answer.

    The new global model moves by sum_i weights_i factors_i d_i, or by ``per_coordinate`` of blocks
    [n, B] of all differences, which works on each coordinate by itself: [B]. To that is ``added``
    what does not depend on the differences."""

    weights: Array  # [n], sums to 1, or all 0; running statistics are averaged by it as well
    factors: Array | float = 1.0  # [n], shortens single differences
    per_coordinate: Callable[[Array], Array] | None = None
    added: Added | None = None
    flagged: NDArray[np.bool_] | None = None  # [n], by rules that leave clients out
    keeps_step: bool = False  # the step of scored values goes into the state, as `step`
    state: State = field(default_factory=dict)  # kept for the next round, and in the checkpoint


Rule = Callable[[Updates, State], Aggregate]


@dataclass(frozen=True)
class ClientReport:
    """What every rank knows of one client after the all_reduce."""

    client_id: int
    num_samples: int
    edited_labels: int
    weight: float | None  # its share in the new global model; None by a rule that gives none
    train_loss: float
    class_mean: list[float]
    points: list[Point]
    flagged: bool | None = None  # left out by a rule that looks for attackers


@dataclass(frozen=True)
class RoundResult:
    """A round, brought together; equal on every rank."""

    total: "Tensor"  # [P] int64 in units of 2^-44: the weighted mean, or the server's step
    counters: "Tensor"  # [K] int64, the largest of the clients'
    reports: list[ClientReport]  # by client
    rule: State = field(default_factory=dict)  # what the rule remembers, and the server
    misreported: list[int] | None = None  # classes of which means lie; None: not compared


def by_samples(updates: Updates) -> Array:
    """Each client's share [n] of the round's images."""
    return updates.samples / updates.samples.sum()


def without(updates: Updates, flagged: NDArray[np.bool_], state: State | None = None) -> Aggregate:
    """The mean of the clients that are not flagged, by their images."""
    kept = np.where(flagged, 0.0, updates.samples)
    return Aggregate(kept / max(kept.sum(), 1.0), flagged=flagged, state=state or {})
