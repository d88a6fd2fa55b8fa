"""The memory of a rule that looks at single models: `median` of 16 resnet34 on two ranks.

    python -m tests.benchmarks.kept_memory

Prints each rank's peak over what it held before, beside the size of all 16 models.
"""

from __future__ import annotations

import copy
import resource

import torch
import torchvision.models

from extra_utils.aggregation.messages import Update
from extra_utils.config.keys import DefenseConfig
from extra_utils.distributed_utils import Ranks
from extra_utils.model import float_values, integer_values
from extra_utils.processes.supervisor import start_ranks
from federal_defense.rules.table import rule_of
from get_weight_matrix import ReportRows, RuleRound, class_mean, weight_diff
from tests.benchmarks.measure import MIB
from tests.helpers import make_config

CLIENTS, WORLD_SIZE = 16, 2


def measure_on_rank(ranks: Ranks) -> None:
    """A whole round but for the training. All ranks call this; rank 0 prints."""
    config = make_config(type="cifar", num_clients=CLIENTS, defense=DefenseConfig(name="median"))
    torch.manual_seed(0)
    model = torchvision.models.resnet34()
    size = 4 * sum(value.numel() for value in float_values(model)) / MIB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = ReportRows(model, num_points=0, clients_per_round=CLIENTS)
    aggregation = RuleRound(model, figures, rule_of(config), config, {})
    shares = [list(range(rank, CLIENTS, WORLD_SIZE)) for rank in range(WORLD_SIZE)]
    aggregation.begin(1, dict.fromkeys(range(CLIENTS), 100), shares)
    for client in shares[ranks.rank]:
        local = copy.deepcopy(model)
        with torch.no_grad():
            for value in float_values(local):
                value.add_(0.01 * torch.randn_like(value))
        diff, counters = weight_diff(local, model), integer_values(local)
        aggregation.add(Update(client, 100, diff, counters, class_mean(local), 0.0))
    aggregation.reduce(ranks, model)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    peaks = [float(text) for text in ranks.all_gather(str(peak))]
    if ranks.is_main:
        print(f"all {CLIENTS} models: {CLIENTS * size:,.0f} MiB, one: {size:.0f} MiB")
        for rank, held in enumerate(peaks):
            print(f"rank {rank}: {held:,.0f} MiB, {held / size:.1f} models")


if __name__ == "__main__":
    start_ranks(measure_on_rank, (), world_size=WORLD_SIZE, threads=1, timeout_s=120)
