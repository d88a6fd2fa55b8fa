"""A sweep beside the same runs one after another, and what a run costs beside its rounds.

    python -m tests.benchmarks.sweeps [--times 1]

The commands one after another use all cores too: as typed, on the config's three processes, or each
on as many as there are cores.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from extra_utils.processes.child import available_cores
from tests.benchmarks.measure import Section, cifar_folder, in_turns, spread, time_command
from tests.helpers import read_rows

SEEDS, RULES = (0, 1, 2, 3), ("mean", "median")
CONFIG = ["--config=configs/cifar.json", "--num_clients=10", "--attack=null", "--local_epochs=1",
          "--eval_points=0", "--augment=false", "--global_epochs=3"]  # fmt: skip


def sweep() -> float:
    """Seconds of the one command."""
    axes = [f"--seed={','.join(map(str, SEEDS))}", f"--defense.name={','.join(RULES)}"]
    with tempfile.TemporaryDirectory() as folder:
        return time_command(sys.executable, "main.py", *CONFIG, *axes, f"--run_dir={folder}/s")


def one_after_another(*how: str) -> float:
    """Seconds of the eight commands together."""
    with tempfile.TemporaryDirectory() as folder:
        return sum(
            time_command(
                sys.executable, "main.py", *CONFIG, *how, f"--seed={seed}",
                f"--defense.name={rule}", f"--run_dir={folder}/{rule}{seed}",
            )
            for seed in SEEDS
            for rule in RULES
        )  # fmt: skip


def fixed_cost() -> float:
    """Seconds of a run without those of its rounds: from the command to the last picture."""
    with tempfile.TemporaryDirectory() as folder:
        place, cores = Path(folder) / "run", f"--world_size={available_cores()}"
        whole = time_command(sys.executable, "main.py", *CONFIG, cores, f"--run_dir={place}")
        rounds = [row for row in read_rows(place, "round") if row["round"]]
        return whole - sum(sum(row["seconds"].values()) for row in rounds)


def section(times: int) -> Section:
    cifar_folder()
    cores = f"--world_size={available_cores()}"
    figures = in_turns(
        {
            "the sweep": sweep,
            "as typed": one_after_another,
            "on all cores": lambda: one_after_another(cores),
        },
        times,
    )
    costs = in_turns(
        {
            "beside the rounds": fixed_cost,
            "import torch": lambda: time_command(sys.executable, "-c", "import torch"),
        },
        times + 4,
    )
    together, typed, apart = (statistics.median(values) for values in figures.values())
    fixed, torch = (statistics.median(values) for values in costs.values())
    ratios = f"{together / typed:.2f} x and {together / apart:.2f} x"
    text = f"""\
A sweep of {len(SEEDS) * len(RULES)} runs of 3 rounds (10 clients x 5,000 images, {len(SEEDS)} seeds
x {len(RULES)} rules) takes {spread(figures["the sweep"])} s. The same commands one after
another, each on the config's three processes, take {spread(figures["as typed"])} s, and each on
{available_cores()} take {spread(figures["on all cores"])} s: {ratios}.
What a run costs beside its rounds, from the command to the last picture, is
{spread(costs["beside the rounds"])} s, and `import torch` alone
{spread(costs["import torch"])} s. That is 1.3 x `import torch` and {fixed - 1.3 * torch:.2f} s."""
    return Section(text, {"sweep": together / apart})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=1)
    print(section(parser.parse_args().times).text)


if __name__ == "__main__":
    main()
