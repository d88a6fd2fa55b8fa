"""Disjoint shards of the training images, and the batches that a client draws from its own."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, nn

from extra_utils.basics.random_streams import Purpose, stream
from extra_utils.config.keys import Config
from extra_utils.data.partition import Indices, Partition, cut_to_shortest, partition
from extra_utils.distributed_utils import Ranks
from extra_utils.my_dataset import Dataset, DatasetInfo, Images, Labels
from extra_utils.training.evaluation import Beat, Evaluation, evaluate_together
from federal_defense.attacks.labels import Poisoned, Stamp
from federal_defense.attacks.table import backdoor_of

PADDING_SHARE = 8  # a crop comes from an image padded by an eighth of its side
UPRIGHT = ("mnist",)  # digits are not mirrored
MOST_IN_BATCH = 250  # test images: the first layer's output then stays in the processor's cache
EVAL_PIXELS = MOST_IN_BATCH * 32 * 32


def make_shards(config: Config, dataset: Dataset) -> Partition:
    """Each client's indices into the training images. The same on every rank."""
    chosen = choose(dataset.train.labels, config.num_train, config.seed, part=0)
    generator = stream(config.seed, Purpose.PARTITION)
    labels = dataset.train.labels[chosen]
    found = partition(labels, config, generator)
    if config.syncBN and config.has_batch_norm:
        found = cut_to_shortest(found, generator)
    return found._replace(shards=[chosen[own] for own in found.shards])


def choose_test_images(config: Config, dataset: Dataset) -> Indices:
    """The test images of this run."""
    return choose(dataset.test.labels, config.num_test, config.seed, part=1)


def choose_eval_images(config: Config, dataset: Dataset) -> Indices:
    """Those of the run's test images on which local models are evaluated."""
    test = choose_test_images(config, dataset)
    return test[choose(dataset.test.labels[test], config.eval_size, config.seed, part=2)]


def choose(labels: Labels, size: int | None, seed: int, part: int) -> Indices:
    """Indices, ascending: all, or ``size`` that the seed draws, the classes taking turns."""
    if size is None or size >= len(labels):
        return np.arange(len(labels))
    order = stream(seed, Purpose.SUBSET, part).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    turns = np.concatenate([np.arange(count) for count in np.bincount(labels)])
    return np.sort(by_class[np.argsort(turns, kind="stable")][:size])


def share_out(samples: dict[int, int], world_size: int, num_clients: int) -> list[list[int]]:
    """Each rank's clients of a round: i on rank i where there is one each, else even by samples."""
    if num_clients == world_size:
        return [[rank] if rank in samples else [] for rank in range(world_size)]
    shares: list[list[int]] = [[] for _ in range(world_size)]
    loads = [0] * world_size
    for client_id in sorted(samples, key=lambda c: (-samples[c], c)):  # largest first
        rank = loads.index(min(loads))
        shares[rank].append(client_id)
        loads[rank] += samples[client_id]
    return shares


class Normalizer:
    """uint8 images [B, H, W, C] to float32 [B, C, H, W]: minus the mean, by the deviation."""

    def __init__(self, info: DatasetInfo, side: int) -> None:
        std = torch.tensor(info.std, dtype=torch.float64)
        self._scale = (1 / std).float().repeat(side)  # [W * C]
        self._shift = (-torch.tensor(info.mean, dtype=torch.float64) / std).float().repeat(side)

    def __call__(self, images: Images) -> Tensor:
        # whole lines of pixels: long rows are what the processor's wide instructions are for
        pixels = torch.from_numpy(images).flatten(2).float()  # [B, H, W * C]
        pixels.mul_(self._scale).add_(self._shift)
        return pixels.view(images.shape).permute(0, 3, 1, 2)  # channels_last, without a copy


class TrainLoader:
    """The batches of one client's shard, an attacker's with the labels and stamps of its attack."""

    def __init__(self, dataset: Dataset, indices: Indices, config: Config, own: Poisoned) -> None:
        """``own``: what the client trains on, in the order of ``indices`` [N]."""
        _, side = dataset.image_shape
        self._images, self._indices, self._poisoned = dataset.train.images, indices, own
        self.labels, self.edited_labels = own.labels, own.edited_labels
        self._normalize = Normalizer(dataset.info, side)
        self._padding = side // PADDING_SHARE if config.augment else 0
        self._mirrors = config.augment and config.type not in UPRIGHT
        self._batch_size, self.num_samples = config.batch_size, len(indices)
        self._needs_two = config.has_batch_norm and not config.syncBN
        # the last batch may be smaller, or larger by an image that must not be alone
        self.num_batches = max(1, -(-(len(indices) - self._needs_two) // config.batch_size))

    def epoch(self, generator: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Images [B, C, H, W] and labels [B], each image once, in the generator's order."""
        order = generator.permutation(self.num_samples)
        moves = generator.integers(2 * self._padding + 1, size=(2, self.num_samples))
        mirrored = generator.random(self.num_samples) < (0.5 if self._mirrors else 0.0)
        cuts = np.arange(1, self.num_batches) * self._batch_size
        for places in np.split(np.arange(self.num_samples), cuts):
            # where batch norm must not see a single image, it stands twice
            batch = places.repeat(2) if self._needs_two and len(places) == 1 else places
            images = self._images[self._indices[order[batch]]]
            if self._padding:
                images = crop(images, self._padding, *moves[:, batch])
            images[mirrored[batch]] = images[mirrored[batch], :, ::-1]
            images = self._poisoned.stamped(images, order[batch])
            yield self._normalize(images), torch.from_numpy(self.labels[order[batch]])


class TestLoader:
    """The test images, or some of them, in batches that are the same on every rank."""

    __test__ = False  # not one for pytest

    def __init__(self, dataset: Dataset, indices: Indices, stamp: Stamp = lambda i: i) -> None:
        """``stamp``: put on every image, to test a backdoor."""
        _, side = dataset.image_shape
        self._split, self._indices, self._stamp = dataset.test, indices, stamp
        self._normalize = Normalizer(dataset.info, side)
        self.num_classes = dataset.num_classes
        # it fixes the order of the loss's sum, so it depends on the images alone
        self._batch_size = min(MOST_IN_BATCH, max(1, EVAL_PIXELS // side**2))
        self.num_batches = -(-len(indices) // self._batch_size)

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Images [B, C, H, W] and labels [B] of one batch."""
        part = self._indices[number * self._batch_size :][: self._batch_size]
        images = self._stamp(self._split.images[part])
        return self._normalize(images), torch.from_numpy(self._split.labels[part])


def global_test(
    ranks: Ranks, config: Config, dataset: Dataset, beat: Beat
) -> Callable[[nn.Module], Evaluation]:
    """The global model's test, also of the attack's backdoor. All ranks call what comes back."""
    chosen = choose_test_images(config, dataset)
    loader = TestLoader(dataset, chosen)
    if (backdoor := backdoor_of(config)) is None:
        return lambda model: evaluate_together(ranks, model, loader, beat)
    stamp, target = backdoor
    stamped = TestLoader(dataset, chosen[dataset.test.labels[chosen] != target], stamp)

    def test_both(model: nn.Module) -> Evaluation:
        found = evaluate_together(ranks, model, loader, beat)
        predicted = evaluate_together(ranks, model, stamped, beat).confusion.sum(dim=0)
        rate = 100.0 * int(predicted[target]) / max(int(predicted.sum()), 1)
        return replace(found, backdoor_success_rate=rate)

    return test_both


def crop(images: Images, padding: int, down: Indices, right: Indices) -> Images:
    """Images [B, H, W, C] mirrored outwards on all sides, cut out again at (down, right) [B].

    Why not black, as we assume of the article: the main job without attack got 61.8, not 59.7 %."""
    border = (padding, padding)
    padded = np.pad(images, ((0, 0), border, border, (0, 0)), mode="reflect")
    windows = sliding_window_view(padded, images.shape[1:], axis=(1, 2, 3))
    return windows[np.arange(len(images)), down, right, 0]  # of [B, down, right, 1, H, W, C]
