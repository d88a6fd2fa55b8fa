"""Applies each of ``wiring_errors.toml`` to a copy of the project, and runs the tests meant for it.

    python -m tests.wiring            # all
    python -m tests.wiring 3 17       # these

Exit status 1 where one goes unnoticed. Two copies are worked on at once.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any, NamedTuple

from tests.helpers import ROOT


class WiringError(NamedTuple):
    """``right`` stands once in the file; ``tests`` are files below tests/, and pytest's options."""

    path: str
    right: str
    wrong: str
    tests: str


LISTED = tomllib.loads((ROOT / "tests" / "wiring_errors.toml").read_text(encoding="utf-8"))
ERRORS = [WiringError(**error) for error in LISTED["error"]]
NUM_COPIES = 2
PYTEST = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0"]
TIMEOUT_S = 300


def run_tests(copy: Path, tests: str) -> tuple[int, str]:
    """pytest's exit status, 0 where all pass, 1 where one fails, and what it printed."""
    words = (f"tests/{word}" if word.endswith(".py") else word for word in tests.split())
    how: dict[str, Any] = {"cwd": copy, "timeout": TIMEOUT_S, "text": True}
    done = subprocess.run([*PYTEST, *words], capture_output=True, **how)
    return done.returncode, done.stdout + done.stderr


def left_out(folder: str, names: list[str]) -> list[str]:
    """What of a folder is not copied: images, runs, and what is hidden."""
    own = ("data", "runs") if Path(folder) == ROOT else ("__pycache__",)
    return [name for name in names if name in own or name.startswith(".")]


@contextmanager
def taken_from(copies: Queue[Path]) -> Iterator[Path]:
    """A copy that nobody else works on for the block."""
    copy = copies.get()
    try:
        yield copy
    finally:
        copies.put(copy)


@contextmanager
def applied(error: WiringError, copy: Path) -> Iterator[None]:
    """The error stands in the copy for the block."""
    path = copy / error.path
    text = path.read_text(encoding="utf-8")
    assert text.count(error.right) == 1, f"{error.path}: {error.right}"
    path.write_text(text.replace(error.right, error.wrong), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


def main(argv: list[str]) -> int:
    chosen = [int(number) for number in argv] or list(range(len(ERRORS)))
    copies: Queue[Path] = Queue()

    def run_without(tests: str) -> tuple[int, str]:
        with taken_from(copies) as copy:
            return run_tests(copy, tests)

    def is_noticed(number: int) -> bool:
        error = ERRORS[number]
        with taken_from(copies) as copy, applied(error, copy):
            return run_tests(copy, error.tests)[0] == 1

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(NUM_COPIES) as pool:
        for number in range(NUM_COPIES):
            copy = Path(folder) / str(number)
            shutil.copytree(ROOT, copy, ignore=left_out)
            copies.put(copy)
        tests = sorted({ERRORS[number].tests for number in chosen})
        for status, said in pool.map(run_without, tests):
            assert status == 0, f"without an error all tests must pass:\n{said}"
        unnoticed = 0
        for number, found in zip(chosen, pool.map(is_noticed, chosen), strict=True):
            unnoticed += not found
            error = ERRORS[number]
            first = error.wrong.strip().splitlines()[0] if error.wrong.strip() else "nothing"
            verdict = "noticed  " if found else "UNNOTICED"
            print(f"{verdict} {number:3} {error.path}: {first}", flush=True)
    print(f"{len(chosen) - unnoticed} of {len(chosen)} are noticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
