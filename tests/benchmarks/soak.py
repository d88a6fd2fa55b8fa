"""Many rounds of a small run: does a rank's memory, its open files or its threads grow?

    python -m tests.benchmarks.soak [--rounds 300] [--from-round 30]

Prints each process at the first of the two rounds and at the last, and exits with 1 where one grew.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.measure import MIB, Section
from tests.helpers import ROOT, processes_of, write_config

MOST_GROWTH = 1.03


@dataclass(frozen=True)
class Use:
    """What a process holds: bytes of resident memory, open files, threads."""

    resident: int
    files: int
    threads: int


def use_of(pid: int) -> Use:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    resident = 1024 * int(status["VmRSS"].split()[0])
    return Use(resident, len(os.listdir(f"/proc/{pid}/fd")), int(status["Threads"]))


def wait_for_round(process: subprocess.Popen[bytes], run_dir: Path, number: int) -> None:
    """Returns once the row of this round stands."""
    mark = f'{{"kind": "round", "round": {number},'.encode()
    path = run_dir / "metrics.jsonl"
    while not (path.exists() and mark in path.read_bytes()):
        assert process.poll() is None, "the run ended before the round"
        time.sleep(0.02)


def soak(first: int, last: int) -> tuple[dict[int, Use], dict[int, Use]]:
    """The use of the parent and of every rank after two rounds of a run, by process."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "r"
        attack = {"name": "label_flip", "clients": [2]}
        config = write_config(
            Path(folder), data_path=str(ROOT / "data"), global_epochs=last + 20, attack=attack
        )
        command = [sys.executable, "main.py", f"--config={config}", f"--run_dir={run_dir}"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
            wait_for_round(process, run_dir, first)
            pids = processes_of(run_dir)
            before = {pid: use_of(pid) for pid in pids}
            wait_for_round(process, run_dir, last)
            after = {pid: use_of(pid) for pid in pids}
            process.wait()
            assert process.returncode == 0
    return before, after


def grew(old: Use, new: Use) -> bool:
    more = (new.files, new.threads) != (old.files, old.threads)
    return more or new.resident > MOST_GROWTH * old.resident


def section(first: int, last: int) -> tuple[Section, bool]:
    """What is printed, and whether anything grew."""
    before, after = soak(first, last)
    rows = [
        f"| {name} | {before[pid].resident / MIB:.1f} | {after[pid].resident / MIB:.1f} | "
        f"{after[pid].resident / before[pid].resident:.3f} | "
        f"{before[pid].files}, {after[pid].files} | {before[pid].threads}, {after[pid].threads} |"
        for name, pid in zip(("parent", "rank 0", "rank 1", "rank 2"), before, strict=True)
    ]
    text = f"""\
{last} rounds of a small run; what each process holds after round {first} and after round {last}:

| process | MiB after {first} | MiB after {last} | growth | open files | threads |
|---|---|---|---|---|---|
{chr(10).join(rows)}"""
    return Section(text, {}), any(grew(before[pid], after[pid]) for pid in before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--from-round", type=int, default=30)
    options = parser.parse_args()
    found, is_growing = section(options.from_round, options.rounds)
    print(found.text)
    return 1 if is_growing else 0


if __name__ == "__main__":
    sys.exit(main())
