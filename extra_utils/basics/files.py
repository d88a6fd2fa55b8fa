"""Files that are written whole or not at all, and a folder that one run at a time may use."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from extra_utils.basics.errors import ConfigError

PARTIAL = ".partial"  # ends the name of a file that is being written
LOCK_PATIENCE_S = 10.0  # for the ranks of a killed run to be gone
LOCK_POLL_S = 0.1


def write_whole(path: Path, content: bytes) -> None:
    """Writes beside the place and renames."""
    with written_beside(path, content, durable=False):
        pass


@contextlib.contextmanager
def written_beside(path: Path, content: bytes, *, durable: bool = True) -> Iterator[None]:
    """The content lies on disk under another name; it takes its place when the block is done.

    Until then the old file stands. With ``durable`` neither is lost when the power fails.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with naming(path), partial.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        yield
        partial.replace(path)
        if durable:
            sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError from here names the file: that of a failed write (a full disk) names none."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename = str(path)
        raise


def sync_folder(folder: Path) -> None:
    """Puts the folder's list of names on disk; a rename is lost without it."""
    if sys.platform == "win32":  # there a folder cannot be opened
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_partial_files(folder: Path) -> None:
    """What a killed process left unfinished in the folder."""
    for partial in folder.glob(f".*{PARTIAL}"):
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def used_alone(folder: Path) -> Iterator[None]:
    """Holds the folder against other runs, until this process and all its children are gone.

    Raises ConfigError where another run holds it, after waiting for the ranks of one just killed.
    """
    with _lock(folder) as is_ours:
        end = time.monotonic() + LOCK_PATIENCE_S
        while not is_ours():
            if time.monotonic() > end:
                raise ConfigError(f"{folder}: another run is at work in it")
            time.sleep(LOCK_POLL_S)
        yield


@contextlib.contextmanager
def one_at_a_time(folder: Path, waiting: str) -> Iterator[None]:
    """Waits, and says so once, until no other run is in this block for the same folder."""
    with _lock(folder) as is_ours:
        if not is_ours():
            print(waiting, file=sys.stderr, flush=True)
        while not is_ours():
            time.sleep(LOCK_POLL_S)
        yield


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[Callable[[], bool]]:
    """Tries for the folder's lock at each call. Where there are no locks, all calls succeed."""
    if sys.platform == "win32":
        yield lambda: True
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)

    def is_ours() -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a network's file system that knows no locks
            return True
        return True

    try:
        yield is_ours
    finally:
        os.close(handle)
