"""The cache of data sets on disk: built once, whole or not at all, safe when two runs build it."""

import atexit
import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from extra_utils.basics.errors import say
from extra_utils.basics.files import keep, remove_unused, temporary_folder, used_alone
from extra_utils.data.image_folders import CACHE_NAME
from extra_utils.my_dataset import INFO, Dataset, damage_of, save_dataset

FORMAT = 5  # goes up when the files or what is in them change
BUILDING = ".building-"  # begins the name of a folder that is being built, or removed
MOST_KEPT = 6  # data sets; the others are removed, those used longest ago first
Identity = Callable[[], dict[str, Any]]  # equal dictionaries stand for equal data sets


def find_or_build(root: Path, made_from: Identity, build: Callable[[], Dataset]) -> Path:
    """The cache folder of a data set, built when it is missing or damaged; it stays while used."""
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
            if folder.exists():
                shutil.rmtree(folder)
            Path(building).rename(folder)
        keep(folder)
        _remove_old(root)
    return folder


def _place_of(root: Path, made_from: Identity) -> Path:
    """The data set's folder; where it is there, it is in use by us from now on."""
    text = json.dumps({"format": FORMAT, **made_from()}, sort_keys=True)
    folder = root / hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
    with contextlib.suppress(OSError):  # not there, or another user's
        keep(folder)
        os.utime(folder)
    return folder


def _remove_old(root: Path) -> None:
    """All but the data sets that were used last and those that a run uses."""
    folders = [path for path in root.iterdir() if (path / INFO).is_file()]
    too_many = len(folders) - MOST_KEPT
    for folder in sorted(folders, key=lambda path: path.stat().st_mtime):
        if too_many > 0 and remove_unused(folder, root / f"{BUILDING}{folder.name}"):
            too_many -= 1
            say(f"note: {folder} is removed: the cache keeps {MOST_KEPT} data sets", sys.stderr)


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
