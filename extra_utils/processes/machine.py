"""What every module that starts processes needs to know of the machine."""

import math
import multiprocessing
import os
import sys
import threading
from multiprocessing import connection
from multiprocessing.context import BaseContext
from pathlib import Path

from extra_utils.config.keys import Config


def process_context() -> BaseContext:
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
    """How many cores' time the control groups (v2, or v1) give this process; many without a limit.

    Source: "CPU Interface Files" in the Linux kernel's cgroup-v2 documentation.
    """
    cores = [float(os.cpu_count() or 1)]
    for line in _lines(membership):
        _, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            top = root / controllers
            group = top / path.lstrip("/")
            places = [place for place in (group, *group.parents) if place.is_relative_to(top)]
            cores += [_quota_of(place) for place in places]
    return min(cores)


def _quota_of(group: Path) -> float:
    """The quota in cores of one control group."""
    lines = _lines(group / "cpu.max")
    lines = lines or _lines(group / "cpu.cfs_quota_us") + _lines(group / "cpu.cfs_period_us")
    words = " ".join(lines).split()
    if len(words) < 2 or words[0] in ("max", "-1"):
        return math.inf
    return int(words[0]) / int(words[1])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def end_with_parent() -> None:
    """From now on this child process ends when its parent does, and lets go of all locks."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    ends = [parent.sentinel]

    def wait() -> None:
        connection.wait(ends)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def is_gone(pid: int) -> bool:
    """Whether the process has ended, reaped by its parent or not yet."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return state_of(pid) in ("Z", "X")


def state_of(pid: int) -> str:
    """The letter in the third field of /proc/PID/stat; "" where the system has no such file."""
    (line, *_) = _lines(Path(f"/proc/{pid}/stat")) or [")  "]
    return line.rsplit(")", 1)[1].split(" ")[1]
