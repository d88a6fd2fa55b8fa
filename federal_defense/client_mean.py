"""The article's two demos: three clients on real processes, the last of which may attack."""

from collections.abc import Callable

import torch
from torch import Tensor

from extra_utils.data.synthetic import make_synthetic
from extra_utils.distributed_utils import Ranks, from_bits, to_bits
from extra_utils.model import Net
from extra_utils.my_dataset import Dataset
from extra_utils.processes.supervisor import start_ranks
from extra_utils.training.optimizer import Adam, Optimizer
from get_weight_matrix import class_means

NUM_CLIENTS, IMAGES_EACH, EPOCHS, BATCH = 3, 400, 4, 32
ATTACKER, SOURCE, TARGET = NUM_CLIENTS - 1, 1, 4


def start_demo(demo: Callable[[Ranks, Dataset], None]) -> None:
    dataset = make_synthetic(0, num_train=NUM_CLIENTS * IMAGES_EACH, num_test=10)
    start_ranks(demo, (dataset,), world_size=NUM_CLIENTS, threads=1, timeout_s=60)


def show_class_means(ranks: Ranks, dataset: Dataset) -> None:
    """What the clients' class means look like when the last one attacks. All ranks call this."""
    matrix = weight_matrix(ranks, dataset, is_attacked=True)
    if not ranks.is_main:
        return
    print("Three clients train the same small network, each on 400 images of its own.")
    print(f"The last one is an attacker: its images of class {SOURCE} are labelled {TARGET}.\n")
    names = [f"client {number}" for number in range(NUM_CLIENTS)]
    title = "The weight matrix, class means of the last layer, clients x classes:"
    print_table(title, names, matrix)
    mean = matrix.mean(dim=0, keepdim=True)
    print_table("\nThe all_reduced mean:", ["mean    "], mean)
    print_table("\nHow far each client is from it, times 10:", names, 10 * (matrix - mean))
    farthest = (matrix - matrix.median(dim=0).values).abs().max(dim=1).values.argmax()
    print(f"\nFarthest from the clients' median: client {int(farthest)}.")


def show_client_mean(ranks: Ranks, dataset: Dataset) -> None:
    """How the clients' mean moves when the last one's training is poisoned. All ranks call this."""
    honest, poisoned = (weight_matrix(ranks, dataset, is_attacked=each) for each in (False, True))
    if not ranks.is_main:
        return
    print("Three clients train twice from the same network; the second time the last one")
    print(f"labels its images of class {SOURCE} as {TARGET}.\n")
    means = torch.stack([honest, poisoned, 10 * (poisoned - honest)]).mean(dim=1)  # [3, C]
    names = ["all honest   ", "one poisoned ", "moved, x 10  "]
    print_table("The mean of the clients' class means:", names, means)
    first, second, *_ = means[2].abs().argsort(descending=True).tolist()
    print(f"\nThe mean moves most at class {first}, then {second}.")


def weight_matrix(ranks: Ranks, dataset: Dataset, *, is_attacked: bool) -> Tensor:
    """Class means [ranks, C] after training; attacked, the last flips labels. All ranks call it."""
    part = slice(ranks.rank * IMAGES_EACH, (ranks.rank + 1) * IMAGES_EACH)
    images = torch.tensor(dataset.train.images[part]).permute(0, 3, 1, 2) / 64 - 2  # about -1..1
    labels = torch.tensor(dataset.train.labels[part])
    if is_attacked and ranks.rank == ATTACKER:
        labels = torch.where(labels == SOURCE, TARGET, labels)
    torch.manual_seed(0)
    model = Net()  # the same on every rank
    optimizer = Optimizer(model.parameters(), 0.002, Adam())
    order = torch.Generator().manual_seed(0)
    for _ in range(EPOCHS):
        for batch in torch.split(torch.randperm(len(labels), generator=order), BATCH):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    matrix = torch.zeros(NUM_CLIENTS, dataset.num_classes, dtype=torch.int64)
    matrix[ranks.rank] = to_bits(class_means(model))
    ranks.all_reduce(matrix)
    return from_bits(matrix)


def print_table(title: str, names: list[str], rows: Tensor) -> None:
    print(title)
    print(" " * len(names[0]), *(f"{number:>7}" for number in range(rows.shape[1])))
    for name, row in zip(names, rows.tolist(), strict=True):
        print(name, *(f"{value:7.3f}" for value in row))


if __name__ == "__main__":
    start_demo(show_client_mean)
