"""The cache of data sets on disk: built once, whole or not at all, safe when two runs build it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extra_utils.my_dataset import Dataset, open_dataset, save_dataset

CACHE_NAME = ".fl-cache"
FORMAT = 2  # goes up when the files or what is in them change


@dataclass(frozen=True)
class Source:
    """A data set that can be built: what makes it what it is, and how."""

    made_from: dict[str, Any]  # equal dictionaries stand for equal data sets
    build: Callable[[], Dataset]


def find_or_build(root: Path, source: Source) -> Path:
    """The cache folder of a data set, built when it is not there or not whole."""
    text = json.dumps({"format": FORMAT, **source.made_from}, sort_keys=True)
    folder = root / hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
    if is_whole(folder):
        return folder
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=root))
    try:
        save_dataset(building, source.build())
        _put_in_place(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def is_whole(folder: Path) -> bool:
    try:
        open_dataset(folder)
    except (OSError, ValueError, TypeError, EOFError):
        return False
    return True


def make_cache_root(data_path: Path) -> Path:
    """``data_path/.fl-cache``, made when it is missing; raises OSError where that cannot be."""
    root = data_path / CACHE_NAME
    root.mkdir(parents=True, exist_ok=True)
    if not os.access(root, os.W_OK):
        raise PermissionError(f"{root} is not writable")
    return root


def _put_in_place(building: Path, folder: Path) -> None:
    """Renames; another run that was faster keeps its own, which is equal."""
    if folder.exists() and not is_whole(folder):
        shutil.rmtree(folder)
    try:
        building.rename(folder)
    except OSError:
        if not is_whole(folder):
            raise
