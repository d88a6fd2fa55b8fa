"""Seconds per round and memory by the number of clients and of processes.

    python -m tests.benchmarks.scaling [--times 3] [--figure docs/scaling.png]

Prints two tables and the ratios that matter, and draws the first table.
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from extra_utils.plots.style import save
from tests.benchmarks.measure import (
    MIB,
    Section,
    cifar_folder,
    in_turns,
    peak_pss,
    plain_ticks,
    run_ours,
    spread,
)
from tests.benchmarks.plain import limit
from tests.helpers import ROOT

IMAGES = 50_000
IMAGES_PER_ROUND = 5_000
CLIENTS = (10, 100, 1_000, 10_000)
PROCESSES = (1, 2, 4)
COMMON = [
    "--config=configs/cifar.json", "--attack=null", "--augment=false", "--eval_points=0",
    "--local_epochs=1", "--batch_size=10", "--checkpoint_every=0",
]  # fmt: skip


def options_of(num_clients: int) -> list[str]:
    """All of CIFAR-10 among so many clients, of which as many train as have 5,000 images."""
    per_round = num_clients * IMAGES_PER_ROUND // IMAGES
    return [*COMMON, f"--num_clients={num_clients}", f"--clients_per_round={per_round}",
            "--world_size=2", "--global_epochs=4"]  # fmt: skip


def by_clients(times: int) -> tuple[dict[int, list[float]], dict[int, int]]:
    """Seconds of a round, and the largest memory, by the number of clients."""
    runs = {str(n): partial(run_ours, *options_of(n)) for n in CLIENTS}
    seconds = {int(n): values for n, values in in_turns(runs, times).items()}
    return seconds, {n: peak_pss(*options_of(n)) for n in CLIENTS}


def by_processes(times: int, folder: Path) -> dict[str, list[float]]:
    """1,000 clients x 50 images, all of them each round: by processes, and the limit."""
    options = [*COMMON, "--num_clients=1000", "--global_epochs=2"]
    runs = {str(n): partial(run_ours, *options, f"--world_size={n}") for n in PROCESSES}
    return in_turns({**runs, "limit": partial(limit, folder, [50] * 1000, 10)}, times)


def draw(seconds: dict[int, list[float]], memory: dict[int, int], path: Path) -> None:
    figure = Figure(figsize=(6, 4))
    axes = figure.add_subplot()
    medians = [statistics.median(seconds[n]) for n in CLIENTS]
    axes.loglog(CLIENTS, medians, marker="o", label="seconds per round")
    axes.loglog(CLIENTS, [memory[n] / MIB / 1024 for n in CLIENTS], marker="s", label="memory, GiB")
    axes.set(xlabel="clients that exist", title="5,000 images trained in each round, 2 processes")
    plain_ticks(axes.xaxis, CLIENTS)
    plain_ticks(axes.yaxis, [0.5, 1, 2, 4])
    axes.grid(alpha=0.3)
    axes.legend()
    save(figure, path)


def section(times: int, figure: Path) -> Section:
    data = cifar_folder()
    seconds, memory = by_clients(times)
    draw(seconds, memory, figure)
    rows = [
        f"| {n:,} | {n // 10:,} | {IMAGES // n:,} | {spread(seconds[n])} | {memory[n] / MIB:.0f} |"
        for n in CLIENTS
    ]
    rounds = by_processes(times, data)
    middle = {name: statistics.median(values) for name, values in rounds.items()}
    lines = [f"| {name} | {spread(values)} |" for name, values in rounds.items()]
    text = f"""\
All 50,000 images shared out among the clients, 5,000 of them trained in each round by 2 processes,
batch 10. One client alone keeps one process busy; batches of 5 images mean twice as many steps.

| clients | per round | images each | seconds per round | memory of all processes, MiB |
|---|---|---|---|---|
{chr(10).join(rows)}

Memory at 10,000 clients is {memory[10_000] / memory[10]:.2f} x that at 10.

![Seconds per round and memory by the number of clients]({figure.name})

1,000 clients x 50 images, batch 10, all of them each round; the limit is the same batches in plain
PyTorch, a new Adam for each client, one process per core:

| processes | seconds per round |
|---|---|
{chr(10).join(lines)}

2 processes take {middle["2"] / middle["limit"]:.2f} x the limit; one takes \
{middle["1"] / middle["2"]:.2f} x as long as two."""
    return Section(text, {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--figure", type=Path, default=ROOT / "docs" / "scaling.png")
    options = parser.parse_args()
    print(section(options.times, options.figure).text)


if __name__ == "__main__":
    main()
