"""Who gets which images: labels in, index arrays out; disjoint, covering, and nobody empty.

Pure functions: the generator decides everything, so every rank and every run gets the same.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from extra_utils.config.keys import Config
from extra_utils.my_dataset import Labels

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Partition:
    """Each client's indices into the labels, and what was done to them."""

    shards: list[Indices]
    num_moved: int = 0  # images given to clients that had drawn none
    lost: dict[str, tuple[int, int]] = field(default_factory=dict)  # of each class, of so many

    def notes(self) -> list[str]:
        """What a user should know of it."""
        moved = f"{self.num_moved} clients had drawn no image; each was given one of another"
        number = sum(lost for lost, _ in self.lost.values())
        by_class = ", ".join(f"{lost} of {had} {name}" for name, (lost, had) in self.lost.items())
        cut = f"syncBN: {number} images are left out, so that all take equal steps: {by_class}"
        return [text for number, text in ((self.num_moved, moved), (number, cut)) if number]


def partition(labels: Labels, config: Config, generator: Generator) -> Partition:
    """The config's partition of labels [N] among its clients."""
    num_clients, each = config.num_clients, config.shards_per_client
    if config.partition == "dirichlet":
        shards = partition_dirichlet(labels, num_clients, generator, alpha=config.alpha)
        return Partition(shards, fill_empty(shards))
    if config.partition == "shards":
        return Partition(partition_shards(labels, num_clients, generator, shards_per_client=each))
    # iid: shuffled and cut into pieces that are equal within one image
    return Partition(np.array_split(generator.permutation(len(labels)), num_clients))


def cut_to_shortest(
    found: Partition, labels: Labels, class_names: list[str], generator: Generator
) -> Partition:
    """Every shard as long as the shortest; what is left out is drawn: shards lie by label."""
    length = min(len(shard) for shard in found.shards)
    chosen = [np.sort(generator.permutation(len(shard))[:length]) for shard in found.shards]
    shards = [shard[own] for shard, own in zip(found.shards, chosen, strict=True)]
    counts = (
        np.bincount(labels[np.concatenate(parts)], minlength=len(class_names)).tolist()
        for parts in (found.shards, shards)
    )
    triples = zip(class_names, *counts, strict=True)
    lost = {name: (had - kept, had) for name, had, kept in triples if kept < had}
    return Partition(shards, found.num_moved, lost)


def partition_dirichlet(
    labels: Labels, num_clients: int, generator: Generator, *, alpha: float
) -> list[Indices]:
    """Each class is split in proportions drawn from Dirichlet(alpha); clients may stay empty.

    Source: Hsu, Qi and Brown, arXiv 1909.06335; split class by class as in Yurochkin et al.,
    ICML 2019.
    """
    pieces = []  # of each class, one for each client
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        shares = generator.dirichlet(np.full(num_clients, alpha))
        cuts = np.round(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
        pieces.append(np.split(members, cuts))
    return [np.concatenate(own) for own in zip(*pieces, strict=True)]


def partition_shards(
    labels: Labels, num_clients: int, generator: Generator, *, shards_per_client: int
) -> list[Indices]:
    """Sorted by label, cut into equal runs, and each client gets some of them at random.

    Needs num_clients x shards_per_client <= N. Source: McMahan et al., AISTATS 2017.
    """
    assert num_clients * shards_per_client <= len(labels), "the config was checked for it"
    order = generator.permutation(len(labels))
    by_label = order[np.argsort(labels[order], kind="stable")]
    runs = np.array_split(by_label, num_clients * shards_per_client)
    dealt = generator.permutation(len(runs)).reshape(num_clients, shards_per_client)
    return [np.concatenate([runs[number] for number in own]) for own in dealt]


def fill_empty(shards: list[Indices]) -> int:
    """Gives each empty client one image of the client that has most; returns how many moved."""
    empty = [client for client, shard in enumerate(shards) if not len(shard)]
    sizes = np.array([len(shard) for shard in shards])
    for client in empty:
        donor = int(sizes.argmax())
        shards[client], shards[donor] = shards[donor][-1:], shards[donor][:-1]
        sizes[client], sizes[donor] = 1, sizes[donor] - 1
    return len(empty)
