"""The memory of a rule that looks at single models: `median` of 16 resnet34 on two ranks.

    python -m tests.benchmarks.kept_memory

Prints each rank's peak over what it held before, beside the size of all 16 models.
"""

from __future__ import annotations

import copy
import resource

import torch
import torchvision.models

from extra_utils.aggregation.flat_model import FlatModel, WeightDiff
from extra_utils.aggregation.messages import Update
from extra_utils.config.keys import DefenseConfig
from extra_utils.distributed_utils import Ranks
from extra_utils.processes.supervisor import start_ranks
from federal_defense.rules.table import rule_of
from get_weight_matrix import RuleRound, class_means
from tests.benchmarks.measure import MIB
from tests.helpers import make_config
from tests.test_get_weight_matrix import make_plan

CLIENTS, WORLD_SIZE = 16, 2


def measure_on_rank(ranks: Ranks) -> None:
    """A whole round but for the training. All ranks call this; rank 0 prints."""
    config = make_config(type="cifar", num_clients=CLIENTS, defense=DefenseConfig(name="median"))
    torch.manual_seed(0)
    model = torchvision.models.resnet34()
    size = 4 * len(FlatModel(model)) / MIB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    aggregation = RuleRound(model, 0, config.clients_per_round, rule_of(config.defense), {})
    plan = make_plan(dict.fromkeys(range(CLIENTS), 100), WORLD_SIZE)
    aggregation.begin(plan)
    for client in plan.shares[ranks.rank]:
        local = copy.deepcopy(model)
        for piece in FlatModel(local).pieces():
            piece.add_(0.01 * torch.randn_like(piece))
        diff = WeightDiff(local, model)
        aggregation.add(Update(client, 100, diff, class_means(local), 0.0))
    aggregation.reduce(ranks)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    peaks = [float(text) for text in ranks.all_gather(str(peak))]
    if ranks.is_main:
        print(f"all {CLIENTS} models: {CLIENTS * size:,.0f} MiB, one: {size:.0f} MiB")
        for rank, held in enumerate(peaks):
            print(f"rank {rank}: {held:,.0f} MiB, {held / size:.1f} models")


if __name__ == "__main__":
    start_ranks(measure_on_rank, (), world_size=WORLD_SIZE, threads=1, timeout_s=120)
