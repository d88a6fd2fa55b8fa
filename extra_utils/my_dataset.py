"""A data set: one uint8 array of images and their labels for training, one for the test.

Its cache on disk: built once, whole or not at all, safe when two runs build it.
"""

import atexit
import contextlib
import hashlib
import json
import os
import shutil
import sys
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extra_utils.basics.errors import say
from extra_utils.basics.files import naming, temporary_folder, used_alone

Labels = NDArray[np.int64]
Images = NDArray[np.uint8]
SPLITS = ("train", "test")
INFO = "info.json"
CACHE_NAME = ".fl-cache"
FORMAT = 5  # goes up when the files or what is in them change
BUILDING = ".building-"  # begins the name of a folder that is being built
Identity = Callable[[], dict[str, Any]]  # equal dictionaries stand for equal data sets


@dataclass(frozen=True)
class DatasetInfo:
    name: str
    synthetic: bool
    class_names: list[str]
    mean: list[float]  # per channel of the training images, in units of 0..255
    std: list[float]  # likewise, see describe_pixels


@dataclass(frozen=True)
class Split:
    """Images [N, H, W, C] as uint8, and labels [N]."""

    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    info: DatasetInfo
    train: Split
    test: Split

    @property
    def num_classes(self) -> int:
        return len(self.info.class_names)

    @property
    def image_shape(self) -> tuple[int, int]:
        """Channels, and pixels a side."""
        _, _, side, channels = self.train.images.shape
        return channels, side


def save_dataset(folder: Path, dataset: Dataset) -> None:
    """Writes the arrays and, last, the JSON file that says what they are, with their checksums."""
    checksums = {}
    for name, array in _arrays(dataset).items():
        # not "wb", with which NumPy's error does not say that the disk is full
        with naming(folder / name), (folder / name).open("w+b") as file:
            np.save(file, array)
        checksums[name] = zlib.crc32(np.ascontiguousarray(array).data)
    content = {"info": asdict(dataset.info), "checksums": checksums}
    with naming(folder / INFO):
        (folder / INFO).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def open_dataset(folder: Path) -> Dataset:
    """The data set in a cache folder, its images memory-mapped, so that all ranks share one copy.

    Raises ValueError or OSError where the folder does not hold a whole data set."""
    splits = []
    for name in SPLITS:
        images = np.load(folder / f"{name}_images.npy", mmap_mode="r")
        labels = np.load(folder / f"{name}_labels.npy")
        kinds = (images.dtype, images.ndim, labels.dtype)
        if kinds != (np.uint8, 4, np.int64) or len(images) != len(labels):
            raise ValueError(f"{folder}: the {name} arrays do not fit together")
        splits.append(Split(images, labels))
    return Dataset(DatasetInfo(**_description(folder)["info"]), *splits)


def damage_of(folder: Path) -> str:
    """Why the data set cannot be used; "" where every byte is there that was written."""
    try:
        checksums = _description(folder)["checksums"]
        for name, array in _arrays(open_dataset(folder)).items():
            if zlib.crc32(array.data) != checksums[name]:
                return f"the checksum of {name} does not fit"
    except (OSError, EOFError, LookupError, TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def fingerprint(folder: Path) -> dict[str, Any]:
    """What all who use the data set must have alike; its arrays are not read for the checksum."""
    dataset, sums = open_dataset(folder), _description(folder)["checksums"]
    info, checksum = dataset.info, zlib.crc32(json.dumps(sums, sort_keys=True).encode())
    known = {"dataset": info.name, "synthetic": info.synthetic, "class_names": info.class_names}
    sizes = {"num_train": len(dataset.train), "num_test": len(dataset.test)}
    return known | sizes | {"checksum": f"{checksum:08x}"}


def find_or_build(root: Path, made_from: Identity, build: Callable[[], Dataset]) -> Path:
    """The cache folder of a data set, built when it is missing or damaged."""
    if not damage_of(folder := _place_of(root, made_from)):
        return folder
    with used_alone(root, f"note: waiting for another run that fills the cache {root}"):
        if not (reason := damage_of(folder := _place_of(root, made_from))):
            return folder
        if folder.exists():
            say(f"note: {folder} is damaged and is made again: {reason}", sys.stderr)
        for left_over in root.glob(f"{BUILDING}*"):  # of a run that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        with TemporaryDirectory(prefix=BUILDING, dir=root, ignore_cleanup_errors=True) as building:
            save_dataset(Path(building), build())
            folder = _place_of(root, made_from)  # what was downloaded is there only now
            shutil.rmtree(folder, ignore_errors=True)
            Path(building).rename(folder)
    return folder


def _place_of(root: Path, made_from: Identity) -> Path:
    text = json.dumps({"format": FORMAT, **made_from()}, sort_keys=True)
    return root / hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def make_cache_root(data_path: Path) -> Path:
    """``data_path/.fl-cache``; a temporary folder, and said, where that cannot be written."""
    root = data_path / CACHE_NAME
    try:
        root.mkdir(parents=True, exist_ok=True)
        if os.access(root, os.W_OK):
            return root
        reason = f"{root} is not writable"
    except OSError as error:
        reason = str(error)
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    root = stack.enter_context(temporary_folder("fl-cache-")) / CACHE_NAME
    root.mkdir()
    say(f"note: {reason}; the cache is in {root}, for this run only", sys.stderr)
    return root


def new_dataset(name: str, synthetic: bool, classes: list[str], splits: list[Split]) -> Dataset:
    mean, std = describe_pixels(splits[0].images)
    return Dataset(DatasetInfo(name, synthetic, classes, mean, std), *splits)


def describe_pixels(images: Images) -> tuple[list[float], list[float]]:
    """Each channel's mean, and the mean over the images of its deviation within an image.

    Images [N, H, W, C]. For CIFAR-10 these are the constants that its users know: deviations of
    0.2023, 0.1994 and 0.2010, divided by 255. Sums are of integers, so they are exact."""
    size = images.shape[1] * images.shape[2]
    means = images.mean(axis=(1, 2))  # [N, C]
    squares = np.einsum("nhwc,nhwc->nc", images, images, dtype=np.int64) / size
    deviation = np.sqrt(np.maximum(squares - means**2, 0)).mean(axis=0)
    return means.mean(axis=0).tolist(), np.maximum(deviation, 1).tolist()  # not 0: it divides


def _description(folder: Path) -> dict[str, Any]:
    return json.loads((folder / INFO).read_text(encoding="utf-8"))


def _arrays(dataset: Dataset) -> dict[str, Images | Labels]:
    """By the names of their files."""
    splits = zip(SPLITS, (dataset.train, dataset.test), strict=True)
    return {f"{name}_{kind}.npy": a for name, split in splits for kind, a in vars(split).items()}
