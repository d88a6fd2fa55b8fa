"""Shards, batches, cropping, and how clients are shared out."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from extra_utils.basics.heartbeat import RankHeartbeat
from extra_utils.config.keys import AttackConfig, Config
from extra_utils.data.partition import Indices
from extra_utils.distributed_utils import Ranks
from extra_utils.model import new_model
from extra_utils.my_dataset import Dataset
from federal_defense.attacks.labels import Poisoned
from federal_defense.attacks.table import poison
from my_data_loader import (
    Normalizer,
    TestLoader,
    TrainLoader,
    choose,
    choose_eval_images,
    choose_test_images,
    crop,
    global_test,
    make_shards,
    share_out,
)
from tests.helpers import make_config, make_dataset

CONFIG = make_config(type="synthetic", num_clients=3, batch_size=8)


def honest_loader(dataset: Dataset, shard: Indices, config: Config) -> TrainLoader:
    return TrainLoader(dataset, shard, config, Poisoned(dataset.train.labels[shard]))


def test_shards_are_the_seeds_and_of_the_chosen_images_only() -> None:
    dataset = make_dataset(num_train=200)
    config = replace(CONFIG, num_train=31)
    first, again = (np.concatenate(make_shards(config, dataset).shards) for _ in range(2))
    other = np.concatenate(make_shards(replace(config, seed=1), dataset).shards)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(set(first)) == 31
    counts = np.bincount(dataset.train.labels[first], minlength=10)
    assert set(counts) == {3, 4}
    assert len(set(first) & set(range(100))) < 31  # drawn, and not the first


def test_shards_are_cut_for_common_steps_at_random_and_it_is_told() -> None:
    """Shards lie in the order of labels: cut at their ends, some classes would be gone."""
    dataset = make_dataset(num_train=6000)
    config = replace(CONFIG, partition="dirichlet", alpha=0.5, model_name="resnet18")
    whole = make_shards(config, dataset)
    found = make_shards(replace(config, syncBN=True), dataset)
    (length,) = {len(shard) for shard in found.shards}
    labels = dataset.train.labels
    for before, after in zip(whole.shards, found.shards, strict=True):
        assert length == len(set(after)) <= len(before)
        assert set(after) <= set(before)
        had, kept = (np.bincount(labels[shard], minlength=10) for shard in (before, after))
        expected = had * length / len(before)
        assert (np.abs(kept - expected) <= 4 * np.sqrt(expected) + 1).all()  # of each class alike
    again, other = (make_shards(replace(config, syncBN=True, seed=s), dataset) for s in (0, 1))
    assert np.array_equal(np.concatenate(found.shards), np.concatenate(again.shards))
    assert not np.array_equal(np.concatenate(found.shards), np.concatenate(other.shards))

    told = f"syncBN: {6000 - 3 * length} images are left out, so that all take equal steps"
    assert found.notes == [told]


@pytest.mark.parametrize(
    "keys", [{"norm": "group"}, {"freeze_layers": True}, {"model_name": "net"}]
)
def test_without_batch_norm_no_shard_is_cut_for_it(keys: dict[str, object]) -> None:
    own = {"type": "synthetic", "num_clients": 3, "partition": "dirichlet", "syncBN": True}
    config = make_config(**(own | {"model_name": "resnet18"} | keys))
    assert sum(map(len, make_shards(config, make_dataset()).shards)) == 60


NO_BATCH_NORM = [{"freeze_layers": True}, {"syncBN": True}, {"norm": "group"}]


@pytest.mark.parametrize("keys", [*NO_BATCH_NORM, {"model_name": "net"}, {}])
@pytest.mark.parametrize(
    ("size", "usual", "joined"),
    [(12, [5, 5, 2], [5, 5, 2]), (11, [5, 5, 1], [5, 6]), (6, [5, 1], [6]), (1, [1], [2])],
)
def test_no_batch_norm_sees_one_image_alone(
    keys: dict[str, object], size: int, usual: list[int], joined: list[int]
) -> None:
    config = make_config(**({"type": "folder", "model_name": "resnet18", "batch_size": 5} | keys))
    dataset, shard = make_dataset(), np.arange(20, 20 + size)
    loader = honest_loader(dataset, shard, config)
    batches = list(loader.epoch(np.random.default_rng(0)))
    expected = usual if keys else joined
    assert [len(labels) for _, labels in batches] == expected
    assert [len(images) for images, _ in batches] == expected
    assert loader.num_batches == len(expected)
    seen = torch.cat([labels for _, labels in batches]).tolist()
    assert sorted(seen) == sorted(dataset.train.labels[shard].tolist() * (sum(expected) // size))


@pytest.mark.parametrize("num_images", [1, 9])
def test_a_resnet_with_a_map_of_one_pixel_trains_on_a_shard_that_leaves_one(
    num_images: int,
) -> None:
    """Batch norm over one image and one pixel has nothing to take a deviation of."""
    config = make_config(type="folder", model_name="resnet18", batch_size=4)
    model = new_model(config, 10, 3, 8)
    loader = honest_loader(make_dataset(side=8), np.arange(num_images), config)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        model(torch.zeros(1, 3, 8, 8))
    for images, _ in loader.epoch(np.random.default_rng(0)):
        assert model(images).isfinite().all()


def test_the_evaluation_images_are_some_of_the_test_images() -> None:
    dataset = make_dataset(num_test=50)
    config = replace(CONFIG, num_test=30, eval_size=10)
    tested, evaluated = choose_test_images(config, dataset), choose_eval_images(config, dataset)
    assert set(evaluated) < set(tested)
    assert sorted(dataset.test.labels[evaluated]) == list(range(10))


def test_clients_are_shared_out_one_to_a_rank_or_largest_first() -> None:
    assert share_out({0: 1, 1: 9, 2: 5}, 3, num_clients=3) == [[0], [1], [2]]
    assert share_out({1: 9, 2: 5}, 3, num_clients=3) == [[], [1], [2]]
    assert share_out({0: 5, 1: 4, 2: 3, 3: 3, 4: 3}, 2, num_clients=5) == [[0, 3], [1, 2, 4]]
    assert share_out({7: 1}, 2, num_clients=9) == [[7], []]


def test_normalized_images_have_mean_0_and_deviation_1_within_an_image() -> None:
    dataset = make_dataset(num_train=200)
    images = Normalizer(dataset.info, side=32)(dataset.train.images)
    assert images.shape == (200, 3, 32, 32)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(images.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4)
    within = images.std(dim=(2, 3), correction=0).mean(dim=0)
    assert torch.allclose(within, torch.ones(3), atol=1e-4)


def test_an_epoch_has_each_image_once_under_its_label() -> None:
    dataset = make_dataset()
    shard = np.arange(5, 42)
    loader = honest_loader(dataset, shard, replace(CONFIG, augment=False))
    batches = list(loader.epoch(np.random.default_rng(0)))
    assert [len(labels) for _, labels in batches] == [8, 8, 8, 8, 5]
    assert loader.num_batches == 5
    images = torch.cat([images for images, _ in batches])
    labels = torch.cat([labels for _, labels in batches])
    expected = Normalizer(dataset.info, side=32)(dataset.train.images[shard])
    rows = {tuple(image.flatten()[:9].tolist()): i for i, image in enumerate(expected)}
    order = [rows[tuple(image.flatten()[:9].tolist())] for image in images]
    assert sorted(order) == list(range(len(shard)))
    assert torch.equal(images, expected[order])
    assert labels.tolist() == dataset.train.labels[shard][order].tolist()


def test_two_epochs_differ_and_one_generator_repeats_itself() -> None:
    dataset = make_dataset()
    loader = honest_loader(dataset, np.arange(60), CONFIG)
    generator = np.random.default_rng(0)
    first = torch.cat([images for images, _ in loader.epoch(generator)])
    second = torch.cat([images for images, _ in loader.epoch(generator)])
    again = torch.cat([images for images, _ in loader.epoch(np.random.default_rng(0))])
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_labels_of_the_loader_can_be_replaced_without_touching_the_data_set() -> None:
    dataset = make_dataset()
    poisoned = Poisoned(np.full(60, 3))
    loader = TrainLoader(dataset, np.arange(60), CONFIG, poisoned)
    seen = torch.cat([labels for _, labels in loader.epoch(np.random.default_rng(0))])
    assert set(seen.tolist()) == {3}
    assert set(dataset.train.labels) == set(range(10))


def test_the_stamped_images_are_those_whose_labels_are_changed() -> None:
    dataset, shard = make_dataset(num_train=200), np.arange(100, 200)
    attack = AttackConfig(
        name="backdoor", clients=[0], parameters={"target": 0, "share": 0.5, "size": 4}
    )
    config = replace(CONFIG, augment=False, attack=[attack])
    poisoned = poison(dataset.train.labels[shard], config, 10, 0, 1)
    ((is_stamped, _),) = poisoned.stamps
    loader = TrainLoader(dataset, shard, config, poisoned)
    white = (255 - torch.tensor(dataset.info.mean)) / torch.tensor(dataset.info.std)
    seen = []
    for images, labels in loader.epoch(np.random.default_rng(0)):
        corners = images[:, :, -4:, -4:]
        is_white = ((corners - white[:, None, None]).abs() < 1e-4).all(dim=(1, 2, 3))
        seen += list(zip(is_white.tolist(), labels.tolist(), strict=True))
    assert sum(is_white for is_white, _ in seen) == is_stamped.sum() > 30
    assert all(label == 0 for is_white, label in seen if is_white)
    true = dataset.train.labels[shard][~is_stamped]
    assert sorted(label for is_white, label in seen if not is_white) == sorted(true)


class Alone(Ranks):
    """A rank without others."""

    def all_reduce(self, values: torch.Tensor) -> None: ...


class Spy(torch.nn.Module):
    """Takes an image with a white corner for class 3, all others for 5; counts them."""

    def __init__(self, white: torch.Tensor) -> None:
        super().__init__()
        self.white, self.seen = white, {True: 0, False: 0}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        corners = (images[:, :, -2:, -2:] - self.white[:, None, None]).abs() < 1e-4
        is_white = corners.all(dim=(1, 2, 3))
        for value in is_white.tolist():
            self.seen[value] += 1
        return torch.nn.functional.one_hot(torch.where(is_white, 3, 5), 10).float()


def test_a_backdoor_is_tested_on_stamped_images_of_the_other_classes() -> None:
    dataset = make_dataset(num_test=100)
    attack = AttackConfig(
        name="backdoor", clients=[0], parameters={"target": 3, "share": 0.5, "size": 2}
    )
    config = replace(CONFIG, attack=[attack])
    model = Spy((255 - torch.tensor(dataset.info.mean)) / torch.tensor(dataset.info.std))
    ranks = Alone(0, 1, RankHeartbeat())
    found = global_test(ranks, config, dataset, lambda: None)(model)
    assert model.seen == {True: 90, False: 100}  # ten are of the target class
    assert found.backdoor_success_rate == 100.0
    assert found.accuracy == 10.0
    assert found.confusion[:, 5].tolist() == [10] * 10


@pytest.mark.parametrize("place", [(0, 0), (4, 4), (8, 1)])
def test_crop_cuts_out_of_the_padded_image(place: tuple[int, int]) -> None:
    images = make_dataset().train.images[:3]
    down, right = place
    cut = crop(images, 4, np.full(3, down), np.full(3, right))
    padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="reflect")
    assert np.array_equal(cut, padded[:, down : down + 32, right : right + 32])


@pytest.mark.parametrize(("kind", "least", "most"), [("cifar", 150, 250), ("mnist", 0, 0)])
def test_augmented_images_are_moved_and_half_of_them_mirrored_but_no_digits(
    kind: Literal["cifar", "mnist"], least: int, most: int
) -> None:
    dataset = make_dataset(num_train=400)
    middle = dataset.train.images[:, 8:24, 8:24]
    loader = honest_loader(dataset, np.arange(400), replace(CONFIG, type=kind, batch_size=400))
    (images, _), *_ = loader.epoch(np.random.default_rng(0))
    pixels = images.permute(0, 2, 3, 1)
    mean, std = (torch.tensor(v) for v in (dataset.info.mean, dataset.info.std))
    back = (pixels * std + mean).round().to(torch.uint8).numpy()
    order = np.random.default_rng(0).permutation(400)
    kinds = {"same": 0, "mirrored": 0, "lost": 0}
    places = set()
    for image, number in zip(back, order, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(image, (16, 16, 3))[:, :, 0]
        found = (windows == middle[number]).all(axis=(2, 3, 4))
        places |= set(zip(*found.nonzero(), strict=True))
        straight = found.any()
        mirrored = (windows == middle[number][:, ::-1]).all(axis=(2, 3, 4)).any()
        kinds["same" if straight else "mirrored" if mirrored else "lost"] += 1
    assert kinds["lost"] == 0
    assert least <= kinds["mirrored"] <= most
    assert len(places) > 60  # of 9 x 9, by 200 images


def test_the_test_loader_gives_all_images_in_order() -> None:
    dataset = make_dataset(num_test=260)
    loader = TestLoader(dataset, np.arange(260))
    assert loader.num_batches == 2
    assert [len(loader.batch(number)[1]) for number in range(2)] == [250, 10]
    images, labels = loader.batch(1)
    assert torch.equal(images, Normalizer(dataset.info, side=32)(dataset.test.images[250:]))
    assert labels.tolist() == dataset.test.labels[250:].tolist()


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    share=st.floats(0.01, 1),
    seed=st.integers(0, 9),
)
def test_a_balanced_subset_takes_turns_among_the_classes(
    labels: list[int], share: float, seed: int
) -> None:
    array = np.array(labels)
    size = max(1, int(share * len(labels)))
    chosen = choose(array, size, seed, part=0)
    assert len(set(chosen)) == size
    assert (np.diff(chosen) > 0).all()
    counts = np.bincount(array[chosen], minlength=5)
    short = counts < np.bincount(array, minlength=5)  # classes that had more to give
    assert not short.any() or counts.max() - counts[short].min() <= 1
