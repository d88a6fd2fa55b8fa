"""What happens when something goes wrong: who is named, what is left, which exit status."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from tests.helpers import processes_of, read_rows, run_main, start_main


def test_a_diverging_client_ends_the_run_by_name(finished_run: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "r"
    start = time.monotonic()
    done = run_main(
        f"--config={finished_run / 'config.json'}", f"--run_dir={run_dir}", "--lr=1000000"
    )
    assert time.monotonic() - start < 20
    assert done.returncode == 1
    assert re.search(r"error: rank (\d) \(client \1, round 1\): client \1 diverged", done.stderr)
    assert "Traceback" not in done.stderr
    assert processes_of(run_dir) == []
    assert not list(run_dir.glob(".*"))


def start_long_run(finished_run: Path, run_dir: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """A run that would take hours, once its first round is done, and its ranks' processes."""
    process = start_main(
        f"--config={finished_run / 'config.json'}", f"--run_dir={run_dir}",
        "--global_epochs=100000", start_new_session=True,
    )  # fmt: skip
    for _ in range(600):
        if (run_dir / "checkpoint.pth").exists():
            break
        time.sleep(0.1)
    ranks = [pid for pid in processes_of(run_dir) if pid != process.pid]
    assert len(ranks) == 3
    (run_dir / ".model.pth.1.partial").touch()  # as if it were killed in writing
    return process, ranks


def finish(process: subprocess.Popen[str], run_dir: Path) -> str:
    """What the ended run says on standard error; nothing of it is left."""
    start = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - start < 10
    assert processes_of(run_dir) == []
    assert not list(run_dir.glob(".*"))
    torch.load(run_dir / "checkpoint.pth", weights_only=True)
    assert all(isinstance(row, dict) for row in read_rows(run_dir))
    return err


@pytest.mark.parametrize("rank", [0, 2])
def test_a_killed_rank_ends_the_run_by_name(rank: int, finished_run: Path, tmp_path: Path) -> None:
    process, ranks = start_long_run(finished_run, tmp_path / "r")
    os.kill(ranks[rank], signal.SIGKILL)
    err = finish(process, tmp_path / "r")
    assert process.returncode == 1
    assert re.search(rf"error: rank {rank} \(client {rank}, round \d+\) was killed by SIGKILL", err)


def test_ctrl_c_ends_the_run_with_130(finished_run: Path, tmp_path: Path) -> None:
    process, _ = start_long_run(finished_run, tmp_path / "r")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the ranks as well
    err = finish(process, tmp_path / "r")
    assert process.returncode == 130
    assert re.fullmatch(r"error: interrupted[^\n]*\n", err)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_ranks_end_with_their_parent(
    number: signal.Signals, finished_run: Path, tmp_path: Path
) -> None:
    process, _ = start_long_run(finished_run, tmp_path / "r")
    process.send_signal(number)
    process.communicate(timeout=10)
    for _ in range(100):
        if not processes_of(tmp_path / "r"):
            break
        time.sleep(0.1)
    assert processes_of(tmp_path / "r") == []
