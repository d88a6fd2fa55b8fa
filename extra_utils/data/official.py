"""The data sets that torchvision knows, read, and fetched where they are missing.

torchvision's part runs in a child process: the parent must not import torch's kernels before it
forks the ranks, and a download that hangs in a name look-up can only be ended from outside.
"""

import contextlib
import gzip
import math
import pickle
import shutil
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from extra_utils.my_dataset import Dataset, Split, new_dataset
from extra_utils.processes.child import Unavailable, in_child

IDX_FILES = [f"{s}-{k}-ubyte" for s in ("train", "t10k") for k in ("images-idx3", "labels-idx1")]
CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
FASHION = "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot"
NUMBERS = list(map(str, range(100)))
FOLDER_100, COARSE = "cifar-100-python", "CIFAR-100 (coarse)"
TAR_10, TAR_100 = "cifar-10-python.tar.gz", f"{FOLDER_100}.tar.gz"


class Official(NamedTuple):
    """One of torchvision's data sets: its name, and the folder that its files come in."""

    title: str  # torchvision's name has no "-"
    folder: str
    class_names: list[str]  # or their numbers, where the files have the names
    archive: str = ""  # that torchvision unpacks into the folder; "" for four idx files
    images: str = ""  # where a folder of images may lie as well


OFFICIAL = {
    "cifar": Official("CIFAR-10", "cifar-10-batches-py", CIFAR, TAR_10, "cifar10"),
    "cifar100": Official("CIFAR-100", FOLDER_100, NUMBERS, TAR_100, "cifar100"),
    "cifar100 coarse": Official(COARSE, FOLDER_100, NUMBERS[:20], TAR_100),
    "mnist": Official("MNIST", "MNIST/raw", NUMBERS[:10]),
    "fashion_mnist": Official("Fashion-MNIST", "FashionMNIST/raw", FASHION.split(", ")),
}


def find_idx_files(official: Official, data_path: Path) -> list[Path]:
    """All four idx files, packed or not, in torchvision's folder or in data_path; else none."""
    for folder in () if official.archive else (data_path / official.folder, data_path):
        plain = [folder / name for name in IDX_FILES]
        found = [path if path.is_file() else path.with_name(f"{path.name}.gz") for path in plain]
        if all(path.is_file() for path in found):
            return found
    return []


def load_official(official: Official, data_path: Path, *, download: bool) -> Dataset:
    """The data set under data_path, fetched first where it is missing. Raises Unavailable."""
    folder, archive = data_path / official.folder, data_path / official.archive
    found = f"{folder} is not there"
    if files := find_idx_files(official, data_path):
        images, labels = list(map(_read_idx, files[0::2])), list(map(_read_idx, files[1::2]))
        for path, own in zip(files[1::2], labels, strict=True):
            if own.max(initial=0) >= len(official.class_names):
                raise Unavailable(f"{path} is damaged: it holds the label {own.max()}")
        return _assemble(official, images, labels)
    if official.archive and folder.is_dir():
        try:
            return in_child(_read_torchvision, official, data_path, False)
        except Unavailable:
            found = f"{folder} does not pass its checksums"
    is_whole = archive.is_file() and in_child(_passes_checksum, official, archive)
    if archive.is_file() and not is_whole:  # no file where it is data_path itself
        found = f"{archive} does not pass its checksum"
    if not (download or is_whole):
        raise Unavailable(f"{found}, and download is false")
    try:
        return _download(official, data_path)
    except (Unavailable, OSError) as reason:
        tried = "unpacking" if is_whole else "downloading"
        raise Unavailable(f"{found}; {tried} it failed: {reason}") from None


def _download(official: Official, data_path: Path) -> Dataset:
    """Fetches into a folder of its own, and moves what came there only when it is whole."""
    with tempfile.TemporaryDirectory(prefix=".downloading-", dir=data_path) as name:
        folder, top = Path(name), official.folder.split("/")[0]
        if official.archive and (data_path / official.archive).is_file():
            shutil.copy(data_path / official.archive, folder)  # a whole one is only unpacked
        dataset = in_child(_read_torchvision, official, folder, True, growing=folder)
        if not (data_path / top).exists():
            (folder / top).rename(data_path / top)
    return dataset


def _read_torchvision(official: Official, root: Path, fetch: bool) -> Dataset:
    with contextlib.redirect_stdout(sys.stderr):
        splits = [_class_of(official)(str(root), train=t, download=fetch) for t in (True, False)]
    labels = [split.targets for split in splits]
    if official.folder == FOLDER_100:  # of files that have passed their checksums
        kind = "coarse" if official.title == COARSE else "fine"
        files = [root / official.folder / name for name in ("train", "test", "meta")]
        *parts, meta = [pickle.loads(path.read_bytes(), encoding="latin1") for path in files]
        labels = [part[f"{kind}_labels"] for part in parts]
        official = official._replace(class_names=meta[f"{kind}_label_names"])
    return _assemble(official, [split.data for split in splits], labels)


def _class_of(official: Official) -> Any:
    from torchvision import datasets

    return getattr(datasets, official.title.split(" ")[0].replace("-", ""))


def _passes_checksum(official: Official, archive: Path) -> bool:
    from torchvision.datasets.utils import check_integrity

    return bool(check_integrity(archive, _class_of(official).tgz_md5))


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """Images [N, H, W] or labels [N], packed or not. Raises Unavailable where they are damaged.

    Two zero bytes, 8 for "unsigned byte", the number of dimensions, as many sizes in 32 bits (big
    end first), and the values. Source: LeCun, Cortes and Burges, "The MNIST database"."""
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise Unavailable(f"{path} is damaged: {error}") from None
    num_sizes = 3 if "images" in path.name else 1
    start = 4 + 4 * num_sizes
    sizes = [int.from_bytes(content[place : place + 4], "big") for place in range(4, start, 4)]
    if content[:4] != bytes([0, 0, 8, num_sizes]) or len(content) != start + math.prod(sizes):
        raise Unavailable(f"{path} is damaged: its header does not fit its {len(content)} bytes")
    return np.frombuffer(content, np.uint8, offset=start).reshape(sizes)


def _assemble(official: Official, images: list[Any], labels: list[Any]) -> Dataset:
    """From images and labels, of each those for training and those for the test."""
    splits = []
    for pixels, own in zip(map(np.asarray, images), labels, strict=True):
        if not 0 < len(pixels) == len(own):
            raise Unavailable("its images and labels do not fit together")
        pixels = pixels if pixels.ndim == 4 else pixels[..., None]
        splits.append(Split(pixels, np.asarray(own, dtype=np.int64)))
    return new_dataset(official.title, False, official.class_names, splits)
