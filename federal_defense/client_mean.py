"""A demo: how the mean over the clients moves when one client's local training is poisoned.

python -m federal_defense.client_mean
"""

from __future__ import annotations

import torch

from extra_utils.distributed_utils import Ranks
from extra_utils.model import Net
from extra_utils.my_dataset import Dataset
from federal_defense.demo import (
    SOURCE,
    TARGET,
    gather_rows,
    own_shard,
    print_table,
    start_demo,
    train_on,
)
from get_weight_matrix import class_mean


def demo(ranks: Ranks, dataset: Dataset) -> None:
    """Trains each client twice, honestly and with the last one poisoned. All ranks call this."""
    torch.manual_seed(0)
    model = Net()  # the same on every rank
    images, labels = own_shard(dataset, ranks.rank)
    honest = gather_rows(ranks, class_mean(train_on(model, images, labels)))
    if ranks.rank == ranks.world_size - 1:
        labels = torch.where(labels == SOURCE, TARGET, labels)
    poisoned = gather_rows(ranks, class_mean(train_on(model, images, labels)))
    if not ranks.is_main:
        return
    moved = poisoned.mean(dim=0) - honest.mean(dim=0)
    last = ranks.world_size - 1
    print("Three clients train twice from the same network; the second time the last one")
    print(f"labels its images of class {SOURCE} as {TARGET}.\n")
    print_table("The mean of the clients' class means:", {
        "all honest   ": honest.mean(dim=0).tolist(),
        "one poisoned ": poisoned.mean(dim=0).tolist(),
        "moved, x 10  ": (10 * moved).tolist(),
    })  # fmt: skip
    print_table(f"\nWhat moved it, client {last}'s own class means:", {
        "honest       ": honest[last].tolist(),
        "poisoned     ": poisoned[last].tolist(),
        "moved, x 10  ": (10 * (poisoned[last] - honest[last])).tolist(),
    })  # fmt: skip
    order = moved.abs().argsort(descending=True).tolist()
    first, second = order[:2]
    print(
        f"\nThe mean moves most at class {first}, then {second}: by 1/{ranks.world_size} of the way"
    )
    print("that the poisoned client itself moved.")


if __name__ == "__main__":
    start_demo(demo)
