"""Folders of images, one sub-folder for each class, decoded with all cores."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from extra_utils.my_dataset import Images, Split
from extra_utils.process import available_cores, process_context

CHUNK = 500  # files decoded by one task


@dataclass
class ImageFolder:
    """The files of one split, by class in alphabetical order."""

    folder: Path
    class_names: list[str]
    labels: list[int] = field(default_factory=list)
    stamps: list[tuple[str, int, int]] = field(default_factory=list)  # name, bytes, time in ns

    def paths(self) -> list[str]:
        """Every file, in the order of ``labels``."""
        folders = [str(self.folder / name) for name in self.class_names]
        pairs = zip(self.labels, self.stamps, strict=True)
        return [f"{folders[label]}{os.sep}{stamp[0]}" for label, stamp in pairs]


def scan_class_names(folder: Path) -> list[str]:
    """The sub-folders in alphabetical order; hidden ones are no classes."""
    names = (entry.name for entry in os.scandir(folder) if entry.is_dir())
    return sorted(name for name in names if not name.startswith("."))


def scan_folder(folder: Path) -> ImageFolder:
    """Lists ``folder/<class>/**/<file>`` in sorted order, so that every machine agrees on it."""
    found = ImageFolder(folder, scan_class_names(folder))
    for label, class_name in enumerate(found.class_names):
        stamps = sorted(_scan(str(folder / class_name), ""))
        found.stamps += stamps
        found.labels += [label] * len(stamps)
    return found


def _scan(folder: str, prefix: str) -> Iterator[tuple[str, int, int]]:
    """Every file below a class's folder: its path from there, its bytes, its time in ns."""
    for entry in os.scandir(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _scan(entry.path, f"{prefix}{entry.name}{os.sep}")
        else:
            status = entry.stat(follow_symlinks=False)
            yield prefix + entry.name, status.st_size, status.st_mtime_ns


def decode_folder(found: ImageFolder, side: int) -> tuple[Split, list[str]]:
    """The images brought to ``side`` pixels, and a line for each file that is no image."""
    paths = found.paths()
    chunks = [paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK)]
    images = np.zeros((len(paths), side, side, 3), dtype=np.uint8)
    problems: dict[int, str] = {}
    executor = ProcessPoolExecutor(available_cores(), process_context(), _ignore_interrupt)
    with executor, tqdm(total=len(paths), desc="decoding", unit="image", disable=None) as bar:
        results = executor.map(_decode_chunk, chunks, [side] * len(chunks))
        for start, (block, failed) in zip(range(0, len(images), CHUNK), results, strict=True):
            images[start : start + len(block)] = block
            problems |= {start + place: reason for place, reason in failed.items()}
            bar.update(len(block))
    usable = np.array([i not in problems for i in range(len(images))], dtype=bool)
    labels = np.array(found.labels, dtype=np.int64)
    lines = [f"{paths[i]}: {reason}" for i, reason in problems.items()]
    return Split(images[usable], labels[usable]), lines


def _decode_chunk(paths: list[str], side: int) -> tuple[Images, dict[int, str]]:
    images = np.zeros((len(paths), side, side, 3), dtype=np.uint8)
    failed = {}
    for place, path in enumerate(paths):
        try:
            images[place] = _decode(path, side)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            failed[place] = f"{type(error).__name__}: {error}"
    return images, failed


def _decode(path: str, side: int) -> Images:
    """RGB [side, side, 3]: upright, transparency on white, the middle of the longer side."""
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
        if "A" in upright.getbands() or "transparency" in upright.info:
            upright = upright.convert("RGBA")
            white = Image.new("RGBA", upright.size, "white")
            upright = Image.alpha_composite(white, upright)
        colour = upright.convert("RGB")
    if colour.size != (side, side):
        colour = ImageOps.fit(colour, (side, side), Image.Resampling.BILINEAR)
    return np.asarray(colour)


def _ignore_interrupt() -> None:
    """Ctrl-C reaches every process of the terminal; the parent alone answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
