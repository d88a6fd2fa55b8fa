"""Who gets which images: labels in, index arrays out; disjoint, covering, and nobody empty.

Pure functions: the generator decides everything, so every rank and every run gets the same. Those
in ``ALL`` have the config's names, and keyword-only parameters that are its keys.
"""

from collections.abc import Callable
from inspect import getfullargspec
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from extra_utils.config.keys import Config
from extra_utils.my_dataset import Labels

Indices = NDArray[np.int64]
Shards = list[Indices]


class Partition(NamedTuple):
    shards: Shards  # each client's indices into the labels
    notes: list[str]  # what a user should know of it


def partition(labels: Labels, config: Config, generator: Generator) -> Partition:
    """The config's partition of labels [N] among its clients."""
    function = PARTITIONS[config.partition]
    keys = {key: getattr(config, key) for key in getfullargspec(function).kwonlyargs}
    found = function(labels, config.num_clients, generator, **keys)
    num_moved = fill_empty(found)
    note = f"{num_moved} clients had drawn no image; each was given one of another"
    return Partition(found, [note] if num_moved else [])


def cut_to_shortest(found: Partition, generator: Generator) -> Partition:
    """Every shard as long as the shortest; what is left out is drawn: shards lie by label."""
    length = min(map(len, found.shards))
    kept = [own[np.sort(generator.permutation(len(own))[:length])] for own in found.shards]
    number = sum(map(len, found.shards)) - sum(map(len, kept))
    note = f"syncBN: {number} images are left out, so that all take equal steps"
    return Partition(kept, [*found.notes, note] if number else found.notes)


def iid(labels: Labels, num_clients: int, generator: Generator) -> Shards:
    """Shuffled, and cut into pieces that are equal within one image."""
    return np.array_split(generator.permutation(len(labels)), num_clients)


def dirichlet(labels: Labels, num_clients: int, generator: Generator, *, alpha: float) -> Shards:
    """Each class is split in proportions drawn from Dirichlet(alpha); clients may stay empty.

    Source: Hsu, Qi and Brown, arXiv 1909.06335; by class as in Yurochkin et al., ICML 2019."""
    pieces = []  # of each class, one for each client
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        shares = generator.dirichlet(np.full(num_clients, alpha))
        cuts = np.round(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
        pieces.append(np.split(members, cuts))
    return [np.concatenate(own) for own in zip(*pieces, strict=True)]


def shards(
    labels: Labels, num_clients: int, generator: Generator, *, shards_per_client: int
) -> Shards:
    """Sorted by label, cut into equal runs, and each client gets some of them at random.

    Needs num_clients x shards_per_client <= N. Source: McMahan et al., AISTATS 2017."""
    order = generator.permutation(len(labels))
    by_label = order[np.argsort(labels[order], kind="stable")]
    runs = np.array_split(by_label, num_clients * shards_per_client)
    dealt = generator.permutation(len(runs)).reshape(num_clients, shards_per_client)
    return [np.concatenate([runs[number] for number in own]) for own in dealt]


def classes(
    labels: Labels, num_clients: int, generator: Generator, *, classes_per_client: int
) -> Shards:
    """Each client has images of so many classes, and those that hold a class have equal parts.

    Dealt at random, each about as often as all others. Source: "#C = k" of Li et al., ICDE 2022."""
    present = np.unique(labels)
    holders: list[list[int]] = [[] for _ in present]
    for client in range(num_clients):
        times = np.array([len(own) for own in holders])
        for number in np.lexsort((generator.random(len(present)), times))[:classes_per_client]:
            holders[number].append(client)
    pieces: list[list[Indices]] = [[labels[:0]] for _ in range(num_clients)]
    for label, own in zip(present, holders, strict=True):
        members = generator.permutation(np.flatnonzero(labels == label))
        for client, piece in zip(own, np.array_split(members, len(own)), strict=True):
            pieces[client].append(piece)
    return [np.concatenate(own) for own in pieces]


def quantity(labels: Labels, num_clients: int, generator: Generator, *, alpha: float) -> Shards:
    """Sizes in proportions drawn from Dirichlet(alpha), labels as they come; some may stay empty.

    Source: "q ~ Dir(beta)" of Li et al., ICDE 2022."""
    shares = generator.dirichlet(np.full(num_clients, alpha))
    cuts = np.round(np.cumsum(shares)[:-1] * len(labels)).astype(np.int64)
    return np.split(generator.permutation(len(labels)), cuts)


ALL: list[Callable[..., Shards]] = [iid, dirichlet, shards, classes, quantity]
PARTITIONS = {function.__name__: function for function in ALL}


def fill_empty(shards: Shards) -> int:
    """Gives each empty client one image of the client that has most; returns how many moved."""
    empty = [client for client, shard in enumerate(shards) if not len(shard)]
    sizes = np.array([len(shard) for shard in shards])
    for client in empty:
        donor = int(sizes.argmax())
        shards[client], shards[donor] = shards[donor][-1:], shards[donor][:-1]
        sizes[client], sizes[donor] = 1, sizes[donor] - 1
    return len(empty)
