"""Signs of life: what each rank is doing, in memory that whoever watches can read at any time."""

import contextlib
import time
from collections.abc import Iterator
from copy import copy
from ctypes import Array, Structure, c_int64
from pathlib import Path
from typing import Any

NO_CLIENT = -1
LONGEST_STEP_S = 1.0  # of the watch's own clock; more means that the watcher was itself stopped


class RankHeartbeat(Structure):
    """What is known of one rank, which alone writes it."""

    _fields_ = (
        ("rank", c_int64),
        ("beats", c_int64),  # steps taken so far: batches, blocks, files
        ("is_waiting", c_int64),  # for the others, and alive however long that takes
        ("round_index", c_int64),  # 0: it is before its first
        ("client", c_int64),
        ("pid", c_int64),  # 0: it has not begun
        ("has_ended", c_int64),  # with all its work done, or it has said why not
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


class StillnessWatch:
    """Tells a rank that stands still from one that works long or waits for others."""

    def __init__(self, heartbeats: Heartbeats, timeout_s: float) -> None:
        self._heartbeats, self._timeout_s = heartbeats, timeout_s
        self._last_beats = [-1] * len(heartbeats)
        self._still_s = [0.0] * len(heartbeats)
        self._looked = time.monotonic()

    def look(self, at_work: set[int]) -> list[int]:
        """Those of the ranks ``at_work`` for whose sake the run must end."""
        now = time.monotonic()
        step, self._looked = min(now - self._looked, LONGEST_STEP_S), now
        # copies, which stay as they are while they are looked at
        rows = {rank: copy(self._heartbeats[rank]) for rank in sorted(at_work)}
        for rank, row in rows.items():
            is_still = row.beats == self._last_beats[rank]
            self._still_s[rank] = self._still_s[rank] + step if is_still else 0
            self._last_beats[rank] = row.beats
        late = [rank for rank in rows if self._still_s[rank] > self._timeout_s]
        at_fault = [rank for rank in late if not rows[rank].is_waiting]
        return at_fault or (late if len(late) == len(rows) else [])

    def explain(self, still: list[int]) -> str:
        """The message that ends the run."""
        stopped = [rank for rank in still if state_of(self._heartbeats[rank].pid) in ("T", "t")]
        names = ", ".join(str(self._heartbeats[rank]) for rank in stopped or still)
        what = f"{names}: no sign of life for timeout_s = {self._timeout_s:g} seconds"
        return f"{what}; where a single step takes longer, a larger timeout_s helps"


def state_of(pid: int) -> str:
    """The letter in the third field of /proc/PID/stat; "" where the system has no such file."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2][:1]
    return ""
