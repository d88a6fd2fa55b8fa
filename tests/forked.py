"""Runs modules of the project, each in a process forked from this one, which has imported torch.

A command of its own spends most of a tiny run's seconds on imports. Requests come in as lines of
JSON, and exit statuses go out; see `run_module`. Nothing is computed here, so that what is forked
can fork its ranks.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import runpy
import sys
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

LATER = (
    "client",
    "extra_utils.plots.draw",
    "extra_utils.run.recorder",
    "main",
    "my_data_loader",
    "torchvision.models",
)


def requests() -> Iterator[dict[str, Any]]:
    """What this process is asked to run: only a fork of it gets to see any of it."""
    for line in sys.stdin:
        if not (pid := os.fork()):
            yield json.loads(line)
            return
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def run(module: str, options: list[str], folder: str, env: dict[str, str]) -> None:
    """As ``python -m module options`` with this environment, what it says in two files."""
    for number, path in enumerate((os.devnull, f"{folder}/out", f"{folder}/err")):
        opened = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [f"{module}.py", *options]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def leave(status: int) -> None:
    """Ends this process without taking torch to pieces, which takes seconds."""
    atexit._run_exitfuncs()  # the coverage is written by one of them
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    for name in LATER:
        importlib.import_module(name)
    warnings.filterwarnings("ignore", message=".*found in sys.modules")  # runpy's, of main
    for request in requests():
        status: Any = 0
        try:
            run(**request)
        except SystemExit as ending:
            status = ending.code
        except BaseException:
            traceback.print_exc()
            status = 1
        leave(status or 0)
