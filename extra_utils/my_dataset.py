"""A data set: one uint8 array of images and their labels for training, one for the test."""

import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extra_utils.basics.errors import describe_os_error
from extra_utils.basics.files import naming

Labels = NDArray[np.int64]
Images = NDArray[np.uint8]
SPLITS = ("train", "test")
INFO = "info.json"


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

    Raises ValueError or OSError where the folder does not hold a whole data set.
    """
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
    except KeyError as error:
        return f"{error} is missing"
    except OSError as error:
        return describe_os_error(error)
    except (ValueError, TypeError, EOFError) as error:
        return str(error)
    return ""


def fingerprint(folder: Path) -> dict[str, Any]:
    """What all who use the data set must have alike; its arrays are not read for the checksum."""
    dataset, sums = open_dataset(folder), _description(folder)["checksums"]
    info, checksum = dataset.info, zlib.crc32(json.dumps(sums, sort_keys=True).encode())
    known = {"dataset": info.name, "synthetic": info.synthetic, "class_names": info.class_names}
    sizes = {"num_train": len(dataset.train), "num_test": len(dataset.test)}
    return known | sizes | {"checksum": f"{checksum:08x}"}


def describe_pixels(images: Images) -> tuple[list[float], list[float]]:
    """Each channel's mean, and the mean over the images of its deviation within an image.

    Images [N, H, W, C]. For CIFAR-10 these are the constants that its users know: deviations of
    0.2023, 0.1994 and 0.2010, divided by 255. Sums are of integers, so they are exact.
    """
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
