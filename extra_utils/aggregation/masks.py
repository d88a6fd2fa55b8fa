"""Pairwise masks: what one client of a pair adds to its message the other takes away, modulo 2^64.

The server sees uniform noise from each, and of all together the exact sum. Here a pair's stream is
drawn from the run's seed, where a real client would agree on it (Diffie-Hellman), and nobody drops
out. Source: Bonawitz et al., CCS 2017; with some neighbours only: Bell et al., CCS 2020.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from extra_utils.aggregation.messages import RoundPlan
from extra_utils.basics.errors import RunFailed
from extra_utils.basics.random_streams import Purpose

INT64 = np.iinfo(np.int64)
Masks = list[tuple[int, Generator]]  # for each partner the sign, and the pair's stream


def masks_of(clients: list[int], plan: RoundPlan) -> Callable[[int], Masks]:
    """Of each of the clients that send: with its neighbours on a ring that is drawn each round.

    Raises RunFailed where there is but one, which no mask can hide."""
    if plan.neighbours and len(clients) == 1:
        raise RunFailed(f"secure_aggregation: client {clients[0]} is kept alone: nothing masks it")
    ring = plan.draw(Purpose.MASKS, 0).permutation(clients).tolist()  # pairs count from 1
    reach = min(plan.neighbours, len(ring)) // 2  # to each side; round the ring it is all others

    def masks(client: int) -> Masks:
        place, found = ring.index(client), Masks()
        steps = range(-reach, reach + 1)
        for other in sorted({ring[(place + step) % len(ring)] for step in steps} - {client}):
            pair = min(client, other) * plan.num_clients + max(client, other)
            found.append((1 if client < other else -1, plan.draw(Purpose.MASKS, pair)))
        return found

    return masks


def mask(values: Tensor, masks: Masks) -> Tensor:
    """The next values [B] int64 of a message behind its masks, in place; sums wrap around."""
    for sign, stream in masks:
        drawn = stream.integers(INT64.min, INT64.max, len(values), np.int64, endpoint=True)
        values.add_(torch.from_numpy(drawn), alpha=sign)
    return values
