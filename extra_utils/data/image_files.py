"""The files of a folder of images, decoded with all cores."""

import os
import signal
import struct
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from extra_utils.basics.errors import ConfigError, RunFailed, printable
from extra_utils.basics.files import SHARED_MEMORY, naming
from extra_utils.data.folders import ImageFolder
from extra_utils.my_dataset import Images, Split
from extra_utils.processes.machine import available_cores, end_with_parent, process_context

CHUNK = 50  # files decoded by one task
MOST_PROBLEMS = 10  # unusable files that are named; the others are counted
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # none that starts a program
DEEP = "IF"  # begin the names of the modes of whole numbers and floats of 16 and 32 bits
# what broken files get out of the decoder: tests/extra_utils/data/fuzz_images.py looks for others
BROKEN: tuple[type[Exception], ...] = (ArithmeticError, AttributeError, EOFError, LookupError)
BROKEN += (MemoryError, OSError, SyntaxError, TypeError, ValueError, struct.error)
BROKEN += (Image.DecompressionBombError, Image.DecompressionBombWarning)

Decoded = tuple[Images | None, str]  # why there is none, or a remark on the image


def decode_folder(found: ImageFolder, side: int) -> Split:
    """The images brought to ``side`` pixels; files that are no images are counted and named.

    Raises ConfigError where a class has no usable image.
    """
    paths = [f"{found.folder}{os.sep}{name}" for name, *_ in found.stamps]
    images = np.empty((len(paths), side, side, 3), dtype=np.uint8)
    labels: list[int] = []
    problems, remarks = list(found.refused), Counter[str]()
    for path, label, decoded in zip(paths, found.labels, _decode_all(paths, side), strict=True):
        image, remark = decoded
        if image is None:
            problems.append(f"{path}: {remark}")
            continue
        images[len(labels)] = image
        labels.append(label)
        remarks.update([remark] if remark else [])
    for remark, number in remarks.items():
        print(f"note: {number} {remark}")
    if problems:
        print(f"note: {len(problems)} files are no usable images:")
        print(*(f"  {printable(line)}" for line in problems[:MOST_PROBLEMS]), sep="\n")
    if len(problems) > MOST_PROBLEMS:
        print(f"  and {len(problems) - MOST_PROBLEMS} more")
    if missing := set(range(len(found.class_names))) - set(labels):
        name = found.class_names[min(missing)]
        raise ConfigError(f"data_path: got {found.folder / name}, which holds no usable image")
    return Split(images[: len(labels)], np.array(labels, dtype=np.int64))


def _decode_all(paths: list[str], side: int) -> Iterator[Decoded]:
    """Each file's image, on all cores."""
    with naming(SHARED_MEMORY):
        executor = ProcessPoolExecutor(available_cores(), process_context(), _prepare_worker)
    try:
        results = executor.map(partial(_decode, side=side), paths, chunksize=CHUNK)
        yield from tqdm(results, "decoding", len(paths), unit="image", disable=None)
    except BrokenProcessPool:
        where = os.path.commonpath(paths)
        raise RunFailed(f"{where}: a process that decoded its images was killed") from None
    finally:
        executor.shutdown(cancel_futures=True)  # Ctrl-C does not wait for all the others


def _decode(path: str, side: int) -> Decoded:
    """RGB [side, side, 3]: upright, transparency on white, the middle of the longer side."""
    remark = ""
    try:
        with Image.open(path, formats=FORMATS) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode[0] in DEEP:
                upright, remark = _in_8_bits(upright)
            if "A" in upright.getbands() or "transparency" in upright.info:
                upright = upright.convert("RGBA")
                white = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(white, upright)
            colour = upright.convert("RGB")
        fitted = ImageOps.fit(colour, (side, side), Image.Resampling.BILINEAR)
        return np.asarray(fitted), remark
    except BROKEN as error:
        return None, f"{type(error).__name__}: {error}"


def _in_8_bits(deep: Image.Image) -> tuple[Image.Image, str]:
    """A grey image of more bits, and what to say of it; a float's range is told by its values."""
    values = np.asarray(deep)
    low, high = values.min(), values.max()
    top = 65535 if deep.mode[0] == "I" else 1 if high <= 1 else 255
    if not 0 <= low <= high <= top:  # nor so where one is not a number
        raise ValueError(f"its values, from {low} to {high}, are not in 0..{top}")
    scaled = np.rint(np.multiply(values, 255 / top, dtype=np.float32)).astype(np.uint8)
    return Image.fromarray(scaled), f"deep grey images are scaled from 0..{top} to 8 bits"


def _prepare_worker() -> None:
    """Ctrl-C, which reaches every process of the terminal, ends a worker without a word."""
    end_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    refuse_bombs()


def refuse_bombs() -> None:
    """A picture of far more pixels than any camera's is no image to us, not just a warning.

    What else the decoder warns of names no file; the file is told of where it cannot be used.
    """
    warnings.simplefilter("ignore", UserWarning)
    warnings.simplefilter("error", Image.DecompressionBombWarning)
