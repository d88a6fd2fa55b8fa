"""Folders of images, one sub-folder for each class, decoded with all cores."""

import os
import signal
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from extra_utils.basics.errors import ConfigError, RunFailed, printable
from extra_utils.my_dataset import Images, Split
from extra_utils.processes.machine import available_cores, end_with_parent, process_context

CHUNK = 50  # files decoded by one task
MOST_PROBLEMS = 10  # unusable files that are named; the others are counted
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # none that starts a program
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)

Stamp = tuple[str, int, int]  # a file's path, its bytes, its time in ns


@dataclass
class ImageFolder:
    """The files of one split, by class in alphabetical order."""

    folder: Path
    class_names: list[str]
    labels: list[int] = field(default_factory=list)
    stamps: list[Stamp] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # links that leave the folder


def scan_class_names(folder: Path) -> list[str]:
    """The sub-folders in alphabetical order; hidden ones are no classes."""
    names = (entry.name for entry in os.scandir(folder) if entry.is_dir())
    return sorted(name for name in names if not name.startswith("."))


def scan_folder(folder: Path) -> ImageFolder:
    """Lists ``folder/<class>/**/<file>`` in sorted order, so that every machine agrees on it.

    A link that leaves the folder, or leads to a folder below a class, is refused: who packs an
    archive must not choose what else of the machine is read, nor send a scan in circles.
    """
    found = ImageFolder(folder, scan_class_names(folder))
    root = os.path.realpath(folder)
    for label, class_name in enumerate(found.class_names):
        if not _is_inside(path := str(folder / class_name), root):
            found.refused.append(f"{path}: a link out of {folder}")
            continue
        stamps = sorted(_scan(path, class_name, root, found.refused))
        found.stamps += stamps
        found.labels += [label] * len(stamps)
    return found


def _scan(folder: str, below_root: str, root: str, refused: list[str]) -> Iterator[Stamp]:
    """Every file below a class's folder, by its path from the root."""
    for entry in os.scandir(folder):
        path = f"{below_root}{os.sep}{entry.name}"
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _scan(entry.path, path, root, refused)
        elif not entry.is_file() or (entry.is_symlink() and not _is_inside(entry.path, root)):
            kind = "a link to no file in" if entry.is_symlink() else "no file, in"
            refused.append(f"{entry.path}: {kind} {root}")
        else:
            yield path, entry.stat().st_size, entry.stat().st_mtime_ns


def _is_inside(path: str, root: str) -> bool:
    """Whether the path, all links followed, is below ``root``."""
    return os.path.realpath(path).startswith(root.rstrip(os.sep) + os.sep)


def decode_folder(found: ImageFolder, side: int) -> Split:
    """The images brought to ``side`` pixels; files that are no images are counted and named.

    Raises ConfigError where a class has no usable image.
    """
    paths = [f"{found.folder}{os.sep}{name}" for name, _, _ in found.stamps]
    images = np.empty((len(paths), side, side, 3), dtype=np.uint8)
    labels: list[int] = []
    problems = list(found.refused)
    for path, label, result in zip(paths, found.labels, _decode_all(paths, side), strict=True):
        if isinstance(result, str):
            problems.append(f"{path}: {result}")
        else:
            images[len(labels)] = result
            labels.append(label)
    if problems:
        print(f"note: {len(problems)} files are no usable images:")
        print(*(f"  {printable(line)}" for line in problems[:MOST_PROBLEMS]), sep="\n")
    if len(problems) > MOST_PROBLEMS:
        print(f"  and {len(problems) - MOST_PROBLEMS} more")
    if missing := set(range(len(found.class_names))) - set(labels):
        name = found.class_names[min(missing)]
        raise ConfigError(f"data_path: got {found.folder / name}, which holds no usable image")
    return Split(images[: len(labels)], np.array(labels, dtype=np.int64))


def _decode_all(paths: list[str], side: int) -> Iterator[Images | str]:
    """Each file's image, or why it has none, on all cores."""
    executor = ProcessPoolExecutor(available_cores(), process_context(), _prepare_worker)
    try:
        results = executor.map(partial(_decode, side=side), paths, chunksize=CHUNK)
        yield from tqdm(results, "decoding", len(paths), unit="image", disable=None)
    except BrokenProcessPool:
        where = os.path.commonpath(paths)
        raise RunFailed(f"{where}: a process that decoded its images was killed") from None
    finally:
        executor.shutdown(cancel_futures=True)  # Ctrl-C does not wait for all the others


def _decode(path: str, side: int) -> Images | str:
    """RGB [side, side, 3]: upright, transparency on white, the middle of the longer side.

    A line that says why, where the file is no image.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            upright = ImageOps.exif_transpose(image)
            if "A" in upright.getbands() or "transparency" in upright.info:
                upright = upright.convert("RGBA")
                white = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(white, upright)
            colour = upright.convert("RGB")
        return np.asarray(ImageOps.fit(colour, (side, side), Image.Resampling.BILINEAR))
    except (OSError, ValueError, SyntaxError, *BOMBS) as error:
        return f"{type(error).__name__}: {error}"


def _prepare_worker() -> None:
    """Ctrl-C, which reaches every process of the terminal, ends a worker without a word.

    A picture of far more pixels than any camera's is no image to us, not just a warning.
    """
    end_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    warnings.simplefilter("error", Image.DecompressionBombWarning)
