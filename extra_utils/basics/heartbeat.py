"""Signs of life: what each rank is doing, in memory that whoever watches can read at any time."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

NO_CLIENT = -1


class Row(NamedTuple):
    """What is known of one rank; whole numbers all."""

    beats: int = 0  # steps taken so far: batches, blocks, files
    waiting: int = 0  # 1: it waits for the others, and is alive however long that takes
    round_index: int = 0
    client: int = NO_CLIENT
    pid: int = 0  # 0: it has not begun
    ended: int = 0  # 1: it has done all its work; 2: it has failed and said why


BEATS, WAITING, ROUND, CLIENT, PID, ENDED = range(len(Row()))
DONE, FAILED = 1, 2


class RankHeartbeat:
    """The row of one rank, as that rank writes it."""

    def __init__(self, cells: Any, start: int) -> None:
        self._cells, self._start = cells, start
        self._cells[start + PID] = os.getpid()

    def beat(self) -> None:
        self._cells[self._start + BEATS] += 1

    def place(self, round_index: int, client: int = NO_CLIENT) -> None:
        """From here on the rank works on this round, and on this client if one is named."""
        self._cells[self._start + ROUND] = round_index
        self._cells[self._start + CLIENT] = client
        self.beat()

    def end(self, how: int) -> None:
        """``DONE`` or ``FAILED``."""
        self._cells[self._start + ENDED] = how

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        self._cells[self._start + WAITING] = 1
        yield  # an error leaves the mark, which says that the fault is another rank's
        self._cells[self._start + WAITING] = 0
        self.beat()


class Heartbeats:
    """One row of numbers for each rank; a rank writes its own row only."""

    def __init__(self, context: Any, world_size: int) -> None:
        """``context``: multiprocessing's, of whose shared memory the rows are made."""
        self.world_size = world_size
        self._cells: Any = context.RawArray("q", list(Row()) * world_size)

    def read(self, rank: int) -> Row:
        return Row(*self._cells[rank * len(Row()) : (rank + 1) * len(Row())])

    def put(self, rank: int, row: Row) -> None:
        """A row that came from elsewhere."""
        self._cells[rank * len(row) : (rank + 1) * len(row)] = list(row)

    def writer(self, rank: int) -> RankHeartbeat:
        return RankHeartbeat(self._cells, rank * len(Row()))

    def describe(self, rank: int) -> str:
        """Where the rank is: ``rank 1 (client 1, round 3)``, ``rank 1 (round 3)``."""
        row = self.read(rank)
        place = f"round {row.round_index}" if row.round_index else "before its first round"
        return f"rank {rank} ({f'client {row.client}, ' if row.client != NO_CLIENT else ''}{place})"
