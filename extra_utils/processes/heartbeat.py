"""Signs of life: what each rank is doing, in memory that the parent can read at any time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from multiprocessing.context import BaseContext
from typing import Any

BEATS, WAITING, ROUND, CLIENT = range(4)
FIELDS = 4
NO_CLIENT = -1


class Heartbeats:
    """One row of numbers for each rank; a rank writes its own row only."""

    def __init__(self, context: BaseContext, world_size: int) -> None:
        self._cells: Any = context.RawArray("q", world_size * FIELDS)
        for rank in range(world_size):
            self._cells[rank * FIELDS + CLIENT] = NO_CLIENT

    def read(self, rank: int) -> tuple[int, int, int, int]:
        """(signs of life so far, whether it waits for others, round, client or NO_CLIENT)."""
        beats, waiting, round_index, client = self._cells[rank * FIELDS : (rank + 1) * FIELDS]
        return beats, waiting, round_index, client

    def writer(self, rank: int) -> Heartbeat:
        return Heartbeat(self._cells, rank * FIELDS)

    def describe(self, rank: int) -> str:
        """Where the rank is, for messages: ``rank 1 (client 1, round 3)``."""
        _, _, round_index, client = self.read(rank)
        place = f"round {round_index}" if round_index else "before round 1"
        return f"rank {rank} ({f'client {client}, ' if client != NO_CLIENT else ''}{place})"


class Heartbeat:
    """The row of one rank, as that rank writes it."""

    def __init__(self, cells: Any, start: int) -> None:
        self._cells, self._start = cells, start

    def beat(self) -> None:
        """A step was taken: a batch, a block, a file."""
        self._cells[self._start + BEATS] += 1

    def place(self, round_index: int, client: int = NO_CLIENT) -> None:
        """From here on the rank works on this round, and on this client if one is named."""
        self._cells[self._start + ROUND] = round_index
        self._cells[self._start + CLIENT] = client
        self.beat()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """The rank waits for others and is alive however long that takes."""
        self._cells[self._start + WAITING] = 1
        yield  # an error leaves the mark, which says that the fault is another rank's
        self._cells[self._start + WAITING] = 0
        self.beat()
