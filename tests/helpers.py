"""What the tests share: tiny configs, the program as a subprocess, and functions on real ranks."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from extra_utils.config.keys import Config, GivenConfig
from extra_utils.config.rules import resolve
from extra_utils.my_dataset import Dataset, DatasetInfo, Split, describe_pixels

ROOT = Path(__file__).parent.parent
Row = dict[str, Any]
TINY = {
    "type": "synthetic",
    "num_train": 300,
    "num_test": 100,
    "global_epochs": 1,
    "local_epochs": 1,
    "eval_points": 2,
}


def one_now(cases: Mapping[str, Any]) -> list[Any]:
    """Parameters, of which all but the first are for the slow tests."""
    marks = [(), *((pytest.mark.slow,) for _ in list(cases)[1:])]
    return [
        pytest.param(cases[key], id=key, marks=mark) for key, mark in zip(cases, marks, strict=True)
    ]


def make_config(**keys: Any) -> Config:
    """The resolved config of these keys, all others at their defaults."""
    return resolve(GivenConfig(**{"name": "test", "type": "synthetic"} | keys))


def write_config(folder: Path, **keys: Any) -> Path:
    """A config file in the folder: the tiny one with these keys on top."""
    path = folder / "tiny.json"
    path.write_text(json.dumps(TINY | keys), encoding="utf-8")
    return path


def start_main(*options: str, **how: Any) -> subprocess.Popen[str]:
    """Starts ``python main.py`` with these options, by default from the project's root."""
    script = "main.py" if how.get("cwd", ROOT) == ROOT else str(ROOT / "main.py")
    command = [sys.executable, script, *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    if how.get("cwd", ROOT) != ROOT:
        how["env"] = unmeasured(how.get("env", os.environ))
    return subprocess.Popen(command, **({"cwd": ROOT} | pipes | how))


def unmeasured(env: Mapping[str, str]) -> dict[str, str]:
    """Without what measures the coverage: it takes a working directory for the project's root."""
    return {name: value for name, value in env.items() if not name.startswith("COV")}


def run_main(*options: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Runs ``python main.py`` to its end, without waiting for its imports."""
    return run_module("main", *options, timeout=timeout)


def run_command(
    *options: str, timeout: float = 120, **how: Any
) -> subprocess.CompletedProcess[str]:
    """Runs ``python main.py`` to its end, in an environment or a working directory of its own."""
    with start_main(*options, **how) as process:
        out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@cache
def forks() -> subprocess.Popen[str]:
    """The process that runs modules in forks of itself, one at a time."""
    command = [sys.executable, "-m", "tests.forked"]
    return subprocess.Popen(
        command, cwd=ROOT, text=True, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def end_forks() -> None:
    """Ends it in order, so that what it measures is kept."""
    if forks.cache_info().currsize:
        forks().communicate(timeout=30)
        forks.cache_clear()


def run_module(module: str, *options: str, timeout: float) -> subprocess.CompletedProcess[str]:
    """Runs ``python -m module`` to its end in a fork of a process that has imported torch."""
    process = forks()
    assert process.stdin is not None
    assert process.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        request = {"module": module, "options": options, "folder": folder, "env": dict(os.environ)}
        process.stdin.write(f"{json.dumps(request)}\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], timeout)[0]:
            os.killpg(process.pid, signal.SIGKILL)
            end_forks()
            raise subprocess.TimeoutExpired([module, *options], timeout)
        status = int(process.stdout.readline())
        said = [Path(folder, name).read_text(encoding="utf-8") for name in ("out", "err")]
        return subprocess.CompletedProcess([module, *options], status, *said)


def run_tiny(tmp_path: Path, data_path: Path, *options: str, **keys: Any) -> Path:
    """The folder of a finished tiny run."""
    config = write_config(tmp_path, data_path=str(data_path), **keys)
    run_dir = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
    done = run_main(f"--config={config}", f"--run_dir={run_dir}", *options)
    assert done.returncode == 0, done.stderr
    (run_dir / "said").write_text(done.stdout + done.stderr)
    return run_dir


def run_distributed(function: Callable[..., Any], world_size: int, folder: Path) -> list[Any]:
    """Calls ``function(ranks)`` on real ranks in a fresh interpreter; what each rank returned.

    The interpreter is fresh because ranks must not be forked after torch has computed.
    """
    name = f"{function.__module__}:{function.__qualname__}"
    done = run_module("tests.ranks", name, str(world_size), str(folder), timeout=60)
    assert done.returncode == 0, done.stderr
    files = [folder / f"rank{rank}.json" for rank in range(world_size)]
    return [json.loads(path.read_text()) for path in files]


def read_rows(run_dir: Path, kind: str | None = None) -> list[Row]:
    lines = (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [row for row in rows if kind is None or row["kind"] == kind]


def is_past_round(run_dir: Path, number: int) -> bool:
    """Whether a run that is at work has written down this round; its checkpoint comes at once."""
    path = run_dir / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    last = json.loads(lines[-1]) if lines else {}
    return bool(last.get("round", -1) >= number) and (run_dir / "checkpoint.pth").exists()


def rows_without_times(run_dir: Path) -> list[Row]:
    """What two equal runs must have in common."""
    measured = ("seconds", "bytes_per_rank")
    return [{k: v for k, v in row.items() if k not in measured} for row in read_rows(run_dir)]


def processes_of(run_dir: Path) -> list[int]:
    """The processes whose command line names this run's folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if entry.name.isdigit() and any(os.fsencode(str(run_dir)) in part for part in command):
            found.append(int(entry.name))
    return sorted(found)


def make_dataset(num_train: int = 60, num_test: int = 20, side: int = 32) -> Dataset:
    """Random images in ten classes that take turns."""
    generator = np.random.default_rng(0)
    splits = [
        Split(
            generator.integers(256, size=(size, side, side, 3), dtype=np.uint8),
            np.arange(size, dtype=np.int64) % 10,
        )
        for size in (num_train, num_test)
    ]
    mean, std = describe_pixels(splits[0].images)
    info = DatasetInfo("random", True, [f"class {c}" for c in range(10)], mean, std)
    return Dataset(info, *splits)
