"""What masks cost a round, and what a rule saves that looks at no update.

    python -m tests.benchmarks.secure [--times 3]

Rounds of whole runs on real CIFAR-10 (synthetic images without it), two processes, mean without
local points, with ``secure_aggregation`` and without, in turns. Then `class_mean` of 20 updates of
resnet18 on two ranks: with all updates exchanged, as it was, and with those kept where they are.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from extra_utils.distributed_utils import Ranks
from extra_utils.processes.supervisor import start_ranks
from tests.benchmarks.measure import MIB, Section, in_turns, run_ours, spread
from tests.benchmarks.rules import CLIENTS, WORLD_SIZE, Round
from tests.helpers import ROOT

COMMON = ("--offline_data=synthetic", "--world_size=2", "--local_epochs=1", "--eval_points=0")
SETTINGS = {  # by what is said of it: the run's options, with how many rounds
    "`net`, 20 clients, 50,000 images": ("--num_clients=20", "--global_epochs=4"),
    "`net`, 100 clients, 50,000 images": ("--num_clients=100", "--global_epochs=4"),
    "`resnet18`, 10 clients, 1,000 images": (
        "--num_clients=10", "--model_name=resnet18", "--num_train=1000", "--num_test=100",
        "--global_epochs=2",
    ),
}  # fmt: skip
MASKS = {
    "without": (),
    "every pair": ("--secure_aggregation",),
    "10 neighbours": ("--secure_aggregation", "--neighbours=10"),
}


def measure_on_rank(ranks: Ranks, times: int, path: Path) -> None:
    """Rank 0 writes the seconds and bytes of both, taken in turns."""
    own = Round(ranks)
    own.seconds("class_mean", exchange=True)  # the first touches its memory for the first time
    found: dict[str, list[list[float]]] = {"exchanged": [], "kept": []}
    for _ in range(times):
        for name, rows in found.items():
            before = ranks.num_bytes
            seconds = own.seconds("class_mean", exchange=name == "exchanged")
            rows.append([seconds, ranks.num_bytes - before])
    if ranks.is_main:
        path.write_text(json.dumps(found))


def detour(times: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "found.json"
        command = [sys.executable, "-m", "tests.benchmarks.secure", f"--times={times}"]
        subprocess.run([*command, f"--write={path}"], cwd=ROOT, check=True)  # torch not used yet
        found = json.loads(path.read_text())
    lines = ["| updates | aggregation, s | MiB sent by rank 0 |", "|---|---|---|"]
    for name, rows in found.items():
        seconds, sent = zip(*rows, strict=True)
        lines.append(f"| {name} | {spread(list(seconds))} | {sent[0] / MIB:.1f} |")
    title = f"`class_mean`, {CLIENTS} updates of `resnet18`, {WORLD_SIZE} ranks:"
    return "\n".join([title, "", *lines])


def masks(times: int, only: list[str]) -> str:
    lines = ["| setting | without, s a round | every pair | 10 neighbours |", "|---|---|---|---|"]
    for title, options in SETTINGS.items():
        if only and not any(word in title for word in only):
            continue
        runs = {name: partial(run_ours, *COMMON, *options, *how) for name, how in MASKS.items()}
        seconds = in_turns(runs, times)
        plain = statistics.median(seconds["without"])
        cells = [
            f"{spread(own)}, {100 * (statistics.median(own) / plain - 1):+.0f} %"
            for own in (seconds["every pair"], seconds["10 neighbours"])
        ]
        lines.append(f"| {title} | {spread(seconds['without'])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def section(times: int, only: list[str]) -> Section:
    return Section("\n\n".join([masks(times, only), detour(times)]), {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], help="words of the settings' titles")
    parser.add_argument("--write", type=Path, help="what the fresh interpreter is started with")
    options = parser.parse_args()
    if options.write is None:
        print(section(options.times, options.only).text)
        return
    arguments = (options.times, options.write)
    start_ranks(measure_on_rank, arguments, world_size=WORLD_SIZE, threads=1, timeout_s=600)


if __name__ == "__main__":
    main()
