"""One of torchrun's ranks: joins the others, and watches over all through torchrun's store.

There is no parent of ours that could read the heartbeats, so each rank puts its own into the
store, reads the others', and ends the run when one of them stands still.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from extra_utils.basics.errors import RunFailed
from extra_utils.basics.heartbeat import DONE, FAILED, RankHeartbeat, new_heartbeats
from extra_utils.config.keys import Config
from extra_utils.distributed_utils import Ranks, process_group
from extra_utils.processes.child import is_gone, process_context
from extra_utils.processes.supervisor import Function, StillnessWatch, failure_of

POLL_S = 0.5  # between two looks at the others' heartbeats
GRACE_S = 3.0  # in which torchrun ends the ranks that another one's failure has reached


class TorchrunRank:
    """This process as one of the ranks."""

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
            self._own.ended = DONE
            self._exchange()
        finally:
            self._ended.set()

    def _with_hint(self, reason: str) -> str:
        hint = self._job.hint() if self._job is not None else ""
        return f"{reason}\n{hint}" if hint else reason

    def _watch_others(self) -> None:
        """Until some stand still: ends those of this machine and itself; the lowest left speaks."""
        still: list[int] = []
        while not still:
            if self._ended.wait(POLL_S):
                return
            self._exchange()
            still = self._watch.look({row.rank for row in self._heartbeats if row.ended})
        others = [row.rank for row in self._heartbeats if not row.ended and row.rank not in still]
        if self._rank == min(others, default=self._rank):
            reason = self._with_hint(self._watch.explain(still))
            print(f"error: {reason}", file=sys.stderr, flush=True)
        for rank in set(still) & set(self._here) - {self._rank}:
            with contextlib.suppress(ProcessLookupError):
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
            self._own.ended = FAILED
            self._exchange()
            return f"{self._own}: {failure}"
        if gone := self._name_gone():
            return gone
        time.sleep(GRACE_S)
        return f"{self._own}: the connection to another rank is broken"

    def _name_gone(self) -> str:
        """Says which rank of this machine died without a word; "" where another rank says it."""
        self._exchange()
        rows = [self._heartbeats[rank] for rank in self._here]
        at_work = {row.rank: row.pid for row in rows if not row.ended}
        gone = [rank for rank, pid in at_work.items() if is_gone(pid)]
        is_speaker = gone and self._rank == min(at_work.keys() - set(gone), default=self._rank)
        return f"{self._heartbeats[gone[0]]} is gone" if is_speaker else ""
