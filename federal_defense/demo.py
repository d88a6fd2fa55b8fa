"""What the two demos share: three clients on real processes, and a matrix printed as a table."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from extra_utils.data.synthetic import make_synthetic
from extra_utils.distributed_utils import Ranks, from_bits, to_bits
from extra_utils.model import Net
from extra_utils.my_dataset import Dataset
from extra_utils.processes.supervisor import start_ranks
from extra_utils.training.optimizer import Adam
from get_weight_matrix import class_mean

NUM_CLIENTS, IMAGES_EACH, EPOCHS, BATCH = 3, 400, 4, 32
SOURCE, TARGET = 1, 4


def own_shard(dataset: Dataset, rank: int) -> tuple[Tensor, Tensor]:
    """A client's images [N, 3, 32, 32], brought to about -1..1, and labels [N]."""
    part = slice(rank * IMAGES_EACH, (rank + 1) * IMAGES_EACH)
    pixels = torch.tensor(dataset.train.images[part]).permute(0, 3, 1, 2)
    return pixels / 64 - 2, torch.tensor(dataset.train.labels[part])


def train_on(model: Net, images: Tensor, labels: Tensor) -> Net:
    """A copy of the model after some epochs of Adam."""
    local = copy.deepcopy(model)
    optimizer = Adam(local.parameters(), lr=0.002)
    order = torch.Generator().manual_seed(0)
    for _ in range(EPOCHS):
        for batch in torch.split(torch.randperm(len(labels), generator=order), BATCH):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(local(images[batch]), labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return local


def gather_rows(ranks: Ranks, row: Tensor) -> Tensor:
    """Each rank's row [C] as one matrix [ranks, C], by one all_reduce. All ranks call this."""
    matrix = torch.zeros(ranks.world_size, len(row), dtype=torch.int64)
    matrix[ranks.rank] = to_bits(row)
    ranks.all_reduce(matrix)
    return from_bits(matrix)


def print_table(title: str, rows: dict[str, Sequence[float]]) -> None:
    """Names down, classes across."""
    print(title)
    width = max(len(name) for name in rows)
    columns = len(next(iter(rows.values())))
    print(" " * width, *(f"{number:>7}" for number in range(columns)))
    for name, row in rows.items():
        print(f"{name:<{width}}", *(f"{value:7.3f}" for value in row))


def start_demo(demo: Callable[[Ranks, Dataset], None]) -> None:
    """Runs the demo on three ranks."""
    dataset = make_synthetic(0, num_train=NUM_CLIENTS * IMAGES_EACH, num_test=10)
    start_ranks(demo, (dataset,), world_size=NUM_CLIENTS, threads=1, timeout_s=60)


def show_class_means(ranks: Ranks, dataset: Dataset) -> None:
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
