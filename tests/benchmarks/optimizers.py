"""What a training step of `net` costs with each optimizer, in turns.

python -m tests.benchmarks.optimizers [--times 9] [--steps 200]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from client import train_step
from extra_utils.model import Net
from extra_utils.training.optimizer import OPTIMIZERS, Optimizer
from tests.benchmarks.measure import in_turns, spread

BATCH = 64


def timed(name: str, steps: int) -> Callable[[], float]:
    """Training of one client, milliseconds a step."""

    def run() -> float:
        torch.manual_seed(0)
        model = Net().to(memory_format=torch.channels_last)
        images = torch.randn(BATCH, 3, 32, 32).to(memory_format=torch.channels_last)
        labels = torch.randint(10, (BATCH,))
        optimizer = Optimizer(model.parameters(), 0.01, OPTIMIZERS[name]())
        start = time.perf_counter()
        for _ in range(steps):
            train_step(model, optimizer, images, labels)
        return 1000 * (time.perf_counter() - start) / steps

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=9)
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    runs = {name: timed(name, arguments.steps) for name in OPTIMIZERS}
    for run in runs.values():
        run()  # the first of each touches its memory for the first time
    figures = in_turns(runs, arguments.times)
    adam = statistics.median(figures["adam"])
    print(f"A training step of net on {BATCH} CIFAR-sized images, one thread:")
    for name, values in figures.items():
        print(f"  {name}: {spread(values)} ms, {statistics.median(values) / adam:.2f} x adam's")


if __name__ == "__main__":
    main()
