"""Files that are written whole or not at all, and a folder that one run at a time may use."""

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from extra_utils.basics.errors import ConfigError, say

if sys.platform != "win32":
    import fcntl

OWNED = ".owned"  # lies in a temporary folder that is left over when nobody holds it
SHARED_MEMORY = Path("/dev/shm")  # on Linux; multiprocessing's locks lie there
PARTIAL = ".partial"  # ends the name of a file that is being written
LOCK_PATIENCE_S = 10.0  # for the ranks of a killed run to be gone


def write_whole(path: Path, content: bytes | str) -> None:
    """Writes beside the place and renames; a text in UTF-8 with a line's end."""
    if isinstance(content, str):
        content = f"{content}\n".encode("utf-8", "backslashreplace")
    with written_beside(path, content):
        pass


def write_json(path: Path, value: object) -> None:
    write_whole(path, json.dumps(value, indent=2, ensure_ascii=False))


@contextlib.contextmanager
def written_beside(path: Path, *content: bytes) -> Iterator[None]:
    """The content lies on disk beside the old file; it takes its place when the block is done."""
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with naming(path), partial.open("wb") as file:
            file.writelines(content)
            file.flush()
            os.fsync(file.fileno())  # neither this nor the old file is lost when the power fails
        yield
        partial.replace(path)
        with _opened(path.parent) as folder:
            if folder is not None:
                os.fsync(folder)  # its list of names; a rename is lost without it
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


def remove_partial_files(folder: Path) -> None:
    """What a killed process left unfinished in the folder."""
    for partial in folder.glob(f".*{PARTIAL}"):
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def used_alone(folder: Path, waiting: str = "") -> Iterator[None]:
    """Holds the folder against other runs, until this process and all its children are gone.

    Where another run holds it: says ``waiting``, and waits; without such a text raises ConfigError
    once the ranks of one just killed would be gone."""
    with _opened(folder) as handle:
        end = time.monotonic() + LOCK_PATIENCE_S
        if waiting and not _lock(handle):
            say(waiting, sys.stderr)
        while not _lock(handle):
            if not waiting and time.monotonic() > end:
                raise ConfigError(f"{folder}: another run is at work in it")
            time.sleep(0.1)
        yield


@contextlib.contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A folder of mode 700 for the block; those that killed runs left go as well."""
    for mark in Path(tempfile.gettempdir()).glob(f"{prefix}*/{OWNED}"):
        with contextlib.suppress(OSError), _opened(mark.parent) as handle:
            if _lock(handle, where_unknown=False):
                shutil.rmtree(mark.parent, ignore_errors=True)
    place = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    with place as name, used_alone(Path(name)):
        (Path(name) / OWNED).touch()
        yield Path(name)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    """A handle of the folder; None on Windows, where a folder cannot be opened."""
    handle = None if sys.platform == "win32" else os.open(folder, os.O_RDONLY)
    try:
        yield handle
    finally:
        if handle is not None:
            os.close(handle)


def _lock(handle: int | None, *, where_unknown: bool = True) -> bool:
    """Tries for an open folder's lock; ``where_unknown`` is the answer where there are none."""
    if sys.platform == "win32" or handle is None:
        return where_unknown
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # others come from a network's file system that knows no locks
        return where_unknown and not isinstance(error, BlockingIOError)
    return True
