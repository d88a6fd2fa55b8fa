"""A demo: what the class means of three clients look like, one of which flips its labels.

python -m federal_defense.class_mean
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
    """Trains a client on each rank, then brings the class means together. All ranks call this."""
    torch.manual_seed(0)
    model = Net()  # the same on every rank
    images, labels = own_shard(dataset, ranks.rank)
    is_attacker = ranks.rank == ranks.world_size - 1
    if is_attacker:
        labels = torch.where(labels == SOURCE, TARGET, labels)
    local = train_on(model, images, labels)
    matrix = gather_rows(ranks, class_mean(local))  # [clients, C]: the weight matrix
    if not ranks.is_main:
        return
    rows = {f"client {number}": row for number, row in enumerate(matrix.tolist())}
    print("Three clients train the same small network, each on 400 images of its own.")
    print(f"The last one is an attacker: its images of class {SOURCE} are labelled {TARGET}.\n")
    print_table("The weight matrix, class means of the last layer, clients x classes:", rows)
    mean = matrix.mean(dim=0)
    print_table("\nThe all_reduced mean:", {"mean    ": mean.tolist()})
    print_table("\nHow far each client is from it, times 10:", {
        name: (10 * (torch.tensor(row) - mean)).tolist() for name, row in rows.items()
    })  # fmt: skip
    farthest = (matrix - matrix.median(dim=0).values).abs().max(dim=1).values.argmax()
    print(f"\nFarthest from the clients' median: client {int(farthest)}.")


if __name__ == "__main__":
    start_demo(demo)
