"""Child processes, for what may hang or has its own core, and the cores that there are."""

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import connection
from pathlib import Path
from typing import Any, NamedTuple

from extra_utils.basics.errors import ConfigError, RunFailed
from extra_utils.basics.files import temporary_folder
from extra_utils.basics.heartbeat import state_of

Task = Callable[..., Any]
PATIENCE_S = 20.0  # a download that brings no byte for this long has failed


class Unavailable(RunFailed):
    """What was asked for is not to be had; the message, one line, says why."""


def in_child(
    function: Task, *args: object, growing: Path | None = None, meanwhile: Task = lambda: None
) -> Any:
    """``function(*args)`` in a child process, with this one busy ``meanwhile``.

    Raises Unavailable where it fails, and ConfigError as it does. A child that fetches into the
    folder ``growing`` is ended when that has stopped to grow."""
    context = process_context()
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(sender, function, *args), daemon=True)
    child.start()
    sender.close()
    try:
        meanwhile()
        if growing:
            _wait(receiver, growing)
        is_right, answer = receiver.recv()
    except EOFError:
        raise Unavailable("the process that reads it died") from None
    finally:
        child.kill()
        child.join()
    if not is_right:
        raise answer
    return answer


def _wait(receiver: connection.Connection, growing: Path) -> None:
    size, since = -1, time.monotonic()
    while not receiver.poll(0.2):
        known = size
        with contextlib.suppress(OSError):  # one has gone, or has got its name, meanwhile
            size = sum(path.stat().st_size for path in growing.rglob("*") if path.is_file())
        if size != known:
            since = time.monotonic()
        elif time.monotonic() - since > PATIENCE_S:
            raise Unavailable(f"nothing came for {PATIENCE_S:.0f} seconds")


def _child(sender: connection.Connection, function: Task, *args: object) -> None:
    end_with_parent()
    socket.setdefaulttimeout(PATIENCE_S / 2)
    try:
        sender.send((True, function(*args)))
    except ConfigError as error:
        sender.send((False, ConfigError(str(error))))
    except (OSError, RuntimeError, ValueError) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or error
        sender.send((False, Unavailable(" ".join(str(reason).split()))))


class Ended(NamedTuple):
    name: str  # the task's
    status: int  # below 0: of the signal that ended it
    said: str  # on standard output and error


def side_by_side(tasks: Mapping[str, Task], jobs: int) -> Iterator[Ended]:
    """The tasks as they end, so many at a time; SIGTERM ends those left when the caller is done."""
    context = process_context()
    waiting, running = list(tasks.items()), dict[Any, Any]()  # processes by their sentinels
    with temporary_folder("fl-jobs-") as folder:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    name, task = waiting.pop(0)
                    (folder / name).touch()
                    process = context.Process(target=_work, args=(task, folder / name), name=name)
                    process.start()  # no daemon: it may start processes of its own
                    running[process.sentinel] = process
                for sentinel in connection.wait(list(running)):
                    process = running.pop(sentinel)
                    process.join()
                    said = (folder / process.name).read_text("utf-8", "backslashreplace")
                    yield Ended(process.name, process.exitcode, said)
        finally:
            for process in running.values():
                process.terminate()
            for process in running.values():
                process.join()


def _work(task: Task, said: Path) -> None:
    end_with_parent()
    with said.open("wb") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    sys.exit(task())  # it returns its exit status


def process_context() -> Any:
    """``fork`` on Linux, where it saves each process the imports; ``spawn`` elsewhere."""
    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def end_with_parent() -> None:
    """From now on this child ends with its parent, not with Ctrl-C, and lets go of all locks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C, and ends its children
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def is_gone(pid: int) -> bool:
    """Whether the process has ended, reaped by its parent or not yet."""
    try:
        os.kill(pid, 0)
    except OSError as error:  # PermissionError: another user's
        return isinstance(error, ProcessLookupError)
    return state_of(pid) in ("Z", "X")
