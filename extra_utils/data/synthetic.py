"""The built-in images: CIFAR-shaped, made from the seed, learnable but not trivial.

Each class has a few smooth colour patterns. An image is one of them, moved, mirrored, dimmed,
blended with a pattern of another class, and covered with smooth and with plain noise.
"""

import numpy as np
from numpy.typing import NDArray

from extra_utils.basics.random_streams import Purpose, stream
from extra_utils.my_dataset import Dataset, Images, Labels, Split, new_dataset

CLASS_NAMES = [f"pattern {number}" for number in range(10)]
NUM_TRAIN, NUM_TEST = 12_000, 2_000
SIDE, COARSE = 32, 8  # pixels; cells of a pattern before it is enlarged
PATTERNS_PER_CLASS = 3
LARGEST_MOVE = 5  # pixels
BLEND, SMOOTH_NOISE, PLAIN_NOISE = 0.45, 0.75, 0.35  # against a pattern's own deviation of 1
BLOCK = 1_000  # images made at a time

Floats = NDArray[np.float32]


def make_synthetic(seed: int, num_train: int = NUM_TRAIN, num_test: int = NUM_TEST) -> Dataset:
    """The built-in data set of a seed: uint8 images [N, 32, 32, 3]."""
    generator = stream(seed, Purpose.SYNTHETIC)
    patterns = _smooth(generator, len(CLASS_NAMES) * PATTERNS_PER_CLASS)  # [classes*P, H, W, C]
    splits = []
    for size in (num_train, num_test):
        labels = generator.permutation(np.arange(size, dtype=np.int64) % len(CLASS_NAMES))
        blocks = [labels[start : start + BLOCK] for start in range(0, size, BLOCK)]
        images = np.concatenate([_make_images(generator, patterns, block) for block in blocks])
        splits.append(Split(images, labels))
    return new_dataset("SYNTHETIC images", True, CLASS_NAMES, splits)


def _make_images(generator: np.random.Generator, patterns: Floats, labels: Labels) -> Images:
    size = len(labels)
    which = labels * PATTERNS_PER_CLASS + generator.integers(PATTERNS_PER_CLASS, size=size)
    other = generator.integers(len(patterns), size=size)
    blend = generator.uniform(0, BLEND, (size, 1, 1, 1)).astype(np.float32)
    contrast = generator.uniform(0.6, 1.2, (size, 1, 1, 1)).astype(np.float32)
    images = _move(generator, patterns[which]) + blend * _move(generator, patterns[other])
    images = contrast * images + SMOOTH_NOISE * _smooth(generator, size)
    images += PLAIN_NOISE * generator.standard_normal(images.shape, dtype=np.float32)
    return np.clip(127 + 48 * images, 0, 255).astype(np.uint8)


def _smooth(generator: np.random.Generator, size: int) -> Floats:
    """Smooth random images [size, H, W, C] of deviation about 1."""
    coarse = generator.standard_normal((size, 3, COARSE, COARSE), dtype=np.float32)
    # each pixel's weights over the cells, a bell around its place, deviation 1
    pixels = (np.arange(SIDE) + 0.5) * COARSE / SIDE
    distance = np.abs(pixels[:, None] - (np.arange(COARSE) + 0.5))
    weights = np.exp(-((np.minimum(distance, COARSE - distance) / 0.8) ** 2))
    weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True))
    enlarge = weights.astype(np.float32)  # [SIDE, COARSE]
    rows = np.einsum("yi,ncij->ncyj", enlarge, coarse)  # plain loops: no threads, one order
    return np.einsum("xj,ncyj->ncyx", enlarge, rows).transpose(0, 2, 3, 1)


def _move(generator: np.random.Generator, images: Floats) -> Floats:
    """Each image shifted around its edges, and half of them mirrored."""
    moves = generator.integers(-LARGEST_MOVE, LARGEST_MOVE + 1, (2, len(images), 1))
    rows, columns = (np.arange(SIDE) + moves) % SIDE  # [N, H], [N, W]
    mirrored = generator.random((len(images), 1)) < 0.5
    columns = np.where(mirrored, columns[:, ::-1], columns)
    return images[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]
