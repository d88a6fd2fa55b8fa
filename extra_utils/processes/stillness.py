"""Tells a rank that stands still from one that works long or waits for others."""

import time

from extra_utils.basics.heartbeat import Heartbeats
from extra_utils.processes.machine import is_stopped

LONGEST_STEP_S = 1.0  # of the watcher's own clock; more means that it was itself stopped


class StillnessWatch:
    """Looks at the heartbeats again and again."""

    def __init__(self, heartbeats: Heartbeats, timeout_s: float) -> None:
        self._heartbeats, self._timeout_s = heartbeats, timeout_s
        self._last_beats = [-1] * heartbeats.world_size
        self._still_s = [0.0] * heartbeats.world_size
        self._looked = time.monotonic()

    def look(self, finished: set[int]) -> list[int]:
        """The ranks for whose sake the run must end."""
        now = time.monotonic()
        step, self._looked = min(now - self._looked, LONGEST_STEP_S), now
        rows = {r: self._heartbeats.read(r) for r in range(len(self._still_s)) if r not in finished}
        for rank, row in rows.items():
            is_still = row.beats == self._last_beats[rank]
            self._still_s[rank] = self._still_s[rank] + step if is_still else 0
            self._last_beats[rank] = row.beats
        late = [rank for rank in rows if self._still_s[rank] > self._timeout_s]
        at_work = [rank for rank in late if not rows[rank].waiting]
        return at_work or (late if len(late) == len(rows) else [])

    def explain(self, still: list[int]) -> str:
        """The message that ends the run; of ranks elsewhere nobody knows whether they stopped."""
        stopped = [rank for rank in still if is_stopped(self._heartbeats.read(rank).pid)]
        names = ", ".join(self._heartbeats.describe(rank) for rank in stopped or still)
        what = f"no sign of life for timeout_s = {self._timeout_s:g} seconds"
        return f"{names}: {what}{', it was stopped' if stopped else ''}"
