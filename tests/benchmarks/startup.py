"""How soon training starts, and how long the first look at the images takes.

python -m tests.benchmarks.startup [--times 5]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.measure import Section, cifar_folder, in_turns, spread, time_command
from tests.helpers import ROOT

FIRST_STEP = """
import sys, time
from extra_utils.run.recorder import Observer
plain = Observer.train_batch
def train_batch(self, epoch, loss):
    plain(self, epoch, loss)
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
        options = ["--config=configs/cifar.json", f"--run_dir={folder}/run", "--num_train=3000",
                   "--global_epochs=1", "--local_epochs=1", "--eval_points=0"]  # fmt: skip
        start = time.time()
        time_command(sys.executable, "-c", FIRST_STEP, str(stamp), *options)
        return float(stamp.read_text()) - start


BUILD = """
import sys
from extra_utils.config.keys import GivenConfig
from extra_utils.config.rules import resolve
from extra_utils.data.sources import prepare_data
prepare_data(resolve(GivenConfig(type="cifar", data_path=sys.argv[1], download=False)))
"""


def build_cache() -> float:
    """Seconds to bring the image folders into a new cache."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "cifar10").symlink_to(ROOT / "data" / "cifar10")
        return time_command(sys.executable, "-c", BUILD, folder)


def section(times: int) -> Section:
    cifar_folder()
    runs = {
        "first step": first_step,
        "import torch": lambda: time_command(sys.executable, "-c", "import torch"),
    }
    figures = in_turns(runs, times)
    ratio = statistics.median(figures["first step"]) / statistics.median(figures["import torch"])
    text = f"""\
From the command to the first training step of 3 ranks, the cache made before:
{spread(figures["first step"])} s, {ratio:.2f} x `python -c "import torch"`, which takes
{spread(figures["import torch"])} s."""
    if (ROOT / "data" / "cifar10").is_dir():
        text += (
            f" The first run on the 60,000 image files makes the cache in {build_cache():.1f} s."
        )
    return Section(text, {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    print(section(parser.parse_args().times).text)


if __name__ == "__main__":
    main()
