"""Broken image files of every format that is read, and what decoding them raises.

    python -m tests.extra_utils.data.fuzz_images 20000 [SEED]

Prints how often each exception comes out of the decoder; with the one that the program names,
only what it would not have caught.
"""

from __future__ import annotations

import io
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw

from extra_utils.data import image_folders

SIDE = 12


def picture(mode: str) -> Image.Image:
    generator = np.random.default_rng(0)
    image = Image.fromarray(generator.integers(256, size=(SIDE, SIDE, 3), dtype=np.uint8))
    ImageDraw.Draw(image).rectangle((2, 2, 8, 8), "red")
    return image.convert("L").convert(mode) if mode[0] in "IF" else image.convert(mode)


def exif() -> Image.Exif:
    """Turned, with text where a number belongs, nested parts, a fraction and a comment."""
    made = Image.Exif()
    made[0x0112], made[0x010E], made[0x011A] = 6, "a description", 72.0
    made.get_ifd(0x8769).update({0x9003: "2024:01:01 00:00:00", 0xA002: 12, 0x829A: 0.01})
    made.get_ifd(0x8825).update({1: "N", 2: (1.0, 2.0, 3.0)})
    return made


def encoded(mode: str, kind: str, **how: object) -> bytes:
    buffer = io.BytesIO()
    picture(mode).save(buffer, kind, **how)
    return buffer.getvalue()


def seeds() -> list[bytes]:
    """Small whole files of the seven formats in the modes and packings that people have."""
    turned, more = exif().tobytes(), [picture("RGB").rotate(90)]
    plain = [(m, k) for k in ("PNG", "TIFF", "GIF", "BMP", "PPM") for m in ("1", "L", "RGB")]
    plain += [("P", "PNG"), ("LA", "PNG"), ("RGBA", "PNG"), ("I;16", "PNG"), ("CMYK", "TIFF")]
    plain += [("I;16", "TIFF"), ("F", "TIFF"), ("I", "TIFF"), ("I;16", "PPM"), ("F", "PPM")]
    plain += [("L", "JPEG"), ("CMYK", "JPEG"), ("RGBA", "WEBP"), ("P", "BMP"), ("RGBA", "TIFF")]
    files = [encoded(mode, kind) for mode, kind in plain]
    files += [encoded("RGB", kind, exif=turned) for kind in ("JPEG", "PNG", "WEBP", "TIFF")]
    for compression in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        files.append(encoded("RGB", "TIFF", compression=compression))
    files.append(encoded("RGB", "JPEG", progressive=True, exif=turned, icc_profile=b"none"))
    files.append(encoded("P", "PNG", transparency=0, exif=turned))
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        files.append(encoded("RGB", kind, save_all=True, append_images=more))
    files += [b"P3 2 1 255 1 2 3 4 5 6\n", b"P1 4 1 1 0 1 0\n", b"P2 # grey\n2 1 9 1 9\n"]
    return files


def mutant(content: bytes, generator: np.random.Generator) -> bytes:
    """Some bytes changed, most of them near the start, or a part cut out, doubled or cut off."""
    made = bytearray(content)
    for _ in range(int(generator.integers(1, 6))):
        near = generator.random() < 0.5
        place = int(generator.integers(min(len(made), 200) if near else len(made)))
        length = int(generator.integers(1, 9))
        kind = int(generator.integers(6))
        if kind == 0:
            made[place] = int(generator.integers(256))
        elif kind == 1:
            made[place] ^= 1 << int(generator.integers(8))
        elif kind == 2:
            made[place : place + length] = generator.choice([b"\0", b"\xff", b"\x7f"]) * length
        elif kind == 3:
            made[place:place] = made[place : place + length]
        elif kind == 4:
            del made[place : place + length]
        elif place > 8:
            del made[place:]
        made = made or bytearray(b"\0")
    if generator.random() < 0.5:
        change_tags(made, generator)
    return bytes(made)


def change_tags(made: bytearray, generator: np.random.Generator) -> None:
    """Some entries of a TIFF file or of an EXIF part get another tag, type, count or value.

    An entry has 12 bytes: tag (2), type (2), count (4), value or its place (4).
    """
    start = max(made.find(order) for order in (b"MM\0*", b"II*\0"))
    if start < 0:
        return
    big = made[start] == ord("M")
    directory = start + int.from_bytes(made[start + 4 : start + 8], "big" if big else "little")
    for _ in range(int(generator.integers(1, 4))):
        entry = directory + 2 + 12 * int(generator.integers(12))
        place, number = [
            (0, int(generator.choice([0x100, 0x101, 0x102, 0x103, 0x111, 0x112, 0x115, 0x8769]))),
            (2, int(generator.integers(1, 14))),
            (6 if big else 4, int(generator.integers(9))),
            (8, int(generator.integers(2**16))),
        ][int(generator.integers(4))]
        if entry + 12 <= len(made):
            made[entry + place : entry + place + 2] = number.to_bytes(2, "big" if big else "little")


def mutants(number: int, seed: int) -> Iterator[bytes]:
    generator, files = np.random.default_rng(seed), seeds()
    for place in range(number):
        yield mutant(files[place % len(files)], generator)


def main(number: int, seed: int) -> None:
    warnings.simplefilter("ignore", UserWarning)  # as every worker does
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    found: Counter[str] = Counter()
    for content in mutants(number, seed):
        try:
            image_folders._decode(io.BytesIO(content), side=8)  # type: ignore[arg-type]
        except Exception as error:  # to find them all is what this is for
            last = traceback.extract_tb(error.__traceback__)[-1]
            found[f"{type(error).__name__} {last.filename}:{last.lineno}: {error!s:.60}"] += 1
    for text, times in found.most_common():
        print(times, text)
    print(f"{sum(found.values())} of {number} mutants raised what is not named")


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    main(numbers[0] if numbers else 20_000, numbers[1] if numbers[1:] else 0)
