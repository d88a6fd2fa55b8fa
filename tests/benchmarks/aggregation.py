"""Bringing a large model together, beside a bare float32 all_reduce of the same length.

    python -m tests.benchmarks.aggregation [--times 9]

Ours is all that a round does after training: class means, differences to fixed point, the packed
all_reduce, and the new global weights; in the first line resnet34 on three ranks.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torchvision.models

from extra_utils.aggregation.flat_model import FlatModel, WeightDiff
from extra_utils.aggregation.messages import Update
from extra_utils.aggregation.server import Server
from extra_utils.config.keys import ChoiceConfig
from extra_utils.distributed_utils import Ranks
from extra_utils.processes.supervisor import start_ranks
from get_weight_matrix import RoundSum, class_means
from tests.benchmarks.measure import Section, spread
from tests.helpers import ROOT
from tests.test_get_weight_matrix import make_plan

WORLD_SIZE = 3


def measure_on_rank(ranks: Ranks, times: int, path: Path) -> None:
    """Rank 0 writes the seconds of both, taken in turns; a barrier before and after each."""
    torch.manual_seed(0)
    model = torchvision.models.resnet34().to(memory_format=torch.channels_last)
    local = copy.deepcopy(model)
    for piece in FlatModel(local).pieces():
        piece.add_(0.01 * torch.randn_like(piece))
    size = ranks.world_size
    round_sum = RoundSum(model, num_points=0, clients_per_round=size)
    plan = make_plan(dict.fromkeys(range(size), 1), size)
    bare, server = torch.ones(len(FlatModel(model))), Server(ChoiceConfig(name="sgd"), {})

    def ours() -> None:
        round_sum.begin(plan)
        diff = WeightDiff(local, model)
        round_sum.add(Update(ranks.rank, 1, diff, class_means(local), 0.0))
        server.apply(model, round_sum.reduce(ranks))

    def plainly() -> None:
        dist.all_reduce(bare.fill_(1.0))

    seconds: dict[str, list[float]] = {"ours": [], "bare": []}
    for number in range(times + 1):
        for name, run in (("ours", ours), ("bare", plainly)):
            dist.barrier()
            start = time.perf_counter()
            run()
            dist.barrier()
            if number:  # the first of each touches its memory for the first time
                seconds[name].append(time.perf_counter() - start)
    if ranks.is_main:
        path.write_text(json.dumps(seconds))


def section(times: int) -> Section:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seconds.json"
        command = [sys.executable, "-m", "tests.benchmarks.aggregation", f"--times={times}"]
        subprocess.run([*command, f"--write={path}"], cwd=ROOT, check=True)  # torch not used yet
        seconds = json.loads(path.read_text())
    ratio = statistics.median(seconds["ours"]) / statistics.median(seconds["bare"])
    text = f"""\
Bringing a `resnet34` (21 million values) together over {WORLD_SIZE} ranks - class means,
differences to fixed point, the exact sum, the new weights - takes {spread(seconds["ours"])} s: \
{ratio:.1f} x
a bare float32 all_reduce of the same length, {spread(seconds["bare"])} s."""
    return Section(text, {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=9)
    parser.add_argument("--write", type=Path, help="what the fresh interpreter is started with")
    options = parser.parse_args()
    if options.write is None:
        print(section(options.times).text)
        return
    arguments = (options.times, options.write)
    start_ranks(measure_on_rank, arguments, world_size=WORLD_SIZE, threads=1, timeout_s=60)


if __name__ == "__main__":
    main()
