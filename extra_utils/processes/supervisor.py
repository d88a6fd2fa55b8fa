"""Starts the ranks, and ends the run when one of them dies or stands still.

The parent is no rank: it computes nothing with torch, so that its children can be forked after
the import: call ``start_ranks`` before any tensor operation.
"""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import copy
from multiprocessing import connection
from typing import Any

from extra_utils.basics.errors import ENDINGS, RunFailed, describe_os_error
from extra_utils.basics.files import SHARED_MEMORY, naming, temporary_folder
from extra_utils.basics.heartbeat import Heartbeats, new_heartbeats
from extra_utils.distributed_utils import Ranks, process_group
from extra_utils.processes.child import end_with_parent, process_context, state_of

Function = Callable[..., None]

POLL_S = 0.1
LONGEST_STEP_S = 1.0  # of the watch's own clock; more means that the watcher was itself stopped
GRACE_S = 0.5  # for the other ranks' reports, once one has failed


class StillnessWatch:
    """Tells a rank that stands still from one that works long or waits for others."""

    def __init__(self, heartbeats: Heartbeats, timeout_s: float) -> None:
        self._heartbeats, self._timeout_s = heartbeats, timeout_s
        self._last_beats = [-1] * len(heartbeats)
        self._still_s = [0.0] * len(heartbeats)
        self._looked = time.monotonic()

    def look(self, finished: set[int]) -> list[int]:
        """The ranks for whose sake the run must end."""
        now = time.monotonic()
        step, self._looked = min(now - self._looked, LONGEST_STEP_S), now
        # copies, which stay as they are while they are looked at
        rows = {row.rank: copy(row) for row in self._heartbeats if row.rank not in finished}
        for rank, row in rows.items():
            is_still = row.beats == self._last_beats[rank]
            self._still_s[rank] = self._still_s[rank] + step if is_still else 0
            self._last_beats[rank] = row.beats
        late = [rank for rank in rows if self._still_s[rank] > self._timeout_s]
        at_work = [rank for rank in late if not rows[rank].is_waiting]
        return at_work or (late if len(late) == len(rows) else [])

    def explain(self, still: list[int]) -> str:
        """The message that ends the run; of ranks elsewhere nobody knows whether they stopped."""
        states = {rank: state_of(self._heartbeats[rank].pid) for rank in still}
        stopped = [rank for rank, state in states.items() if state in ("T", "t")]  # by a signal
        names = ", ".join(str(self._heartbeats[rank]) for rank in stopped or still)
        what = f"{names}: no sign of life for timeout_s = {self._timeout_s:g} seconds"
        if stopped:
            return f"{what}, it was stopped"
        if "R" in states.values():  # on a processor, or waiting for one
            what += "; it computes, so a single step takes longer: a larger timeout_s may help"
        return what


def start_ranks(
    function: Function, args: tuple[Any, ...], *, world_size: int, threads: int, timeout_s: float
) -> None:
    """Runs ``function(ranks, *args)`` in ``world_size`` processes, and waits for all of them.

    Raises RunFailed where a rank fails, dies, or shows no sign of life for ``timeout_s``
    seconds; no process is left behind in any case.
    """
    context = process_context()
    # the ranks find each other by a file, and not by a port
    with temporary_folder("fl-ranks-") as folder:
        with naming(SHARED_MEMORY):
            heartbeats, reports = new_heartbeats(context, world_size), context.SimpleQueue()
        shared = (reports, (function, args), heartbeats, f"{folder}/ranks", threads)
        calls = [(rank, *shared) for rank in range(world_size)]
        ranks = [context.Process(target=_rank_main, args=call) for call in calls]
        try:
            for process in ranks:
                process.start()
            _watch(ranks, heartbeats, reports, timeout_s)
        finally:
            started = [process for process in ranks if process.pid is not None]
            for process in started:
                process.kill()
            for process in started:
                process.join()


def _rank_main(rank: int, reports: Any, call: tuple[Any, Any], *group: Any) -> None:
    end_with_parent()
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if (failure := failure_of(process_group(rank, *group), *call)) is not None:
        reports.put({rank: failure})
        os._exit(1)


def failure_of(group: AbstractContextManager[Ranks], function: Function, args: Any) -> str | None:
    """Runs ``function(ranks, *args)`` as one of the group; why it failed, None if it did not."""
    try:
        with group as ranks:
            function(ranks, *args)
    except ENDINGS as error:
        return describe_os_error(error) if isinstance(error, OSError) else str(error)
    except Exception as error:  # the one place: it becomes the message that names the rank
        return f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
    return None


def _watch(ranks: list[Any], heartbeats: Heartbeats, reports: Any, timeout_s: float) -> None:
    """Returns when all ranks have ended with status 0; raises RunFailed when one cannot."""
    watch = StillnessWatch(heartbeats, timeout_s)
    while True:
        codes = [process.exitcode for process in ranks]  # read once: all that follows agrees
        if any(codes):
            raise RunFailed(_explain(ranks, heartbeats, reports))
        if None not in codes:
            return
        if still := watch.look({rank for rank, code in enumerate(codes) if code == 0}):
            raise RunFailed(watch.explain(still))
        connection.wait([p.sentinel for p in ranks if p.exitcode is None], timeout=POLL_S)


def _explain(ranks: list[Any], heartbeats: Heartbeats, reports: Any) -> str:
    """The failure that came first, not those that followed from it."""
    time.sleep(GRACE_S)
    reasons = dict[int, str]()
    while not reports.empty():
        reasons |= reports.get()
    codes = [process.exitcode for process in ranks]  # a killed rank's may have come last
    for rank, code in enumerate(codes):
        if code is not None and code < 0:
            return f"{heartbeats[rank]} was killed by {signal.Signals(-code).name}"
    silent = [rank for rank, code in enumerate(codes) if code and rank not in reasons]
    # where a rank was waiting, another one's failure broke the connection
    at_fault = [rank for rank in reasons if not heartbeats[rank].is_waiting]
    first = [*at_fault, *silent, *reasons][0]
    what = f": {reasons[first]}" if first in reasons else f" ended with exit status {codes[first]}"
    return f"{heartbeats[first]}{what}"
