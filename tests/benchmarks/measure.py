"""What the benchmarks share: timing in turns, medians, and the memory of a run's processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from extra_utils.data.sources import prepare_data
from tests.helpers import ROOT, make_config, read_rows

MIB = 2**20


@dataclass(frozen=True)
class Section:
    """What a benchmark says in docs/speed.md, and its ratios to the limit by name."""

    text: str
    ratios: dict[str, float]


def cifar_folder() -> Path:
    """The cache of CIFAR-10 under data/, or of the synthetic images where it is not there."""
    config = make_config(type="cifar", data_path=str(ROOT / "data"), offline_data="synthetic")
    return prepare_data(config)[0]


def plain_ticks(axis: Axis, places: Sequence[float]) -> None:
    """Numbers as they are written on a logarithmic axis, and only these."""
    axis.set_major_locator(FixedLocator(places))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_locator(NullLocator())


def in_turns(runs: Mapping[str, Callable[[], float]], times: int) -> dict[str, list[float]]:
    """Each run's figures, all of them in turn, in the other order every second time."""
    figures: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(times):
        for name in list(runs) if number % 2 == 0 else reversed(list(runs)):
            figures[name].append(runs[name]())
            print(f"  {name}: {figures[name][-1]:.2f}", file=sys.stderr, flush=True)
    return figures


def spread(values: list[float]) -> str:
    """Median, and from the least to the largest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} - {max(values):.2f})"


def time_command(*command: str) -> float:
    """Seconds of a whole command, which must end well."""
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


def run_ours(*options: str, skip: int = 1) -> float:
    """Mean seconds of a round of main.py, the first ``skip`` rounds not counted."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        time_command(sys.executable, "main.py", f"--run_dir={run_dir}", *options)
        rounds = [sum(row["seconds"].values()) for row in read_rows(run_dir, "round")]
    return statistics.mean(rounds[1 + skip :])


def family_pss(root: int) -> int:
    """Bytes of proportional memory of a process and all its descendants; what is gone counts 0."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                parents[int(entry.name)] = int(fields[1])
            except OSError:
                continue
    family = {root}
    while more := {p for p, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(_pss(pid) for pid in family)


def peak_pss(*options: str) -> int:
    """The largest proportional memory of all processes of a run of main.py, in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "main.py", f"--run_dir={folder}/run", *options]
        peak = 0
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                peak = max(peak, family_pss(process.pid))
                time.sleep(0.05)
        assert process.returncode == 0
    return peak


def _pss(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    return 0
