"""Images trained in a second by the number of processes and of threads in each.

python -m tests.benchmarks.cores [--images 4800]
"""

from __future__ import annotations

import argparse

from extra_utils.processes.child import available_cores
from tests.benchmarks.measure import Section, run_ours

PROCESSES, THREADS = range(1, 9), (1, 2)
CONFIG = ["--config=configs/cifar.json", "--num_clients=8", "--attack=null", "--augment=false",
          "--local_epochs=1", "--eval_points=0", "--global_epochs=2", "--num_test=1000",
          "--checkpoint_every=0"]  # fmt: skip


def section(images: int) -> Section:
    options = [*CONFIG, f"--num_train={images}"]
    rates = {
        (size, threads): images
        / run_ours(*options, f"--world_size={size}", f"--threads_per_process={threads}")
        for size in PROCESSES
        for threads in THREADS
    }
    head = " | ".join(str(size) for size in PROCESSES)
    rows = [
        f"| {threads} | {' | '.join(f'{rates[size, threads]:,.0f}' for size in PROCESSES)} |"
        for threads in THREADS
    ]
    text = f"""\
Images trained in a second on {available_cores()} cores, 8 clients, no augmentation:

| threads per process \\ processes | {head} |
|---|{"---|" * len(PROCESSES)}
{chr(10).join(rows)}"""
    return Section(text, {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=4_800)
    print(section(parser.parse_args().images).text)


if __name__ == "__main__":
    main()
