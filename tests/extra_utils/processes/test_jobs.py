"""Tasks side by side: how many at a time, what each said, and how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers import ROOT, run_module

SELF = "tests.extra_utils.processes.test_jobs"


def work(folder: str, name: str) -> int:
    """Notes when it was at work."""
    begin = time.monotonic()
    print(f"said by {name}")
    os.write(2, f"error: {name} is bad\n".encode())
    time.sleep(0.3)
    Path(folder, name).write_text(json.dumps([begin, time.monotonic()]))
    if name == "2":
        os.kill(os.getpid(), signal.SIGKILL)
    return int(name)


def wait_long(folder: str, name: str) -> int:
    """Has a child of its own, as a run has."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        Path(folder, name).write_text(str(child.pid))
        try:
            time.sleep(60)
        finally:
            child.terminate()
    return 0


def main(arguments: list[str]) -> int:
    """Runs in a process of its own, which forks."""
    from functools import partial

    from extra_utils.basics.errors import prepare_process
    from extra_utils.processes.child import side_by_side

    prepare_process()
    how, folder, jobs = arguments
    task = {"work": work, "wait": wait_long}[how]
    tasks = {name: partial(task, folder, name) for name in "01234"}
    if how == "wait":
        signal.signal(signal.SIGALRM, lambda *_: sys.exit(3))
        signal.alarm(2)
    ends = list(side_by_side(tasks, int(jobs)))
    print(json.dumps([list(ended) for ended in ends]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))


@pytest.mark.parametrize("jobs", [1, 3])
def test_so_many_are_at_work_and_each_is_reported(jobs: int, tmp_path: Path) -> None:
    done = run_module(SELF, "work", str(tmp_path), str(jobs), timeout=60)
    assert done.returncode == 0, done.stderr
    ends = json.loads(done.stdout)
    assert sorted(name for name, _, _ in ends) == list("01234")
    for name, status, said in ends:
        assert status == (-9 if name == "2" else int(name))
        assert f"error: {name} is bad\n" in said
        assert name == "2" or f"said by {name}\n" in said  # a killed process keeps its buffer
    spans = [json.loads((tmp_path / name).read_text()) for name in "01234"]
    together = [sum(begin <= moment < end for begin, end in spans) for moment, _ in spans]
    assert max(together) == jobs


def test_when_the_caller_ends_so_do_they_with_their_own_children(tmp_path: Path) -> None:
    command = [sys.executable, "-m", SELF, "wait", str(tmp_path), "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3, done.stderr
    children = [int(path.read_text()) for path in tmp_path.iterdir()]
    assert len(children) == 2
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
