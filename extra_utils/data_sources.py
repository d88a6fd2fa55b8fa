"""Finds the data set of a config, and brings it into the cache."""

from __future__ import annotations

import atexit
import hashlib
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from extra_utils.config import Config
from extra_utils.data_cache import Source, cache_root, find_or_build
from extra_utils.errors import ConfigError
from extra_utils.image_files import ImageFolder, decode_folder, scan_folder
from extra_utils.my_dataset import SPLITS, Dataset, DatasetInfo, describe_pixels
from extra_utils.official_data import CIFAR_FOLDER, DataMissing, load_cifar10
from extra_utils.synthetic import CLASS_NAMES, make_synthetic

CIFAR_SIDE = 32
CIFAR_CLASSES = [
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
]  # fmt: skip
BANNER = """\
{line}
SYNTHETIC DATA: {wanted} was not to be had, so this run goes on with built-in images.
Why: {reason}
Its figures say nothing about {wanted}. {cure}
{line}"""


@dataclass(frozen=True)
class PreparedData:
    """Where the ranks find the data set, and what the user must know of it ("" for nothing)."""

    folder: Path
    notice: str = ""


def known_classes(config: Config) -> list[str]:
    """The class names, before any image is read."""
    if config.type == "synthetic":
        return CLASS_NAMES
    folder = Path(config.data_path) / "cifar10" / "train"
    return scan_class_names(folder) if folder.is_dir() else CIFAR_CLASSES


def scan_class_names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def prepare_data(config: Config) -> PreparedData:
    """Finds, reads and caches the data set once, for all ranks.

    Raises ConfigError where it is not to be had and ``offline_data`` does not help out.
    """
    root = _cache_root(Path(config.data_path))
    if config.type == "synthetic":
        return PreparedData(find_or_build(root, _synthetic_source(config.seed)))
    try:
        return PreparedData(find_or_build(root, _cifar_source(config)))
    except DataMissing as error:
        reason = str(error)
        cure = (
            f"To use CIFAR-10, put its images into {config.data_path}/cifar10/train/<class>/ and "
            f".../test/<class>/, or torchvision's {CIFAR_FOLDER} into {config.data_path}/."
        )
        if config.offline_data is None:
            where = f"data_path: got {config.data_path}, where CIFAR-10 was not to be had"
            raise ConfigError(f"{where}: {reason}. {cure}") from None
    folder = find_or_build(root, _synthetic_source(config.seed))
    notice = BANNER.format(line="=" * 88, wanted="CIFAR-10", reason=reason, cure=cure)
    return PreparedData(folder, notice)


def _cache_root(data_path: Path) -> Path:
    """The cache beside the data, or a temporary one where that cannot be written."""
    try:
        return cache_root(data_path)
    except OSError as error:
        folder = Path(tempfile.mkdtemp(prefix="fl-cache-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        print(f"note: {error}; the cache is in {folder}, for this run only", file=sys.stderr)
        return folder


def _synthetic_source(seed: int) -> Source:
    made_from = {"source": "synthetic", "seed": seed}
    return Source(made_from, CLASS_NAMES, lambda: make_synthetic(seed))


def _cifar_source(config: Config) -> Source:
    data_path = Path(config.data_path)
    if (data_path / "cifar10" / "train").is_dir() and (data_path / "cifar10" / "test").is_dir():
        return _folder_source("CIFAR-10", data_path / "cifar10", CIFAR_SIDE)

    def build() -> Dataset:
        return load_cifar10(data_path, download=config.download)

    return Source({"source": "official CIFAR-10"}, CIFAR_CLASSES, build)


def _folder_source(name: str, folder: Path, side: int) -> Source:
    train, test = (scan_folder(folder / split) for split in SPLITS)
    stamps = repr([train.class_names, train.labels, train.stamps, test.labels, test.stamps])
    digest = hashlib.blake2b(stamps.encode("utf-8", "surrogateescape")).hexdigest()
    made_from = {"source": "folder", "name": name, "side": side, "files": digest}
    return Source(made_from, train.class_names, lambda: _read_folders(name, train, test, side))


def _read_folders(name: str, train: ImageFolder, test: ImageFolder, side: int) -> Dataset:
    if train.class_names != test.class_names:
        raise ConfigError(f"data_path: {name}: train and test do not hold the same class folders")
    splits = []
    for found in (train, test):
        split, problems = decode_folder(found, side)
        if problems:
            print(f"{len(problems)} files are no usable images:", *problems[:10], sep="\n  ")
        if not len(split):
            raise ConfigError(f"data_path: {name}: there is no usable image")
        splits.append(split)
    mean, std = describe_pixels(splits[0].images)
    return Dataset(DatasetInfo(name, False, train.class_names, mean, std), *splits)
