"""What the local curves and the global test cost in the main job.

python -m tests.benchmarks.local_evaluation [--times 2]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.measure import Section, in_turns, run_ours, spread, time_command
from tests.helpers import read_rows

CONFIG = ["--config=configs/cifar.json", "--global_epochs=3"]


def share_of_the_test() -> float:
    """The global test's part of a round without local evaluation, by rank 0's clock."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        time_command(sys.executable, "main.py", *CONFIG, "--eval_points=0", f"--run_dir={run_dir}")
        rounds = [row["seconds"] for row in read_rows(run_dir, "round")[1:]]
    return statistics.median(row["evaluate"] / sum(row.values()) for row in rounds)


def section(times: int) -> Section:
    runs = {
        "with 5 points an epoch": lambda: run_ours(*CONFIG),
        "without": lambda: run_ours(*CONFIG, "--eval_points=0"),
    }
    figures = in_turns(runs, times)
    drawn, plain = (statistics.median(values) for values in figures.values())
    test = share_of_the_test()
    text = f"""\
The main job (3 ranks, 5 points per epoch on all 10,000 test images): a round takes
{spread(figures["with 5 points an epoch"])} s, and {spread(figures["without"])} s without local
evaluation, which adds {100 * (drawn / plain - 1):.0f} %. The test of the global model takes
{100 * test:.1f} % of a round without local evaluation."""
    return Section(text, {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=2)
    print(section(parser.parse_args().times).text)


if __name__ == "__main__":
    main()
