"""Child processes, for what may hang or has its own core, and what the machine has for them."""

import contextlib
import math
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
from extra_utils.config.keys import Config

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
    context = process_context()
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(sender, function, *args), daemon=True)
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


def _child(sender: connection.Connection, function: Callable[..., Any], *args: object) -> None:
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
    waiting, running = list(tasks.items()), dict[Any, tuple[str, Any, Path]]()
    with temporary_folder("fl-jobs-") as folder:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    name, task = waiting.pop(0)
                    said = folder / str(len(waiting))
                    process = context.Process(target=_work, args=(task, said))
                    process.start()  # no daemon: it may start processes of its own
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
    end_with_parent()
    with said.open("wb") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    sys.exit(task())


def process_context() -> Any:
    """``fork`` on Linux, where it saves each process the imports; ``spawn`` elsewhere."""
    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def available_cores() -> int:
    """The cores that this process may use: its affinity mask and its containers' quotas count."""
    if sys.platform == "linux":
        return max(1, min(len(os.sched_getaffinity(0)), math.ceil(cpu_quota())))
    return os.cpu_count() or 1


def advise_on_cores(config: Config, cores: int) -> str:
    """A line for a run that leaves cores idle or whose threads must take turns; "" for neither."""
    threads = config.world_size * config.threads_per_process
    use = f"world_size x threads_per_process = {threads} on {cores} cores"
    faster = "would be faster, with the same result"
    if threads > cores:
        if config.threads_per_process > 1:
            return f"{use}: they take turns; threads_per_process 1 would be faster"
        if config.world_size < config.clients_per_round:
            return f"{use}: they take turns; world_size {cores} {faster}"
        return f"{use}: they take turns"
    best = min(cores // config.threads_per_process, config.clients_per_round)
    if best > config.world_size:
        return f"{use}: some are idle; world_size {best} {faster}"
    more = "more clients on more processes would use them"
    return f"{use}: some are idle; {more}" if threads < cores else ""


def cpu_quota(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> float:
    """How many cores' time control groups (v2, or v1) give this process; many without a limit."""
    # source: "CPU Interface Files" in the Linux kernel's cgroup-v2 documentation
    cores = [float(os.cpu_count() or 1)]
    for line in _lines(membership):
        _, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            top = root / controllers
            group = top / path.lstrip("/")
            places = [place for place in (group, *group.parents) if place.is_relative_to(top)]
            cores += map(_quota_of, places)
    return min(cores)


def _quota_of(group: Path) -> float:
    """In cores, of one control group."""
    names = ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us")
    words = " ".join(line for name in names for line in _lines(group / name)).split()
    is_free = len(words) < 2 or words[0] in ("max", "-1")
    return math.inf if is_free else int(words[0]) / int(words[1])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


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


def state_of(pid: int) -> str:
    """The letter in the third field of /proc/PID/stat; "" where the system has no such file."""
    (line, *_) = _lines(Path(f"/proc/{pid}/stat")) or [")  "]
    return line.rsplit(")", 1)[1].split(" ")[1]
