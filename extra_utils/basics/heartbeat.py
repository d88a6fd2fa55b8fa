"""Signs of life: what each rank is doing, in memory that whoever watches can read at any time."""

import contextlib
from collections.abc import Iterator
from ctypes import Array, Structure, c_int64
from typing import Any

NO_CLIENT = -1
DONE, FAILED = 1, 2


class RankHeartbeat(Structure):
    """What is known of one rank, which alone writes it."""

    _fields_ = (
        ("rank", c_int64),
        ("beats", c_int64),  # steps taken so far: batches, blocks, files
        ("is_waiting", c_int64),  # for the others, and alive however long that takes
        ("round_index", c_int64),  # 0: it is before its first
        ("client", c_int64),
        ("pid", c_int64),  # 0: it has not begun
        ("ended", c_int64),  # DONE with all its work, or FAILED and has said why
    )

    def beat(self) -> None:
        self.beats += 1

    def place(self, round_index: int, client: int = NO_CLIENT) -> None:
        """From here on the rank works on this round, and on this client if one is named."""
        self.client, self.round_index = client, round_index
        self.beat()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        self.is_waiting = 1
        yield  # an error leaves the mark, which says that the fault is another rank's
        self.is_waiting = 0
        self.beat()

    def __str__(self) -> str:
        """Where the rank is: ``rank 1 (client 1, round 3)``, ``rank 1 (round 3)``."""
        if not self.round_index:
            return f"rank {self.rank} (before its first round)"
        client = f"client {self.client}, " if self.client != NO_CLIENT else ""
        return f"rank {self.rank} ({client}round {self.round_index})"


Heartbeats = Array[RankHeartbeat]


def new_heartbeats(context: Any, world_size: int) -> Heartbeats:
    """One for each rank, in the shared memory of ``context``, which is multiprocessing's."""
    return context.RawArray(RankHeartbeat, [(rank,) for rank in range(world_size)])
