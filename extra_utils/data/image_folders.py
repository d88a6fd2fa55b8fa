"""A folder of images: its parts, classes and files, and these decoded with all cores."""

import contextlib
import os
import signal
import struct
import warnings
import zlib
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
from extra_utils.processes.child import available_cores, end_with_parent, process_context

TRAIN = ("train", "training")  # in any case of letters
TEST = ("test", "testing", "val", "valid", "validation")  # the first of these that is there
PIECES, PIECE = 8, 8192  # that are looked at of a file, and their bytes; a smaller file is whole
CHUNK = 50  # files decoded by one task
MOST_NAMED = 10  # of what is left aside; the others are counted
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # none that starts a program
DEEP = "IF"  # begin the names of the modes of grey values of more than 8 bits
# what broken files get out of the decoder: tests/extra_utils/data/fuzz_images.py looks for others
BROKEN: tuple[type[Exception], ...] = (ArithmeticError, AttributeError, EOFError, LookupError)
BROKEN += (MemoryError, OSError, SyntaxError, TypeError, ValueError, struct.error)
BROKEN += (Image.DecompressionBombError, Image.DecompressionBombWarning)

Stamp = tuple[str, int, int, int]  # a file's path, its bytes, its time in ns, a checksum


@dataclass
class ImageFolder:
    """The files of one split, by class in alphabetical order."""

    folder: Path
    class_names: list[str]
    labels: list[int] = field(default_factory=list)
    stamps: list[Stamp] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # links that leave the folder


def scan_class_names(folder: Path) -> list[str]:
    """The sub-folders in alphabetical order; hidden ones and an unpacker's are no classes."""
    entries = os.scandir(folder)
    return sorted(each.name for each in entries if each.is_dir() and not _is_passed_over(each.name))


def find_parts(folder: Path) -> list[Path]:
    """Its folders for training and for the test; [] where it holds no such two."""
    names = {name.lower(): name for name in reversed(scan_class_names(folder))}
    found = [[folder / names[part] for part in known if part in names] for known in (TRAIN, TEST)]
    return [first for first, *_ in found] if all(found) else []


def check_layout(folder: Path, *, is_parts: bool) -> None:
    """Refuses what must be two parts, or has names of parts only, and is no two parts."""
    names = scan_class_names(folder)
    looks_so = bool(names) and all(name.lower() in TRAIN + TEST for name in names)
    if (is_parts or looks_so) and not find_parts(folder):
        got = f"data_path: got {folder} with {', '.join(names) or 'no folder'}"
        classes = "" if is_parts else "classes, or "
        raise ConfigError(f"{got}; must be {classes}train/ beside one of {'/, '.join(TEST)}/")


def scan_parts(folder: Path) -> list[ImageFolder]:
    """The two parts, or the folder as it is."""
    return [scan_folder(part) for part in find_parts(folder) or [folder]]


def scan_folder(folder: Path) -> ImageFolder:
    """Lists ``folder/<class>/**/<file>`` in sorted order, so that every machine agrees on it.

    A link that leaves the folder, or leads to a folder below a class, is refused: who packs an
    archive must not choose what else of the machine is read, nor send a scan in circles."""
    found = ImageFolder(folder, scan_class_names(folder))
    root = os.path.realpath(folder)
    for label, class_name in enumerate(found.class_names):
        if _is_inside(path := str(folder / class_name), root):
            found.stamps += sorted(_scan(path, class_name, root, found))
            found.labels += [label] * (len(found.stamps) - len(found.labels))
        else:
            found.refused.append(f"{path}: a link out of {folder}")
    return found


def _scan(folder: str, below_root: str, root: str, found: ImageFolder) -> Iterator[Stamp]:
    """Every file below a class's folder, by its path from the root."""
    for entry in os.scandir(folder):
        path = f"{below_root}{os.sep}{entry.name}"
        if _is_passed_over(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _scan(entry.path, path, root, found)
        elif not entry.is_file() or (entry.is_symlink() and not _is_inside(entry.path, root)):
            found.refused.append(f"{entry.path}: neither a file nor a link to one in {root}")
        else:
            size = entry.stat().st_size
            yield path, size, entry.stat().st_mtime_ns, checksum_of(entry.path, size)


def checksum_of(path: str | Path, size: int, pieces: int = PIECES) -> int:
    """Of pieces spread over the file; 0 where it cannot be read, which its decoding will tell."""
    checksum = 0
    with contextlib.suppress(OSError), open(path, "rb", buffering=0) as file:
        for place in range(0, size, max(PIECE, size // max(pieces, 1))):
            file.seek(place)
            checksum = zlib.crc32(file.read(PIECE), checksum)
    return checksum


def _is_passed_over(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_inside(path: str, root: str) -> bool:
    """Whether the path, all links followed, is below ``root``."""
    return os.path.realpath(path).startswith(root.rstrip(os.sep) + os.sep)


def decode_folder(found: ImageFolder, side: int) -> Split:
    """The images brought to ``side`` pixels; bad files are named, a class of such alone refused."""
    paths = [f"{found.folder}{os.sep}{name}" for name, *_ in found.stamps]
    images = np.empty((len(paths), side, side, 3), dtype=np.uint8)
    labels: list[int] = []
    problems = list(found.refused)
    for path, label, image in zip(paths, found.labels, _decode_all(paths, side), strict=True):
        if isinstance(image, str):
            problems.append(f"{path}: {image}")
        else:
            images[len(labels)] = image
            labels.append(label)
    if problems:
        print(f"note: {len(problems)} files are no usable images:")
        print(*(f"  {printable(line)}" for line in problems[:MOST_NAMED]), sep="\n")
    if missing := set(range(len(found.class_names))) - set(labels):
        name = found.class_names[min(missing)]
        raise ConfigError(f"data_path: got {found.folder / name}, which holds no usable image")
    return Split(images[: len(labels)], np.array(labels, dtype=np.int64))


def _decode_all(paths: list[str], side: int) -> Iterator[Images | str]:
    """Each file's image, or why there is none, on all cores."""
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
    """RGB [side, side, 3]: upright, transparency on white, the middle of the longer side."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.mode[0] in DEEP:
                raise ValueError(f"deep grey image (mode {image.mode}), 8 bits are needed")
            upright = ImageOps.exif_transpose(image)
            if "A" in upright.getbands() or "transparency" in upright.info:
                white = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(white, upright.convert("RGBA"))
            colour = upright.convert("RGB")
        return np.asarray(ImageOps.fit(colour, (side, side), Image.Resampling.BILINEAR))
    except BROKEN as error:
        return f"{type(error).__name__}: {error}"


def _prepare_worker() -> None:
    """Ctrl-C, which reaches every process of the terminal, ends a worker without a word."""
    end_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    # what the decoder warns of names no file; the file is told of where it cannot be used
    warnings.simplefilter("ignore", UserWarning)
    # a picture of far more pixels than any camera's is no image to us, not just a warning
    warnings.simplefilter("error", Image.DecompressionBombWarning)
