"""A round of ours beside the limit and beside the article's loop, and how soon training starts.

    python -m tests.benchmarks.round_time [--images 50000] [--times 3]

Prints seconds per round and their ratios, on real CIFAR-10 under data/ where it is there.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from extra_utils.config import Config
from extra_utils.data_sources import prepare_data
from tests.benchmarks.article import article
from tests.benchmarks.measure import MIB, in_turns, peak_pss, run_ours, spread, time_command
from tests.benchmarks.plain import limit
from tests.helpers import ROOT

CONFIG = "--config=configs/cifar.json"
FIRST_STEP = """
import sys, time
from extra_utils.progress import Observer
plain = Observer.train_batch
def train_batch(self):
    plain(self)
    try:
        open(sys.argv[1], "x").write(str(time.time()))
    except FileExistsError:
        pass
Observer.train_batch = train_batch
import main
sys.exit(main.main(sys.argv[2:]))
"""


def first_step() -> float:
    """Seconds from the start of main.py to the end of the first training step of any rank."""
    with tempfile.TemporaryDirectory() as folder:
        stamp = Path(folder) / "stamp"
        options = [CONFIG, f"--run_dir={folder}/run", "--num_train=3000", "--global_epochs=1",
                   "--local_epochs=1", "--eval_points=0"]  # fmt: skip
        start = time.time()
        time_command(sys.executable, "-c", FIRST_STEP, str(stamp), *options)
        return float(stamp.read_text()) - start


def measure(images: int, times: int, article_times: int) -> dict[str, list[float]]:
    """All figures, competitors in turns."""
    data = prepare_data(
        Config(type="cifar", data_path=str(ROOT / "data"), offline_data="synthetic")
    )
    plain = ["--local_epochs=1", "--eval_points=0", f"--num_train={images}", "--global_epochs=4"]
    rounds = {
        "the limit": lambda: limit(data.folder, [images // 3] * 3),
        "ours": lambda: run_ours(CONFIG, *plain),
    }
    starts = {
        name: partial(time_command, sys.executable, "-c", name)
        for name in ("import torch, torchvision", "import torch")
    }
    return {
        **in_turns(rounds, times),
        **in_turns({"the article": lambda: article(data.folder, images)}, article_times),
        **in_turns({**starts, "first step": first_step}, times),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--article-times", type=int, default=1)
    options = parser.parse_args()
    figures = measure(options.images, options.times, options.article_times)
    medians = {name: statistics.median(values) for name, values in figures.items()}
    memory = peak_pss(CONFIG, "--global_epochs=1", "--local_epochs=1", "--num_train=15000")
    print(f"seconds per round, 3 ranks, {options.images} images, net, batch 64, 1 local epoch:")
    for name in ("the limit", "ours", "the article"):
        print(f"  {name}: {spread(figures[name])}")
    print(f"ours / the limit    {medians['ours'] / medians['the limit']:.2f}")
    print(f"the article / ours  {medians['the article'] / medians['ours']:.1f}")
    print(f"seconds from main.py to the first step: {spread(figures['first step'])}")
    for name in ("import torch, torchvision", "import torch"):
        ratio = medians["first step"] / medians[name]
        print(f"  {name}: {spread(figures[name])}; ratio {ratio:.2f}")
    print(f"largest proportional memory of all processes, 3 ranks: {memory / MIB:.0f} MiB")


if __name__ == "__main__":
    main()
