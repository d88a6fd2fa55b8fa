"""Disks that are full, folders that cannot be written or are gone, limits that are reached."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.helpers import (
    processes_of,
    read_rows,
    rows_without_times,
    run_command,
    run_main,
    start_main,
)
from tests.test_failures import start_long_run

ROOT_OF_ITS_OWN = ["unshare", "--map-root-user", "--mount", "sh", "-c"]


def run_shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A script that may mount file systems of its own, with DISK an empty folder for them."""
    disk = folder / "disk"
    disk.mkdir()
    main = f"{sys.executable} main.py"
    lines = f"set -e\nDISK={disk}\nMAIN='{main}'\nmount -t tmpfs -o size=8m tmpfs $DISK\n"
    probe = subprocess.run([*ROOT_OF_ITS_OWN, lines], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"mounting is not permitted here: {probe.stderr}")
    return subprocess.run(
        [*ROOT_OF_ITS_OWN, lines + script], capture_output=True, text=True, timeout=120
    )


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_the_run_which_then_goes_on(
    finished_run: Path, tmp_path: Path
) -> None:
    """A real full disk; with more room the run ends with the bytes of an undisturbed one."""
    script = f"""
    mount -o remount,size=400k $DISK
    STATUS=0
    $MAIN --config={finished_run}/config.json --run_dir=$DISK/r >&2 || STATUS=$?
    echo status $STATUS
    ls -A $DISK/r
    mount -o remount,size=8m $DISK
    $MAIN --resume $DISK/r
    cp -r $DISK/r {tmp_path}/copy
    """
    done = run_shell(script, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "status 1\n" in done.stdout
    assert re.search(
        r"error: rank 0 \(.*round \d\): \S+/r/\S+: No space left on device\nresume with: ",
        done.stderr,
    )
    assert "Traceback" not in done.stderr
    assert ".partial" not in done.stdout
    copy = tmp_path / "copy"
    assert (copy / "model.pth").read_bytes() == (finished_run / "model.pth").read_bytes()
    assert rows_without_times(copy) == rows_without_times(finished_run)


def test_a_disk_that_is_full_when_the_cache_is_made_leaves_nothing(
    finished_run: Path, tmp_path: Path
) -> None:
    script = f"""
    STATUS=0
    $MAIN --config={finished_run}/config.json --data_path=$DISK --run_dir={tmp_path}/r || STATUS=$?
    echo status $STATUS
    find $DISK -type f
    """
    done = run_shell(script, tmp_path)
    assert done.stdout == "status 1\n"
    assert re.fullmatch(r"error: \S+/train_images.npy: No space left on device\n", done.stderr)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("make", ["true", "mkdir $DISK/r"])
def test_a_folder_that_cannot_be_written_is_wrong_input(
    make: str, finished_run: Path, tmp_path: Path
) -> None:
    script = f"""
    {make}
    mount -o remount,ro $DISK
    STATUS=0
    $MAIN --config={finished_run}/config.json --run_dir=$DISK/r || STATUS=$?
    echo status $STATUS
    """
    done = run_shell(script, tmp_path)
    assert done.stdout == "status 2\n"
    assert re.fullmatch(
        r"error: command line: run_dir: got \S+/disk/r: cannot be (made|written): [^\n]+\n",
        done.stderr,
    )


def limit(kind: int, value: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(kind, (value, value))


@pytest.mark.slow
def test_a_limit_on_the_size_of_files_ends_the_run(finished_run: Path, tmp_path: Path) -> None:
    done = run_command(
        f"--config={finished_run / 'config.json'}", f"--run_dir={tmp_path / 'r'}",
        preexec_fn=limit(resource.RLIMIT_FSIZE, 100_000),
    )  # fmt: skip
    assert done.returncode == 1
    assert re.search(r"first round\): \S+/checkpoint.pth: File too large\nresume with", done.stderr)
    assert "Traceback" not in done.stderr
    left = {path.name for path in (tmp_path / "r").iterdir()}
    assert left == {"config.json", "metrics.jsonl", "class_indices.json"}
    again = run_main(f"--resume={tmp_path / 'r'}")
    assert again.returncode == 0, again.stderr
    assert rows_without_times(tmp_path / "r") == rows_without_times(finished_run)


def test_a_limit_on_the_number_of_open_files_ends_the_run(
    finished_run: Path, tmp_path: Path
) -> None:
    start = time.monotonic()
    done = run_command(
        f"--config={finished_run / 'config.json'}", f"--run_dir={tmp_path / 'r'}",
        "--world_size=16", preexec_fn=limit(resource.RLIMIT_NOFILE, 30),
    )  # fmt: skip
    assert time.monotonic() - start < 30
    assert done.returncode == 1
    assert "Too many open files" in done.stderr
    assert "Traceback" not in done.stderr
    assert processes_of(tmp_path / "r") == []


def test_a_run_whose_folder_is_deleted_ends(finished_run: Path, tmp_path: Path) -> None:
    process, _ = start_long_run(finished_run, tmp_path / "r")
    (tmp_path / "r").rename(tmp_path / "gone")  # at once, where rmtree would race with the run
    start = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - start < 10
    assert process.returncode == 1
    assert re.fullmatch(
        r"error: rank 0 \(.*round \d+\): \S+/r/\S+: No such file or directory\n", err
    )
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_a_metrics_file_that_is_deleted_is_not_begun_anew(
    finished_run: Path, tmp_path: Path
) -> None:
    process, _ = start_long_run(finished_run, tmp_path / "r")
    (tmp_path / "r" / "metrics.jsonl").unlink()
    _, err = process.communicate(timeout=30)
    assert "metrics.jsonl: No such file or directory\nresume with" in err
    assert not (tmp_path / "r" / "metrics.jsonl").exists()
    done = run_main(f"--resume={tmp_path / 'r'}")
    assert done.returncode in (1, 2)
    assert "metrics.jsonl: lacks round" in done.stderr


@pytest.mark.slow
def test_a_run_killed_while_it_fills_the_cache_leaves_no_half_file(
    finished_run: Path, tmp_path: Path
) -> None:
    options = [f"--config={finished_run / 'config.json'}", f"--data_path={tmp_path / 'data'}"]
    process = start_main(*options, f"--run_dir={tmp_path / 'r1'}")
    cache = tmp_path / "data" / ".fl-cache"
    while not list(cache.glob(".building-*/*")):
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert not [path for path in cache.iterdir() if not path.name.startswith(".building-")]
    done = run_main(*options, f"--run_dir={tmp_path / 'r2'}")
    assert done.returncode == 0, done.stderr
    assert not list(cache.glob(".building-*"))
    assert read_rows(tmp_path / "r2")[-1] == read_rows(finished_run)[-1]
    torch.load(tmp_path / "r2" / "model.pth", weights_only=True)
    assert os.listdir(tmp_path / "data") == [".fl-cache"]
