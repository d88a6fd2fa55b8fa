"""torchvision's official data sets, read (and fetched) in a child process.

The parent must not import torch's kernels before it forks the ranks, and a download that hangs in
a name look-up can only be ended from outside.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from extra_utils.my_dataset import Dataset, DatasetInfo, Split, describe_pixels
from extra_utils.process import process_context

PATIENCE_S = 20.0  # a download that brings no byte for this long has failed
CIFAR_FOLDER = "cifar-10-batches-py"


class DataMissing(Exception):
    """The data set is not there and was not to be had; the message says why."""


def load_cifar10(data_path: Path, *, download: bool) -> Dataset:
    """The checksummed official CIFAR-10 under data_path, fetched first where it is missing."""
    found = f"neither {data_path}/cifar10 nor {data_path}/{CIFAR_FOLDER} is there"
    if (data_path / CIFAR_FOLDER).is_dir():
        try:
            return _read_in_child(data_path, fetch=False)
        except DataMissing:
            found = f"{data_path}/{CIFAR_FOLDER} does not pass its checksums"
    if not download:
        raise DataMissing(f"{found}, and download is false")
    return _download_cifar10(data_path, found)


def _download_cifar10(data_path: Path, found: str) -> Dataset:
    """Fetches into a folder of its own, and moves what came there only when it is whole."""
    with _temporary_folder(data_path) as folder:
        archive = data_path / "cifar-10-python.tar.gz"
        if archive.is_file():  # torchvision unpacks a whole archive and fetches over a broken one
            shutil.copy(archive, folder)
        try:
            dataset = _read_in_child(folder, fetch=True)
        except DataMissing as reason:
            raise DataMissing(f"{found}; downloading it failed: {reason}") from None
        if not (data_path / CIFAR_FOLDER).exists():
            (folder / CIFAR_FOLDER).rename(data_path / CIFAR_FOLDER)
    return dataset


@contextlib.contextmanager
def _temporary_folder(data_path: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=".downloading-", dir=data_path))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read_in_child(root: Path, *, fetch: bool) -> Dataset:
    context = process_context()
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(root, fetch, sender), daemon=True)  # type: ignore[attr-defined]
    child.start()
    sender.close()
    try:
        answer = _wait_for_answer(receiver, root if fetch else None)
    finally:
        child.kill()
        child.join()
    if isinstance(answer, str):
        raise DataMissing(answer)
    return answer


def _wait_for_answer(receiver: Connection, growing: Path | None) -> Dataset | str:
    """What the child found; ends a download into ``growing`` that has stopped to grow."""
    size, since = -1, time.monotonic()
    while not receiver.poll(0.2):
        now_size = _folder_size(growing) if growing else -1
        if now_size != size:
            size, since = now_size, time.monotonic()
        elif growing and time.monotonic() - since > PATIENCE_S:
            return f"nothing came for {PATIENCE_S:.0f} seconds"
    try:
        answer: Dataset | str = receiver.recv()
    except EOFError:
        return "the process that reads it died"
    return answer


def _folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _child(root: Path, fetch: bool, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    socket.setdefaulttimeout(PATIENCE_S / 2)
    try:
        sender.send(_read_cifar10(root, fetch))
    except (OSError, RuntimeError, ValueError, EOFError) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or error
        sender.send(" ".join(str(reason).split()))


def _read_cifar10(root: Path, fetch: bool) -> Dataset:
    from torchvision.datasets import CIFAR10

    with contextlib.redirect_stdout(sys.stderr):
        train, test = (CIFAR10(str(root), train=t, download=fetch) for t in (True, False))
    splits = [Split(d.data, np.array(d.targets, dtype=np.int64)) for d in (train, test)]
    mean, std = describe_pixels(splits[0].images)
    return Dataset(DatasetInfo("CIFAR-10", False, list(train.classes), mean, std), *splits)
