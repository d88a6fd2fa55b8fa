"""Partitions are disjoint, cover everything, leave nobody empty, and are the seed's."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extra_utils.config.keys import HINTS, Config
from extra_utils.data.partition import (
    PARTITIONS,
    Partition,
    cut_to_shortest,
    dirichlet,
    fill_empty,
    partition,
)
from extra_utils.my_dataset import Labels
from tests.helpers import make_config

CONFIG = make_config(type="synthetic")


def split(labels: Labels, config: Config) -> Partition:
    return partition(labels, config, np.random.default_rng(config.seed))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Labels, Config]:
    """Labels, and a config that fits them."""
    labels = np.array(draw(st.lists(st.integers(0, 9), min_size=1, max_size=200)))
    num_clients = draw(st.integers(1, len(labels)))
    config = replace(
        CONFIG,
        partition=draw(st.sampled_from(list(PARTITIONS))),
        num_clients=num_clients,
        alpha=draw(st.sampled_from([1e-300, 1e-3, 0.5, 1.0, 1e6])),
        shards_per_client=draw(st.integers(1, len(labels) // num_clients)),
        classes_per_client=draw(st.integers(-(-len(set(labels)) // num_clients), 10)),
        seed=draw(st.integers(0, 99)),
    )
    return labels, config


@given(cases())
def test_every_image_goes_to_one_client_and_no_client_is_empty(case: tuple[Labels, Config]) -> None:
    labels, config = case
    found = split(labels, config)
    assert len(found.shards) == config.num_clients
    assert np.array_equal(np.sort(np.concatenate(found.shards)), np.arange(len(labels)))
    assert all(len(shard) and shard.dtype == np.int64 for shard in found.shards)
    again = split(labels, config)
    assert all(np.array_equal(a, b) for a, b in zip(found.shards, again.shards, strict=True))


@given(cases())
def test_iid_clients_are_equal_within_one_image(case: tuple[Labels, Config]) -> None:
    labels, config = case
    sizes = [len(shard) for shard in split(labels, replace(config, partition="iid")).shards]
    assert max(sizes) - min(sizes) <= 1


LABELS = np.repeat(np.arange(10), 500)


def test_shards_give_a_client_few_classes() -> None:
    config = replace(CONFIG, partition="shards", num_clients=50, shards_per_client=2)
    for shard in split(LABELS, config).shards:
        assert len(shard) == 100
        assert len(set(LABELS[shard])) <= 2


def test_every_partition_of_the_config_is_there() -> None:
    assert list(PARTITIONS) == list(get_args(HINTS["partition"]))


@pytest.mark.parametrize(("num_clients", "each"), [(5, 2), (10, 3), (30, 2), (4, 10), (100, 1)])
def test_each_client_holds_so_many_classes_and_no_class_is_rare(
    num_clients: int, each: int
) -> None:
    config = replace(CONFIG, partition="classes", num_clients=num_clients, classes_per_client=each)
    found, again, other = (split(LABELS, replace(config, seed=s)).shards for s in (0, 0, 1))
    held = [set(LABELS[shard]) for shard in found]
    assert {len(own) for own in held} == {each}
    holders = np.bincount([label for own in held for label in own], minlength=10)
    assert holders.max() - holders.min() <= 1
    for shard in found:  # of each class the same part as all others that hold it
        counts = np.bincount(LABELS[shard], minlength=10)
        parts = 500 / holders[counts > 0]
        assert (np.abs(counts[counts > 0] - parts) < 1).all()
    assert held == [set(LABELS[shard]) for shard in again]
    if each < 10:
        assert held != [set(LABELS[shard]) for shard in other]  # drawn
    assert any(np.abs(np.diff(np.sort(shard))).max() > 1 for shard in found)  # not the first ones


def test_quantities_differ_and_labels_do_not() -> None:
    """For alpha = 1 and n clients a share has mean 1/n and variance (n-1) / (n^2 (n+1))."""
    sizes = []
    for seed in range(200):
        config = replace(CONFIG, partition="quantity", num_clients=4, alpha=1.0, seed=seed)
        shards = split(LABELS, config).shards
        sizes.append([len(shard) for shard in shards])
        if seed < 5:
            for shard in shards:
                shares = np.bincount(LABELS[shard], minlength=10) / len(shard)
                assert np.abs(shares - 0.1).max() < 5 * np.sqrt(0.09 / len(shard))
    shares = np.array(sizes) / len(LABELS)
    assert shares.mean(axis=0) == pytest.approx(4 * [0.25], abs=0.05)
    assert shares.var() == pytest.approx(3 / (16 * 5), rel=0.15)
    equal = replace(CONFIG, partition="quantity", num_clients=4, alpha=1e6)
    assert {len(shard) // 10 for shard in split(LABELS, equal).shards} <= {124, 125}


def test_a_smaller_alpha_makes_clients_more_unequal() -> None:
    largest = []
    for alpha in (100.0, 1.0, 0.1):
        config = replace(CONFIG, partition="dirichlet", num_clients=10, alpha=alpha)
        counts = [np.bincount(LABELS[s], minlength=10) for s in split(LABELS, config).shards]
        largest.append(np.mean([row.max() / row.sum() for row in counts]))
    assert largest[0] < 0.2 < largest[1] < largest[2]


def test_dirichlet_shares_have_the_mean_and_spread_of_the_distribution() -> None:
    """For alpha = 1 and n clients a share has mean 1/n and variance (n-1) / (n^2 (n+1))."""
    shards = dirichlet(
        np.repeat(np.arange(400), 100), num_clients=4, alpha=1.0, generator=np.random.default_rng(0)
    )
    labels = np.repeat(np.arange(400), 100)
    shares = np.stack([np.bincount(labels[s], minlength=400) for s in shards]) / 100
    assert shares.mean(axis=1) == pytest.approx(4 * [0.25], abs=0.03)
    assert shares.var() == pytest.approx(3 / (16 * 5), rel=0.1)


def test_with_a_tiny_alpha_each_class_goes_to_one_client_that_is_drawn() -> None:
    owners = []
    shards = dirichlet(LABELS, 5, np.random.default_rng(0), alpha=1e-300)
    for label in range(10):
        (owner,) = [c for c, own in enumerate(shards) if label in LABELS[own]]
        owners.append(owner)
    assert len(set(owners)) > 2
    assert sum(map(len, shards)) == len(LABELS)


def test_empty_clients_get_one_image_of_the_largest() -> None:
    shards = [np.array([], dtype=np.int64), np.array([5, 6, 7]), np.array([1]), np.array([], int)]
    assert fill_empty(shards) == 2
    assert [shard.tolist() for shard in shards] == [[7], [5], [1], [6]]


def test_nobody_gives_its_last_image_away() -> None:
    shards = [np.array(own, dtype=np.int64) for own in ([], [], [], [1, 2, 3], [4, 5])]
    assert fill_empty(shards) == 3
    assert sorted(shard.tolist() for shard in shards) == [[1], [2], [3], [4], [5]]


def test_how_many_images_are_cut_off_is_told() -> None:
    found = Partition([np.array([0, 1]), np.array([2, 3, 4])], [])
    cut = cut_to_shortest(found, np.random.default_rng(0))
    assert [len(shard) for shard in cut.shards] == [2, 2]
    assert cut.notes == ["syncBN: 1 images are left out, so that all take equal steps"]
    assert found.notes == []


def test_the_number_of_moved_images_is_said() -> None:
    config = replace(CONFIG, partition="dirichlet", num_clients=100, alpha=0.01)
    assert split(LABELS[:1000:5], config).notes[0].endswith("each was given one of another")
    assert split(LABELS, replace(config, num_clients=5, alpha=100.0)).notes == []


def test_shards_are_runs_of_the_sorted_labels_each_dealt_once() -> None:
    labels = np.repeat([2, 0, 1], 4)
    config = replace(CONFIG, partition="shards", num_clients=3, shards_per_client=2)
    found = split(labels, config).shards
    assert [len(shard) for shard in found] == [4, 4, 4]
    runs = [labels[half].tolist() for shard in found for half in np.split(shard, 2)]
    assert sorted(runs) == [[0, 0], [0, 0], [1, 1], [1, 1], [2, 2], [2, 2]]
    one_each = split(labels, replace(config, num_clients=12, shards_per_client=1)).shards
    assert [len(shard) for shard in one_each] == [1] * 12


def test_of_a_longer_shard_any_image_may_be_left_out() -> None:
    found = Partition([np.array([0, 1, 2, 3]), np.array([4, 5])], ["a note"])
    kept = set()
    for seed in range(50):
        cut = cut_to_shortest(found, np.random.default_rng(seed))
        assert cut.shards[1].tolist() == [4, 5]
        assert cut.shards[0].tolist() == sorted(cut.shards[0].tolist())
        left_out = "2 images are left out, so that all take equal steps"
        assert cut.notes == ["a note", f"syncBN: {left_out}"]
        kept |= set(cut.shards[0].tolist())
    assert kept == {0, 1, 2, 3}
