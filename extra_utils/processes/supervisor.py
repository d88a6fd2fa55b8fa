"""Starts the ranks, and ends the run when one of them dies or stands still.

The parent is no rank: it computes nothing with torch, so that its children can be forked after
the import: call ``start_ranks`` before any tensor operation.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any

from extra_utils.basics.errors import ClientFailed, ConfigError, RunFailed, describe_os_error
from extra_utils.distributed_utils import process_group
from extra_utils.processes.heartbeat import Heartbeats
from extra_utils.processes.machine import end_with_parent, is_stopped, process_context

POLL_S = 0.1
GRACE_S = 0.5  # for the other ranks' reports, once one has failed
LONGEST_STEP_S = 1.0  # of the parent's own clock; more means that the parent itself was stopped


@dataclass(frozen=True)
class Report:
    """What a failing rank tells the parent."""

    rank: int
    was_waiting: bool  # then another rank's failure broke the connection
    text: str


@dataclass(frozen=True)
class Setup:
    """What a rank needs to join the others."""

    world_size: int
    threads: int
    init_method: str
    heartbeats: Heartbeats


def start_ranks(
    function: Callable[..., None], args: tuple[Any, ...], *, world_size: int, threads: int,
    timeout_s: float,
) -> None:  # fmt: skip
    """Runs ``function(ranks, *args)`` in ``world_size`` processes, and waits for all of them.

    Raises RunFailed where a rank fails, dies, or shows no sign of life for ``timeout_s``
    seconds; no process is left behind in any case.
    """
    context: Any = process_context()
    with _rendezvous_folder() as folder:
        setup = Setup(
            world_size, threads, f"file://{folder / 'ranks'}", Heartbeats(context, world_size)
        )
        receiver, sender = context.Pipe(duplex=False)
        lock = context.Lock()
        ranks = [
            context.Process(target=_rank_main, args=(rank, setup, function, args, sender, lock))
            for rank in range(world_size)
        ]
        try:
            for process in ranks:
                process.start()
            _watch(ranks, receiver, setup.heartbeats, timeout_s)
        finally:
            _end_all(ranks)


@contextlib.contextmanager
def _rendezvous_folder() -> Iterator[Path]:
    """A folder of mode 700 in which the ranks find each other, by a file and not by a port."""
    folder = Path(tempfile.mkdtemp(prefix="fl-ranks-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _rank_main(
    rank: int, setup: Setup, function: Callable[..., None], args: tuple[Any, ...],
    sender: connection.Connection, lock: Any,
) -> None:  # fmt: skip
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C, and ends the ranks
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()
    heartbeats = setup.heartbeats.writer(rank)
    try:
        with process_group(
            rank, setup.world_size, setup.init_method, setup.threads, heartbeats
        ) as ranks:
            function(ranks, *args)
    except Exception as error:  # the one place: it becomes the message that names the rank
        with lock:
            sender.send(Report(rank, _is_waiting(setup.heartbeats, rank), _describe(error)))
        os._exit(1)


def _is_waiting(heartbeats: Heartbeats, rank: int) -> bool:
    return bool(heartbeats.read(rank)[1])


def _describe(error: Exception) -> str:
    if isinstance(error, ClientFailed | ConfigError):
        return str(error)
    if isinstance(error, OSError):
        return describe_os_error(error)
    return f"{type(error).__name__}: {error}\n{''.join(traceback.format_exception(error))}"


def _watch(ranks: list[Any], receiver: Any, heartbeats: Heartbeats, timeout_s: float) -> None:
    """Returns when all ranks have finished; raises RunFailed when one cannot."""
    watch = StillnessWatch(heartbeats, len(ranks), timeout_s)
    while any(process.exitcode is None for process in ranks):
        alive = [process.sentinel for process in ranks if process.exitcode is None]
        connection.wait(alive, timeout=POLL_S)
        if any(process.exitcode for process in ranks):
            raise RunFailed(_explain(ranks, receiver, heartbeats))
        finished = {rank for rank, process in enumerate(ranks) if process.exitcode == 0}
        if still := watch.look(finished):
            stopped = [rank for rank in still if is_stopped(ranks[rank].pid)]
            names = ", ".join(heartbeats.describe(rank) for rank in stopped or still)
            what = f"no sign of life for timeout_s = {timeout_s:g} seconds"
            raise RunFailed(f"{names}: {what}{', it was stopped' if stopped else ''}")


class StillnessWatch:
    """Tells a rank that stands still from one that works long or waits for others."""

    def __init__(self, heartbeats: Heartbeats, world_size: int, timeout_s: float) -> None:
        self._heartbeats, self._timeout_s = heartbeats, timeout_s
        self._last_beats = [-1] * world_size
        self._still_s = [0.0] * world_size
        self._looked = time.monotonic()

    def look(self, finished: set[int]) -> list[int]:
        """The ranks for whose sake the run must end."""
        now = time.monotonic()
        step, self._looked = min(now - self._looked, LONGEST_STEP_S), now
        rows = {r: self._heartbeats.read(r) for r in range(len(self._still_s)) if r not in finished}
        for rank, (beats, *_) in rows.items():
            self._still_s[rank] = (
                self._still_s[rank] + step if beats == self._last_beats[rank] else 0
            )
            self._last_beats[rank] = beats
        late = [rank for rank in rows if self._still_s[rank] > self._timeout_s]
        at_work = [rank for rank in late if not rows[rank][1]]
        return at_work or (late if len(late) == len(rows) else [])


def _explain(ranks: list[Any], receiver: Any, heartbeats: Heartbeats) -> str:
    """The failure that came first, not those that followed from it."""
    end = time.monotonic() + GRACE_S
    reports: list[Report] = []
    while (left := end - time.monotonic()) > 0:
        if receiver.poll(left):
            reports.append(receiver.recv())
    killed = [(r, -p.exitcode) for r, p in enumerate(ranks) if (p.exitcode or 0) < 0]
    if killed:
        rank, number = killed[0]
        return f"{heartbeats.describe(rank)} was killed by {signal.Signals(number).name}"
    reported = {report.rank for report in reports}
    silent = [(r, p.exitcode) for r, p in enumerate(ranks) if p.exitcode and r not in reported]
    at_fault = [report for report in reports if not report.was_waiting] or (
        [] if silent else reports
    )
    if at_fault:
        return f"{heartbeats.describe(at_fault[0].rank)}: {at_fault[0].text}"
    rank, code = silent[0]
    return f"{heartbeats.describe(rank)} ended with exit status {code}"


def _end_all(ranks: list[Any]) -> None:
    started = [process for process in ranks if process.pid is not None]
    for process in started:
        process.kill()
    for process in started:
        process.join()
