"""torchrun's ranks take the same steps as our own processes, and end the same way."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from extra_utils.basics.files import used_alone
from tests.extra_utils.data.test_image_folders import make_folder, make_photo
from tests.helpers import (
    ROOT,
    is_past_round,
    processes_of,
    rows_without_times,
    run_main,
    write_config,
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start_torchrun(*options: str, num_ranks: int = 2, **how: Any) -> subprocess.Popen[str]:
    """``torchrun main.py`` with these options, before which torchrun's own may stand."""
    own = [
        option for option in options if option.startswith(("--n", "--m")) and "name" not in option
    ]
    rest = [option for option in options if option not in own]
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={num_ranks}"]
    port = [] if any(o.startswith("--master-port") for o in own) else [free_port()]
    ports = [f"--master-port={number}" for number in port]
    return subprocess.Popen(
        [*command, *ports, *own, "main.py", *rest],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how,
    )  # fmt: skip


def run_torchrun(*options: str, num_ranks: int = 2) -> subprocess.CompletedProcess[str]:
    with start_torchrun(*options, num_ranks=num_ranks) as process:
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def said(err: str) -> list[str]:
    """Our own lines, without torchrun's."""
    return [line for line in err.splitlines() if line.startswith(("error: ", "resume with: "))]


def start_long(finished_run: Path, run_dir: Path, *options: str) -> tuple[Any, list[int]]:
    """A run of two ranks that would take hours, and its workers once a round is done."""
    process = start_torchrun(
        f"--config={finished_run / 'config.json'}", f"--run_dir={run_dir}",
        "--global_epochs=100000", *options,
    )  # fmt: skip
    for _ in range(600):
        if is_past_round(run_dir, 1):
            break
        time.sleep(0.1)
    time.sleep(1)  # in which both have put their places into the store
    workers = [pid for pid in processes_of(run_dir) if pid != process.pid]
    assert len(workers) == 2
    return process, workers


@pytest.mark.parametrize("rank", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_stopped_worker_ends_the_run_by_name(
    rank: int, finished_run: Path, tmp_path: Path
) -> None:
    process, workers = start_long(finished_run, tmp_path / "r", "--timeout_s=3")
    start = time.monotonic()
    os.kill(workers[rank], signal.SIGSTOP)
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - start < 3 + 5, err
    assert process.returncode != 0
    error, hint = said(err)
    what = r"no sign of life for timeout_s = 3 seconds; where a .* helps"
    assert re.fullmatch(rf"error: rank {rank} \(.*round \d+\): {what}", error)
    assert hint == f"resume with: python main.py --resume {tmp_path / 'r'}"
    assert processes_of(tmp_path / "r") == []


def test_a_killed_worker_ends_the_run_by_name(finished_run: Path, tmp_path: Path) -> None:
    process, workers = start_long(finished_run, tmp_path / "r")
    os.kill(workers[1], signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert re.search(r"error: rank 1 \(.*round \d+\) is gone", err)
    assert 'Traceback (most recent call last):\n  File "main' not in err
    assert processes_of(tmp_path / "r") == []


def test_a_diverging_client_is_named_with_its_round(finished_run: Path, tmp_path: Path) -> None:
    done = run_torchrun(
        f"--config={finished_run / 'config.json'}", f"--run_dir={tmp_path / 'r'}", "--lr=1000000"
    )
    assert done.returncode != 0
    first, *others = said(done.stderr)
    assert re.match(r"error: rank (\d) \(client (\d), round 1\): client \2 diverged", first)
    assert {line for line in others if line.startswith("error")} <= {
        line for line in others if "diverged" in line
    }


@pytest.mark.slow
def test_a_folder_in_use_is_refused_in_one_line(finished_run: Path, tmp_path: Path) -> None:
    run_dir = shutil.copytree(finished_run, tmp_path / "r")
    with used_alone(run_dir):
        done = run_torchrun(f"--resume={run_dir}", "--global_epochs=3")
    assert done.returncode != 0
    assert "SIGKILL" not in done.stderr  # 30 s later, if the other rank does not end when told to
    assert said(done.stderr) == [f"error: {run_dir}: another run is at work in it"]
    assert re.search(r"exitcode *: 2", done.stderr)
    assert run_main(f"--resume={run_dir}", "--global_epochs=3").returncode == 0


def run_two_nodes(*options: str, folders: list[Path]) -> list[subprocess.CompletedProcess[str]]:
    """Two launchers stand for two machines, each with its data: one rank here, two there."""
    port = f"--master-port={free_port()}"
    environment = dict(os.environ, GLOO_SOCKET_IFNAME="lo")
    nodes = [
        start_torchrun(
            "--nnodes=2", f"--node-rank={node}", "--master-addr=127.0.0.1", port,
            *options, f"--data_path={folder}", num_ranks=node + 1, env=environment,
        )
        for node, folder in enumerate(folders)
    ]  # fmt: skip
    with contextlib.ExitStack() as stack:
        for node in nodes:
            stack.enter_context(node)
        outputs = [node.communicate(timeout=120) for node in nodes]
    return [
        subprocess.CompletedProcess(node.args, node.returncode, *output)
        for node, output in zip(nodes, outputs, strict=True)
    ]


@pytest.mark.slow
def test_two_nodes_give_the_same_bytes(finished_run: Path, data_path: Path, tmp_path: Path) -> None:
    first, second = run_two_nodes(
        f"--config={finished_run / 'config.json'}", f"--run_dir={tmp_path / 'r'}",
        "--world_size=7", folders=[data_path, tmp_path / "data"],
    )  # fmt: skip
    assert (first.returncode, second.returncode) == (0, 0), (first.stderr, second.stderr)
    assert "world_size: 3, torchrun's" in first.stdout
    assert first.stdout.splitlines()[-1] == f"run folder: {tmp_path / 'r'}"
    assert second.stdout == ""
    assert (tmp_path / "r" / "model.pth").read_bytes() == (finished_run / "model.pth").read_bytes()
    assert rows_without_times(tmp_path / "r") == rows_without_times(finished_run)
    assert (tmp_path / "r" / "accuracy.png").exists()


@pytest.mark.slow
def test_machines_with_different_images_do_not_train_together(tmp_path: Path) -> None:
    folders = [
        make_folder(tmp_path / "here" / "photos"),
        make_folder(tmp_path / "there" / "photos"),
    ]
    make_photo(folders[1] / "b c" / "photo 3.png", (0, 200, 0))
    config = write_config(tmp_path, type="folder", num_train=16, num_test=4, image_size=16)
    first, second = run_two_nodes(
        f"--config={config}", f"--run_dir={tmp_path / 'r'}", folders=folders
    )
    assert 0 not in (first.returncode, second.returncode)
    (error,) = [line for line in said(first.stderr) if line.startswith("error")]
    assert re.search(r"must train on the same, but rank 1 has checksum \S+ and rank 0 \S+", error)
    assert not (tmp_path / "r" / "model.pth").exists()


def test_a_wrong_config_is_status_2_of_its_rank(tmp_path: Path) -> None:
    done = run_torchrun(f"--config={tmp_path / 'none.json'}")
    assert done.returncode != 0
    assert "none.json: cannot be read: No such file" in done.stderr
    assert re.search(r"exitcode *: 2", done.stderr)


@pytest.mark.slow
def test_a_killed_worker_is_started_again_and_the_run_goes_on(
    data_path: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path, data_path=str(data_path), num_train=1200, global_epochs=6)
    whole, run_dir = tmp_path / "whole", tmp_path / "r"
    assert run_main(f"--config={config}", f"--run_dir={whole}").returncode == 0
    process = start_torchrun(
        "--max-restarts=2", "--monitor-interval=0.1",
        f"--config={whole / 'config.json'}", f"--run_dir={run_dir}",
    )  # fmt: skip
    while not is_past_round(run_dir, 1):
        assert process.poll() is None
        time.sleep(0.02)
    workers = [pid for pid in processes_of(run_dir) if pid != process.pid]
    os.kill(workers[-1], signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.splitlines()[-1] == f"run folder: {run_dir}"
    assert out.count("round 6/6") == 1
    assert (run_dir / "model.pth").read_bytes() == (whole / "model.pth").read_bytes()
    assert rows_without_times(run_dir) == rows_without_times(whole)
