"""Starts the ranks or joins torchrun's, and ends the run when one of them dies or stands still.

Our own ranks have a parent that watches. It is no rank: it computes nothing with torch, so that its
children can be forked after the import: call ``start_ranks`` before any tensor operation. Of
torchrun's ranks, which have no parent of ours, each watches the others through torchrun's store.
"""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from multiprocessing import connection
from pathlib import Path
from typing import Any

from extra_utils.basics.errors import ENDINGS, RunFailed, describe_os_error
from extra_utils.basics.files import SHARED_MEMORY, naming, temporary_folder
from extra_utils.basics.heartbeat import Heartbeats, RankHeartbeat, StillnessWatch, new_heartbeats
from extra_utils.config.keys import Config
from extra_utils.distributed_utils import Ranks, process_group
from extra_utils.processes.child import end_with_parent, is_gone, process_context

Function = Callable[..., None]
POLL_S = 0.1
GRACE_S = 0.5  # for the other ranks' reports, once one has failed
LOOK_S = 0.5  # between two looks into torchrun's store
TORCHRUN_GRACE_S = 3.0  # in which it ends the ranks that another one's failure has reached


def start_ranks(
    function: Function, args: tuple[Any, ...], *, world_size: int, threads: int, timeout_s: float
) -> None:
    """Runs ``function(ranks, *args)`` in ``world_size`` processes, and waits for all of them.

    Raises RunFailed where one fails, dies, or stands still for ``timeout_s``; none is left behind.
    """
    context = process_context()
    # the ranks find each other by a file, and not by a port
    with temporary_folder("fl-ranks-") as folder:
        with naming(SHARED_MEMORY):
            heartbeats, reports = new_heartbeats(context, world_size), context.SimpleQueue()
        rest = (reports, (function, args), heartbeats, f"{folder}/ranks", threads)
        ranks = [context.Process(target=_as_rank, args=(rank, *rest)) for rank in range(world_size)]
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


def _as_rank(rank: int, reports: Any, call: tuple[Any, Any], *group: Any) -> None:
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
        if still := watch.look({rank for rank, code in enumerate(codes) if code is None}):
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


class TorchrunRank:
    """This process as one of torchrun's ranks."""

    def __init__(self, rank: int, local_rank: int, world_size: int, config: Config) -> None:
        self._rank, first = rank, rank - local_rank  # which has prepared this machine's data
        self._here = range(first, first + int(os.environ.get("LOCAL_WORLD_SIZE", world_size)))
        self._heartbeats = new_heartbeats(process_context(), world_size)
        self._own = self._heartbeats[rank]
        self._group = process_group(rank, self._heartbeats, None, config.threads_per_process)
        self._watch = StillnessWatch(self._heartbeats, config.timeout_s)
        self._ended = threading.Event()
        self._store: Any = None  # torch's
        self._job: Any = None

    def run(self, function: Function, data_folder: Path, job: Any) -> None:
        """``function(ranks, this machine's data folder, rank 0's job)``. Raises RunFailed."""
        # until all have met it waits outside of Python, where no handler of ours would be called
        self._on_end = signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            failure = failure_of(self._group, self._work, (function, data_folder, job))
            if failure is None:
                return
            reason = self._blame(failure)
        except SystemExit:  # torchrun ends this rank because of another one
            if not (reason := self._name_gone()):
                raise
        raise RunFailed(self._with_hint(reason))

    def _work(self, ranks: Ranks, function: Function, data_folder: Path, job: Any) -> None:
        signal.signal(signal.SIGTERM, self._on_end)
        self._store = ranks.store
        self._exchange()
        folders, self._job = ranks.all_gather(data_folder), ranks.broadcast(job)
        self._exchange()  # all have shown themselves: from here on each can be watched
        threading.Thread(target=self._watch_others, daemon=True).start()
        try:
            function(ranks, folders[self._here.start], self._job)
            self._own.has_ended = True
            self._exchange()
        finally:
            self._ended.set()

    def _with_hint(self, reason: str) -> str:
        return "\n".join(filter(None, [reason, self._job and self._job.hint()]))

    def _watch_others(self) -> None:
        """Until some stand still: ends those of this machine and itself; the lowest left speaks."""
        while not self._ended.wait(LOOK_S):
            self._exchange()
            at_work = {row.rank for row in self._heartbeats if not row.has_ended}
            if still := set(self._watch.look(at_work)):
                if self._rank == min(at_work - still, default=self._rank):
                    reason = self._with_hint(self._watch.explain(sorted(still)))
                    print(f"error: {reason}", file=sys.stderr, flush=True)
                for rank in still & set(self._here) - {self._rank}:
                    with suppress(ProcessLookupError):
                        os.kill(self._heartbeats[rank].pid, signal.SIGKILL)
                os._exit(1)

    def _exchange(self) -> None:
        """Own heartbeat into the store, the others' out of it."""
        if (store := self._store) is None:
            return  # this rank has not met the others yet
        for rank, row in enumerate(self._heartbeats):
            key = f"heartbeat of rank {rank}"
            if rank == self._rank:
                store.set(key, bytes(row))
            elif store.check([key]):
                self._heartbeats[rank] = RankHeartbeat.from_buffer_copy(store.get(key))

    def _blame(self, failure: str) -> str:
        """The message for this rank's failure; where it comes of another's, that one's name."""
        if not self._own.is_waiting:
            self._own.has_ended = True
            self._exchange()
            return f"{self._own}: {failure}"
        if gone := self._name_gone():
            return gone
        time.sleep(TORCHRUN_GRACE_S)
        return f"{self._own}: the connection to another rank is broken"

    def _name_gone(self) -> str:
        """Says which rank of this machine died without a word; "" where another rank says it."""
        self._exchange()
        rows = [self._heartbeats[rank] for rank in self._here]
        at_work = {row.rank: row.pid for row in rows if not row.has_ended}
        gone = [rank for rank, pid in at_work.items() if is_gone(pid)]
        is_speaker = gone and self._rank == min(at_work.keys() - set(gone), default=self._rank)
        return f"{self._heartbeats[gone[0]]} is gone" if is_speaker else ""
