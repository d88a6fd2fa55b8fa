"""Who gets which images: labels in, index arrays out; disjoint, covering, and nobody empty.

Pure functions: the generator decides everything, so every rank and every run gets the same.
"""

from collections.abc import Callable
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
    function, keys = PARTITIONS[config.partition]
    own = {key: getattr(config, key) for key in keys}
    shards = function(labels, config.num_clients, generator, **own)
    return Partition(shards, fill_empty(shards))


def cut_to_shortest(
    found: Partition, labels: Labels, class_names: list[str], generator: Generator
) -> Partition:
    """Every shard as long as the shortest; what is left out is drawn: shards lie by label."""
    length = min(len(shard) for shard in found.shards)
    shards = [own[np.sort(generator.permutation(len(own))[:length])] for own in found.shards]
    counts = (
        np.bincount(labels[np.concatenate(parts)], minlength=len(class_names)).tolist()
        for parts in (found.shards, shards)
    )
    triples = zip(class_names, *counts, strict=True)
    lost = {name: (had - kept, had) for name, had, kept in triples if kept < had}
    return Partition(shards, found.num_moved, lost)


def partition_iid(labels: Labels, num_clients: int, generator: Generator) -> list[Indices]:
    """Shuffled, and cut into pieces that are equal within one image."""
    return np.array_split(generator.permutation(len(labels)), num_clients)


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


def partition_classes(
    labels: Labels, num_clients: int, generator: Generator, *, classes_per_client: int
) -> list[Indices]:
    """Each client has images of so many classes, and those that hold a class have equal parts.

    The classes are dealt at random, but of each about as often as of every other.
    Source: "#C = k" of Li et al., ICDE 2022.
    """
    classes = np.unique(labels)
    holders: list[list[int]] = [[] for _ in classes]
    for client in range(num_clients):
        times = np.array([len(own) for own in holders])
        for number in np.lexsort((generator.random(len(classes)), times))[:classes_per_client]:
            holders[number].append(client)
    pieces: list[list[Indices]] = [[labels[:0]] for _ in range(num_clients)]
    for label, own in zip(classes, holders, strict=True):
        members = generator.permutation(np.flatnonzero(labels == label))
        for client, piece in zip(own, np.array_split(members, len(own)), strict=True):
            pieces[client].append(piece)
    return [np.concatenate(own) for own in pieces]


def partition_quantity(
    labels: Labels, num_clients: int, generator: Generator, *, alpha: float
) -> list[Indices]:
    """Sizes in proportions drawn from Dirichlet(alpha), labels as they come; some may stay empty.

    Source: "q ~ Dir(beta)" of Li et al., ICDE 2022.
    """
    shares = generator.dirichlet(np.full(num_clients, alpha))
    cuts = np.round(np.cumsum(shares)[:-1] * len(labels)).astype(np.int64)
    return np.split(generator.permutation(len(labels)), cuts)


PARTITIONS: dict[str, tuple[Callable[..., list[Indices]], tuple[str, ...]]] = {  # and their keys
    "iid": (partition_iid, ()),
    "dirichlet": (partition_dirichlet, ("alpha",)),
    "shards": (partition_shards, ("shards_per_client",)),
    "classes": (partition_classes, ("classes_per_client",)),
    "quantity": (partition_quantity, ("alpha",)),
}


def fill_empty(shards: list[Indices]) -> int:
    """Gives each empty client one image of the client that has most; returns how many moved."""
    empty = [client for client, shard in enumerate(shards) if not len(shard)]
    sizes = np.array([len(shard) for shard in shards])
    for client in empty:
        donor = int(sizes.argmax())
        shards[client], shards[donor] = shards[donor][-1:], shards[donor][:-1]
        sizes[client], sizes[donor] = 1, sizes[donor] - 1
    return len(empty)
