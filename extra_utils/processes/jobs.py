"""Runs side by side, each in a process that is forked when its turn comes."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import connection
from pathlib import Path
from typing import Any, NamedTuple

from extra_utils.basics.files import temporary_folder
from extra_utils.processes.machine import end_with_parent, process_context

Task = Callable[[], int]  # returns its exit status


class Ended(NamedTuple):
    """A task that is over."""

    name: str
    status: int  # below 0: of the signal that ended it
    said: str  # on standard output and error


def side_by_side(tasks: Mapping[str, Task], jobs: int) -> Iterator[Ended]:
    """The tasks as they end, of which so many are at work at a time.

    A task may start processes of its own. When the caller is done before they are, they are ended
    as by SIGTERM, and waited for.
    """
    context: Any = process_context()
    waiting, running = list(tasks.items()), dict[Any, tuple[str, Any, Path]]()
    with temporary_folder("fl-jobs-") as folder:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    name, task = waiting.pop(0)
                    said = folder / str(len(waiting))
                    process = context.Process(target=_work, args=(task, said))
                    process.start()
                    running[process.sentinel] = name, process, said
                for sentinel in connection.wait(list(running)):
                    name, process, said = running.pop(sentinel)
                    process.join()
                    text = said.read_text("utf-8", "backslashreplace") if said.exists() else ""
                    yield Ended(name, process.exitcode, text)
        finally:
            for _, process, _ in running.values():
                process.terminate()
            for _, process, _ in running.values():
                process.join()


def _work(task: Task, said: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C
    end_with_parent()
    with said.open("wb") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    sys.exit(task())
