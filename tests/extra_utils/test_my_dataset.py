"""Data sets on disk, and their description."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from extra_utils.my_dataset import (
    Split,
    describe_pixels,
    fingerprint,
    open_dataset,
    save_dataset,
)
from tests.helpers import make_dataset


def test_a_saved_data_set_opens_as_it_was_and_stays_on_disk(tmp_path: Path) -> None:
    dataset = make_dataset()
    save_dataset(tmp_path, dataset)
    opened = open_dataset(tmp_path)
    assert opened.info == dataset.info
    assert np.array_equal(opened.train.images, dataset.train.images)
    assert np.array_equal(opened.test.labels, dataset.test.labels)
    assert isinstance(opened.train.images, np.memmap)


@pytest.mark.parametrize("name", ["train_images.npy", "test_labels.npy", "info.json"])
def test_a_folder_with_a_cut_off_file_does_not_open(name: str, tmp_path: Path) -> None:
    save_dataset(tmp_path, make_dataset())
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises((ValueError, OSError)):
        open_dataset(tmp_path)


def test_a_fingerprint_says_what_a_data_set_is_and_tells_others_apart(tmp_path: Path) -> None:
    dataset = make_dataset(num_train=30, num_test=20)
    changed = replace(dataset, test=Split(~dataset.test.images, dataset.test.labels))
    prints = []
    for place, which in enumerate((dataset, dataset, changed)):
        (tmp_path / str(place)).mkdir()
        save_dataset(tmp_path / str(place), which)
        prints.append(fingerprint(tmp_path / str(place)))
    first, again, other = prints
    checksum = first.pop("checksum")
    assert first == {
        "dataset": dataset.info.name,
        "synthetic": dataset.info.synthetic,
        "class_names": dataset.info.class_names,
        "num_train": 30,
        "num_test": 20,
    }
    assert again == {**first, "checksum": checksum}
    assert {**other, "checksum": checksum} == again
    assert other["checksum"] != checksum


def test_pixels_are_described_as_numpy_would() -> None:
    images = make_dataset(num_train=700).train.images
    mean, std = describe_pixels(images)
    assert mean == pytest.approx(images.mean(axis=(0, 1, 2)))
    assert std == pytest.approx(images.std(axis=(1, 2)).mean(axis=0))
    assert describe_pixels(np.zeros((2, 4, 4, 1), dtype=np.uint8)) == ([0.0], [1.0])
