"""Functions in child processes: one that may hang or has its own core, or many side by side."""

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import connection
from pathlib import Path
from typing import Any, NamedTuple

from extra_utils.basics.errors import ConfigError, RunFailed
from extra_utils.basics.files import temporary_folder
from extra_utils.processes.machine import end_with_parent, process_context

Task = Callable[[], int]  # returns its exit status
PATIENCE_S = 20.0  # a download that brings no byte for this long has failed


class Unavailable(RunFailed):
    """What was asked for is not to be had; the message, one line, says why."""


def in_child(
    function: Callable[..., Any],
    *args: object,
    growing: Path | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> Any:
    """``function(*args)`` in a child process, with this one busy ``meanwhile``.

    Raises Unavailable where it fails, and ConfigError as it does. A child that fetches into the
    folder ``growing`` is ended when that has stopped to grow.
    """
    context: Any = process_context()
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(sender, function, args), daemon=True)
    child.start()
    sender.close()
    try:
        meanwhile()
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


def _wait(receiver: connection.Connection, growing: Path | None) -> None:
    size, since = -1, time.monotonic()
    while not receiver.poll(0.2):
        files, now_size = growing.rglob("*") if growing else [], size
        with contextlib.suppress(OSError):  # one has gone, or has got its name, meanwhile
            now_size = sum(path.stat().st_size for path in files if path.is_file())
        if now_size != size or not growing:
            size, since = now_size, time.monotonic()
        elif time.monotonic() - since > PATIENCE_S:
            raise Unavailable(f"nothing came for {PATIENCE_S:.0f} seconds")


def _child(
    sender: connection.Connection, function: Callable[..., Any], args: tuple[object, ...]
) -> None:
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    socket.setdefaulttimeout(PATIENCE_S / 2)
    try:
        sender.send((True, function(*args)))
    except ConfigError as error:
        sender.send((False, ConfigError(str(error))))
    except (OSError, RuntimeError, ValueError) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or error
        sender.send((False, Unavailable(" ".join(str(reason).split()))))


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
