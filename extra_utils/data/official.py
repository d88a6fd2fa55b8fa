"""torchvision's official data sets, read (and fetched) in a child process.

The parent must not import torch's kernels before it forks the ranks, and a download that hangs in
a name look-up can only be ended from outside.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import shutil
import signal
import socket
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from extra_utils.my_dataset import Dataset, DatasetInfo, Images, Labels, Split, describe_pixels
from extra_utils.processes.machine import end_with_parent, process_context

PATIENCE_S = 20.0  # a download that brings no byte for this long has failed
IDX_FILES = (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
)  # fmt: skip
DAMAGE = (
    OSError,
    EOFError,
    zlib.error,
    ValueError,
    RuntimeError,
    AssertionError,
    LookupError,
)  # that reading a cut off or mangled idx file ends in
CIFAR_CLASSES = [
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
]  # fmt: skip
FASHION_CLASSES = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
]  # fmt: skip
DIGITS = [str(digit) for digit in range(10)]


class DataMissing(Exception):
    """The data set is not there and was not to be had; the message says why."""


@dataclass(frozen=True)
class Official:
    """One of torchvision's data sets: its name there, and the folder that its files come in."""

    title: str
    torchvision_name: str
    folder: str
    class_names: list[str]
    archive: str | None = None  # that torchvision unpacks into the folder

    @property
    def is_idx(self) -> bool:
        return self.archive is None


OFFICIAL = {
    "cifar": Official(
        "CIFAR-10", "CIFAR10", "cifar-10-batches-py", CIFAR_CLASSES, "cifar-10-python.tar.gz"
    ),
    "mnist": Official("MNIST", "MNIST", "MNIST/raw", DIGITS),
    "fashion_mnist": Official("Fashion-MNIST", "FashionMNIST", "FashionMNIST/raw", FASHION_CLASSES),
}


def find_idx_files(official: Official, data_path: Path) -> list[Path]:
    """The four idx files, packed or not, in torchvision's folder or in data_path itself."""
    for folder in (data_path / official.folder, data_path):
        found = []
        for name in IDX_FILES:
            places = (folder / name, folder / f"{name}.gz")
            found += [place for place in places if place.is_file()][:1]
        if len(found) == len(IDX_FILES):
            return found
    return []


def load_official(official: Official, data_path: Path, *, download: bool) -> Dataset:
    """The data set under data_path, fetched first where it is missing. Raises DataMissing."""
    found = f"{data_path}/{official.folder} is not there"
    if official.is_idx and (files := find_idx_files(official, data_path)):
        return in_child(_read_idx, official, files)
    if not official.is_idx and (data_path / official.folder).is_dir():
        try:
            return in_child(_read_torchvision, official, data_path, False)
        except DataMissing:
            found = f"{data_path}/{official.folder} does not pass its checksums"
    archive = data_path / official.archive if official.archive else None
    if archive is not None and archive.is_file():
        if in_child(_passes_checksum, official, archive):
            return _download(official, data_path)  # which finds nothing left to fetch
        found = f"{archive} does not pass its checksum"
    if not download:
        raise DataMissing(f"{found}, and download is false")
    try:
        return _download(official, data_path)
    except (DataMissing, OSError) as reason:
        raise DataMissing(f"{found}; downloading it failed: {reason}") from None


def _download(official: Official, data_path: Path) -> Dataset:
    """Fetches into a folder of its own, and moves what came there only when it is whole.

    Where data_path cannot be written, the files are unpacked for this run only.
    """
    top = official.folder.split("/")[0]
    with _temporary_folder(data_path) as folder:
        if official.archive and (data_path / official.archive).is_file():
            shutil.copy(data_path / official.archive, folder)  # a whole one is only unpacked
        dataset = in_child(_read_torchvision, official, folder, True, growing=folder)
        if folder.parent == data_path and not (data_path / top).exists():
            (folder / top).rename(data_path / top)
    return dataset


@contextlib.contextmanager
def _temporary_folder(data_path: Path) -> Iterator[Path]:
    try:
        folder = Path(tempfile.mkdtemp(prefix=".downloading-", dir=data_path))
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="fl-data-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def in_child(function: Callable[..., Any], *args: object, growing: Path | None = None) -> Any:
    """``function(*args)`` in a child process. Raises DataMissing with the child's reason.

    A child that fetches into the folder ``growing`` is ended when that has stopped to grow.
    """
    context: Any = process_context()
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(sender, function, args), daemon=True)
    child.start()
    sender.close()
    try:
        is_right, answer = _wait_for_answer(receiver, growing)
    finally:
        child.kill()
        child.join()
    if not is_right:
        raise DataMissing(answer)
    return answer


def _wait_for_answer(receiver: Connection, growing: Path | None) -> tuple[bool, Any]:
    size, since = -1, time.monotonic()
    while not receiver.poll(0.2):
        now_size = _folder_size(growing) if growing else -1
        if now_size != size:
            size, since = now_size, time.monotonic()
        elif growing and time.monotonic() - since > PATIENCE_S:
            return False, f"nothing came for {PATIENCE_S:.0f} seconds"
    try:
        answer: tuple[bool, Any] = receiver.recv()
    except EOFError:
        return False, "the process that reads it died"
    return answer


def _folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _child(sender: Connection, function: Callable[..., Any], args: tuple[object, ...]) -> None:
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    socket.setdefaulttimeout(PATIENCE_S / 2)
    try:
        sender.send((True, function(*args)))
    except (OSError, RuntimeError, ValueError) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or error
        sender.send((False, " ".join(str(reason).split())))


def _read_torchvision(official: Official, root: Path, fetch: bool) -> Dataset:
    import torchvision

    kind = getattr(torchvision.datasets, official.torchvision_name)
    with contextlib.redirect_stdout(sys.stderr):
        train, test = (kind(str(root), train=t, download=fetch) for t in (True, False))
    arrays = [(np.asarray(d.data), np.array(d.targets, dtype=np.int64)) for d in (train, test)]
    return _assemble(official, arrays)


def _passes_checksum(official: Official, archive: Path) -> bool:
    import torchvision

    checksum: str = getattr(torchvision.datasets, official.torchvision_name).tgz_md5
    with archive.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest() == checksum


def _read_idx(official: Official, files: list[Path]) -> Dataset:
    from torchvision.datasets.mnist import read_image_file, read_label_file

    arrays = []
    for path in files:
        read = read_image_file if "images" in path.name else read_label_file
        with tempfile.TemporaryDirectory() as folder:
            try:
                arrays.append(read(str(_unpack(path, Path(folder)))).numpy())
            except DAMAGE as error:
                raise ValueError(
                    f"{path} is damaged: {str(error) or type(error).__name__}"
                ) from None
    return _assemble(official, list(zip(arrays[0::2], arrays[1::2], strict=True)))


def _unpack(path: Path, folder: Path) -> Path:
    if path.suffix != ".gz":
        return path
    plain = folder / path.stem
    with gzip.open(path) as packed, plain.open("wb") as file:
        shutil.copyfileobj(packed, file)
    return plain


def _assemble(official: Official, arrays: list[tuple[Images, Labels]]) -> Dataset:
    splits = []
    for images, labels in arrays:
        if len(images) != len(labels) or labels.max() >= len(official.class_names):
            raise ValueError("its images and labels do not fit together")
        splits.append(Split(images if images.ndim == 4 else images[..., None], labels))
    mean, std = describe_pixels(splits[0].images)
    info = DatasetInfo(official.title, False, official.class_names, mean, std)
    return Dataset(info, *splits)
