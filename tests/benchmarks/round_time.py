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
from pathlib import Path

from extra_utils.config import Config
from extra_utils.data_sources import prepare_data
from tests.benchmarks.measure import MIB, in_turns, peak_pss, run_ours, spread, time_command
from tests.benchmarks.plain import article, limit
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--article-times", type=int, default=1)
    options = parser.parse_args()
    data = prepare_data(
        Config(type="cifar", data_path=str(ROOT / "data"), offline_data="synthetic")
    )
    sizes = [options.images // 3] * 3
    plain = ["--local_epochs=1", "--eval_points=0", f"--num_train={options.images}"]
    runs = {
        "the limit": lambda: limit(data.folder, sizes),
        "ours": lambda: run_ours(CONFIG, *plain, "--global_epochs=4"),
    }
    rounds = in_turns(runs, options.times)
    articles = in_turns({"the article": lambda: article(data.folder, options.images)},
                        options.article_times)  # fmt: skip
    starts = in_turns(
        {
            "import torch, torchvision": lambda: time_command(
                sys.executable, "-c", "import torch, torchvision"
            ),
            "import torch": lambda: time_command(sys.executable, "-c", "import torch"),
            "first step": first_step,
        },
        options.times,
    )
    memory = peak_pss(CONFIG, "--global_epochs=1", "--local_epochs=1", "--num_train=15000")
    ours = statistics.median(rounds["ours"])
    first = statistics.median(starts["first step"])
    print(f"seconds per round, 3 ranks, {options.images} images, net, batch 64, 1 local epoch:")
    print(f"  the limit    {spread(rounds['the limit'])}")
    print(f"  ours         {spread(rounds['ours'])}")
    print(f"  the article  {spread(articles['the article'])}")
    print(f"ours / the limit    {ours / statistics.median(rounds['the limit']):.2f}")
    print(f"the article / ours  {statistics.median(articles['the article']) / ours:.1f}")
    print(f"seconds from main.py to the first step: {spread(starts['first step'])}")
    for name in ("import torch, torchvision", "import torch"):
        ratio = first / statistics.median(starts[name])
        print(f"  {name}: {spread(starts[name])}; ratio {ratio:.2f}")
    print(f"largest proportional memory of all processes, 3 ranks: {memory / MIB:.0f} MiB")


if __name__ == "__main__":
    main()
