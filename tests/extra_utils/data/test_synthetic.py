"""The built-in images."""

from __future__ import annotations

import numpy as np

from extra_utils.data.synthetic import make_synthetic

SIZES = (1200, 100)


def test_they_have_cifars_shape_are_balanced_and_say_what_they_are() -> None:
    dataset = make_synthetic(0, *SIZES)
    assert dataset.train.images.shape == (1200, 32, 32, 3)
    assert dataset.train.images.dtype == np.uint8
    assert set(np.bincount(dataset.train.labels)) == {120}
    assert set(np.bincount(dataset.test.labels)) == {10}
    assert dataset.info.synthetic
    assert "SYNTHETIC" in dataset.info.name


def test_they_are_the_seeds() -> None:
    first, again, other = (make_synthetic(seed, *SIZES) for seed in (0, 0, 1))
    assert np.array_equal(first.train.images, again.train.images)
    assert np.array_equal(first.test.images, again.test.images)
    assert not np.array_equal(first.train.images, other.train.images)


def test_no_image_stands_twice() -> None:
    dataset = make_synthetic(0, *SIZES)
    images = np.concatenate([dataset.train.images, dataset.test.images])
    assert len({image.tobytes() for image in images}) == 1300
