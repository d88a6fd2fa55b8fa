"""What every module that starts processes needs to know of the machine."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.context import BaseContext
from pathlib import Path


def process_context() -> BaseContext:
    """``fork`` on Linux, where it saves each process the imports; ``spawn`` elsewhere."""
    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def available_cores() -> int:
    """The cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_stopped(pid: int) -> bool:
    """Whether a signal has put the process on hold; False where the system does not say."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rsplit(")", 1)[1].split()[0] in ("T", "t")
