"""A round of ours beside the limit and beside the article's loop; a whole run; its memory.

    python -m tests.benchmarks.rounds [--images 50000] [--times 3]

On real CIFAR-10 under data/ where it is there. The limit is the plain loop of a good user.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile

from tests.benchmarks.article import article
from tests.benchmarks.measure import (
    MIB,
    Section,
    cifar_folder,
    in_turns,
    peak_pss,
    run_ours,
    spread,
    time_command,
)
from tests.benchmarks.plain import limit

CLIENTS, ROUNDS = 10, 3
ARTICLE = {  # torch's threads of each process
    "the article's loop, threads as torch likes": None,
    "the article's loop, 1 thread a process": 1,
}
CONFIG = ["--config=configs/cifar.json", "--world_size=2", f"--num_clients={CLIENTS}",
          "--attack=null", "--local_epochs=1", "--eval_points=0"]  # fmt: skip


def whole_run(images: int) -> float:
    """Seconds from the command to the last picture of a small run."""
    with tempfile.TemporaryDirectory() as folder:
        return time_command(
            sys.executable, "main.py", *CONFIG, "--augment=false", f"--num_train={images}",
            f"--global_epochs={ROUNDS}", f"--run_dir={folder}/run",
        )  # fmt: skip


def measure(images: int, times: int) -> dict[str, list[float]]:
    """All seconds, competitors in turns."""
    data = cifar_folder()
    ours = [*CONFIG, f"--num_train={images}", "--global_epochs=3"]
    runs = {
        "the limit": lambda: limit(data, [images // CLIENTS] * CLIENTS),
        "ours": lambda: run_ours(*ours, "--augment=false"),
        "ours, augmentation on": lambda: run_ours(*ours),
        "whole run": lambda: whole_run(images),
        "import torch": lambda: time_command(sys.executable, "-c", "import torch"),
    }
    figures = in_turns(runs, times)
    for name, threads in ARTICLE.items():
        figures[name] = [article(data, images, threads)]
    return figures


def section(images: int, times: int) -> Section:
    figures = measure(images, times)
    middle = {name: statistics.median(values) for name, values in figures.items()}
    plain = middle["the limit"]
    rounds = ("the limit", "ours", "ours, augmentation on", *ARTICLE)
    rows = [f"| {n} | {spread(figures[n])} | {middle[n] / plain:.2f} |" for n in rounds]
    whole = middle["whole run"] / (ROUNDS * plain + middle["import torch"])
    memory = peak_pss("--config=configs/cifar.json", "--global_epochs=1", "--local_epochs=1",
                      "--num_train=15000")  # fmt: skip
    text = f"""\
A round of {CLIENTS} clients x {images // CLIENTS:,} images (`net`, batch 64, 1 local epoch) on 2
processes, local evaluation off, the test of the global model included. The limit is plain PyTorch
training of the same steps without augmentation, one process per core, nothing federated. The
article's loop has 3 processes, augmentation, and no global test.

| | seconds per round | x the limit |
|---|---|---|
{chr(10).join(rows)}

A whole run of {ROUNDS} such rounds, from the command to the last picture, takes
{spread(figures["whole run"])} s: {whole:.2f} x the limit's training and one `import torch`. All
processes of a run on 3 ranks hold at most {memory / MIB:.0f} MiB (proportional memory)."""
    return Section(text, {name: middle[name] / plain for name in rounds})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    print(section(options.images, options.times).text)


if __name__ == "__main__":
    main()
