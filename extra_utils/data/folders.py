"""What lies in a folder of images: its parts, its classes, its files, and what is left aside."""

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from extra_utils.basics.errors import ConfigError

TRAIN = ("train", "training")  # in any case of letters
TEST = ("test", "testing", "val", "valid", "validation")  # the first of these that is there
CACHE_NAME = ".fl-cache"
PIECES, PIECE = 8, 8192  # that are looked at of a file, and their bytes; a smaller file is whole

Stamp = tuple[str, int, int, int]  # a file's path, its bytes, its time in ns, a checksum


@dataclass
class ImageFolder:
    """The files of one split, by class in alphabetical order."""

    folder: Path
    class_names: list[str]
    labels: list[int] = field(default_factory=list)
    stamps: list[Stamp] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # links that leave the folder
    unused: list[str] = field(default_factory=list)  # folders that are no classes


def scan_class_names(folder: Path) -> list[str]:
    """The sub-folders in alphabetical order; hidden ones and an unpacker's are no classes."""
    names = (entry.name for entry in os.scandir(folder) if entry.is_dir())
    return sorted(name for name in names if not _is_no_class(name))


def find_parts(folder: Path) -> list[Path]:
    """Its folders for training and for the test; [] where it holds no such two."""
    found: list[Path] = []
    for known in (TRAIN, TEST):
        names = [name for name in scan_class_names(folder) if name.lower() in known]
        names.sort(key=lambda name: known.index(name.lower()))
        found += [folder / name for name in names[:1]]
    return found if len(found) == 2 else []


def check_layout(folder: Path) -> None:
    """Refuses folders that have the names of parts only, but are no two parts."""
    names = scan_class_names(folder)
    if names and all(name.lower() in TRAIN + TEST for name in names) and not find_parts(folder):
        right = f"must be classes, or train/ beside one of {'/, '.join(TEST)}/"
        raise ConfigError(f"data_path: got {folder} with {', '.join(names)}; {right}")


def scan_parts(folder: Path) -> list[ImageFolder]:
    """The two parts, or the folder as it is."""
    parts = find_parts(folder)
    found = [scan_folder(part) for part in parts or [folder]]
    found[0].unused += _others(folder, [part.name for part in parts]) if parts else []
    return found


def scan_folder(folder: Path) -> ImageFolder:
    """Lists ``folder/<class>/**/<file>`` in sorted order, so that every machine agrees on it.

    A link that leaves the folder, or leads to a folder below a class, is refused: who packs an
    archive must not choose what else of the machine is read, nor send a scan in circles.
    """
    found = ImageFolder(folder, scan_class_names(folder))
    found.unused = _others(folder, found.class_names)
    root = os.path.realpath(folder)
    for label, class_name in enumerate(found.class_names):
        if not _is_inside(path := str(folder / class_name), root):
            found.refused.append(f"{path}: a link out of {folder}")
            continue
        stamps = sorted(_scan(path, class_name, root, found))
        found.stamps += stamps
        found.labels += [label] * len(stamps)
    return found


def _scan(folder: str, below_root: str, root: str, found: ImageFolder) -> Iterator[Stamp]:
    """Every file below a class's folder, by its path from the root."""
    for entry in os.scandir(folder):
        path = f"{below_root}{os.sep}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            if _is_no_class(entry.name):
                found.unused.append(entry.path)
            else:
                yield from _scan(entry.path, path, root, found)
        elif entry.name.startswith("."):
            continue
        elif not entry.is_file() or (entry.is_symlink() and not _is_inside(entry.path, root)):
            kind = "a link to no file in" if entry.is_symlink() else "no file, in"
            found.refused.append(f"{entry.path}: {kind} {root}")
        else:
            size = entry.stat().st_size
            yield path, size, entry.stat().st_mtime_ns, checksum_of(entry.path, size)


def checksum_of(path: str | Path, size: int, pieces: int = PIECES) -> int:
    """Of pieces spread over the file; 0 where it cannot be read, which its decoding will tell."""
    checksum = 0
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))  # of 60,000 this is a third
        try:
            for place in range(0, size, max(PIECE, size // max(pieces, 1))):
                os.lseek(file, place, os.SEEK_SET)
                checksum = zlib.crc32(os.read(file, PIECE), checksum)
        finally:
            os.close(file)
    except OSError:
        return 0
    return checksum


def _is_no_class(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _others(folder: Path, used: list[str]) -> list[str]:
    """The sub-folders beside those that are used and our own cache."""
    left_out = {*used, CACHE_NAME}
    names = [entry.name for entry in os.scandir(folder) if entry.is_dir()]
    return [str(folder / name) for name in names if name not in left_out]


def _is_inside(path: str, root: str) -> bool:
    """Whether the path, all links followed, is below ``root``."""
    return os.path.realpath(path).startswith(root.rstrip(os.sep) + os.sep)
