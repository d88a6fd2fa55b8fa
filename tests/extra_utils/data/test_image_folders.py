"""Folders of photographs as people have them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from extra_utils.basics.errors import ConfigError
from extra_utils.data import image_folders
from extra_utils.data.sources import prepare_data
from extra_utils.my_dataset import Dataset, open_dataset
from tests.helpers import ROOT, make_config

CONFIG = make_config(type="folder", image_size=16)
RED = (255, 0, 0)


def make_photo(path: Path, color: tuple[int, ...] = RED, size: tuple[int, int] = (32, 32)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


def make_folder(root: Path, number: int = 10) -> Path:
    """Two classes of so many photographs each: 玫瑰 花 in red, "b c" in green."""
    for place in range(number):
        make_photo(root / "玫瑰 花" / f"照片 {place}.png")
        make_photo(root / "b c" / f"photo {place}.png", (0, 255, 0))
    return root


def load(root: Path, **keys: object) -> Dataset:
    config = replace(CONFIG, data_path=str(root), **keys)  # type: ignore[arg-type]
    return open_dataset(prepare_data(config)[0])


def all_images(dataset: Dataset) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    return [*dataset.train.images, *dataset.test.images]


def test_one_folder_is_split_by_the_articles_rate_within_each_class(tmp_path: Path) -> None:
    dataset = load(make_folder(tmp_path))
    assert dataset.info.class_names == ["b c", "玫瑰 花"]
    assert np.bincount(dataset.train.labels).tolist() == [8, 8]
    assert np.bincount(dataset.test.labels).tolist() == [2, 2]
    for image, label in zip(dataset.train.images, dataset.train.labels, strict=True):
        assert (image == ([0, 255, 0], RED)[label]).all()


def test_the_split_is_the_seeds(tmp_path: Path) -> None:
    for number in range(20):
        for name in ("a", "b"):
            make_photo(tmp_path / name / f"{number}.png", (number, 0, 0))
    first, again, other = (load(tmp_path, seed=seed).test.images for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_train_and_test_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    make_folder(tmp_path / "train", 3)
    make_folder(tmp_path / "test", 1)
    dataset = load(tmp_path)
    assert (len(dataset.train), len(dataset.test)) == (6, 2)


PARTS = [("train", "val"), ("Train", "VALIDATION"), ("training", "Testing"), ("TRAIN", "Valid")]


@pytest.mark.parametrize(("train", "test"), PARTS)
def test_the_test_part_has_the_names_that_people_give_it(
    train: str, test: str, tmp_path: Path
) -> None:
    make_folder(tmp_path / train, 3)
    make_folder(tmp_path / test, 1)
    dataset = load(tmp_path)
    assert dataset.info.class_names == ["b c", "玫瑰 花"]
    assert (len(dataset.train), len(dataset.test)) == (6, 2)


def test_of_two_test_parts_test_is_taken_and_the_other_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, number in (("train", 3), ("val", 2), ("test", 1), ("unlabelled", 1)):
        make_folder(tmp_path / name, number)
    dataset = load(tmp_path)
    assert (len(dataset.train), len(dataset.test)) == (6, 2)
    note = f"note: 2 folders are not used: {tmp_path}/unlabelled, {tmp_path}/val\n"
    assert note in capsys.readouterr().out


@pytest.mark.parametrize("names", [["train"], ["val", "Test"], ["Train", "TRAINING"]])
def test_a_folder_of_parts_that_do_not_fit_together_is_refused(
    names: list[str], tmp_path: Path
) -> None:
    for name in names:
        make_folder(tmp_path / name, 3)
    right = "must be classes, or train/ beside one of test/, testing/, val/, valid/, validation/"
    with pytest.raises(
        ConfigError, match=re.escape(f"{tmp_path} with {', '.join(sorted(names))}; {right}")
    ):
        load(tmp_path)


def test_a_class_may_have_the_name_of_a_part(tmp_path: Path) -> None:
    for name in ("valid", "invalid", "train"):
        make_photo(tmp_path / name / "x.png")
        make_photo(tmp_path / name / "y.png")
    make_folder(tmp_path, 2)
    (tmp_path / "train").rename(tmp_path / "bus")
    assert load(tmp_path).info.class_names == ["b c", "bus", "invalid", "valid", "玫瑰 花"]


def add_grey(folder: Path) -> None:
    Image.new("L", (20, 20), 100).save(folder / "x.png")


def add_clear(folder: Path) -> None:
    Image.new("RGBA", (20, 20), (0, 0, 255, 0)).save(folder / "x.png")


def add_palette(folder: Path) -> None:
    Image.new("RGB", (20, 20), (0, 0, 255)).quantize(4).save(folder / "x.png")


def add_clear_palette(folder: Path) -> None:
    image = Image.new("P", (20, 20), 0)
    image.putpalette([0, 0, 255])
    image.save(folder / "x.png", transparency=0)


def add_cmyk(folder: Path) -> None:
    Image.new("CMYK", (20, 20), (0, 0, 0, 255)).save(folder / "x.jpg")


def add_wide(folder: Path) -> None:
    """Blue with green ends, which are cut off."""
    image = Image.new("RGB", (60, 20), (0, 255, 0))
    image.paste((0, 0, 255), (15, 0, 45, 20))
    image.save(folder / "x.png")


def add_nested(folder: Path) -> None:
    make_photo(folder / "deep" / "er" / "x.png", (0, 0, 255))


KINDS = {
    "grey": (add_grey, (100, 100, 100)),
    "transparent is on white": (add_clear, (255, 255, 255)),
    "palette": (add_palette, (0, 0, 255)),
    "transparent palette": (add_clear_palette, (255, 255, 255)),
    "cmyk black": (add_cmyk, (0, 0, 0)),
    "the middle of a wide one": (add_wide, (0, 0, 255)),
    "nested": (add_nested, (0, 0, 255)),
}


@pytest.mark.parametrize(("add", "color"), KINDS.values(), ids=KINDS)
def test_each_kind_of_image_is_read(add: object, color: tuple[int, ...], tmp_path: Path) -> None:
    make_folder(tmp_path)
    assert callable(add)
    add(tmp_path / "b c")
    found = [i for i in all_images(load(tmp_path)) if np.abs(i.astype(int) - color).max() <= 4]
    assert len(found) == 1


DEEP = {
    "16 bit PNG": (np.uint16, "png", "I;16"),
    "16 bit TIFF": (np.uint16, "tif", "I;16"),
    "16 bit PGM": (np.uint16, "pgm", "I"),
    "32 bit TIFF": (np.int32, "tif", "I"),
    "float": (np.float32, "tif", "F"),
}


@pytest.mark.parametrize(("kind", "ending", "mode"), DEEP.values(), ids=DEEP)
def test_a_deep_grey_image_is_left_out_and_named(
    kind: type, ending: str, mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder(tmp_path)
    Image.fromarray(np.full((32, 32), 100, dtype=kind)).save(tmp_path / "b c" / f"x.{ending}")
    assert len(all_images(load(tmp_path))) == 20
    reason = f"x.{ending}: ValueError: deep grey image (mode {mode}), 8 bits are needed\n"
    assert reason in capsys.readouterr().out


def test_a_rotated_photograph_is_turned_upright(tmp_path: Path) -> None:
    make_folder(tmp_path)
    image = Image.new("RGB", (32, 32), (0, 0, 255))
    image.paste((255, 255, 255), (0, 0, 32, 16))  # white above blue
    exif = Image.Exif()
    exif[0x0112] = 3  # the camera was upside down
    image.save(tmp_path / "b c" / "x.jpg", exif=exif, quality=100)
    (found,) = [i for i in all_images(load(tmp_path)) if i[12, 8, 0] > 200 and i[3, 8, 2] > 200
                and i[3, 8, 0] < 50]  # fmt: skip
    assert found[:7, :, 0].max() < 60  # blue above


def add_truncated(folder: Path) -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(256, size=(64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "bad.jpg")
    content = (folder / "bad.jpg").read_bytes()
    (folder / "bad.jpg").write_bytes(content[: len(content) // 2])


def add_link_out(folder: Path) -> None:
    outside = folder.parent.parent / "secret.png"
    make_photo(outside)
    (folder / "bad.png").symlink_to(outside)


def add_link_to_a_folder_outside(folder: Path) -> None:
    (folder.parent.parent / "secret").mkdir()
    make_photo(folder.parent.parent / "secret" / "x.png")
    (folder / "bad.d").symlink_to(folder.parent.parent / "secret")


def add_bomb(folder: Path) -> None:
    """A PNG of a few hundred kilobytes that would unpack to 100 megapixels."""
    Image.new("1", (10_000, 10_000)).save(folder / "bad.png", optimize=True)


def add_program(folder: Path) -> None:
    """PostScript, which an interpreter would have to run."""
    (folder / "bad.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")


BAD = {
    "truncated": add_truncated,
    "zero bytes": lambda folder: (folder / "bad.png").touch(),
    "text": lambda folder: (folder / "bad.txt").write_text("no image"),
    "text with an image's name": lambda folder: (folder / "bad.png").write_text("no image"),
    "a link out of the folder": add_link_out,
    "a link to a folder outside": add_link_to_a_folder_outside,
    "a link in a circle": lambda folder: (folder / "bad.d").symlink_to(folder),
    "a pipe": lambda folder: os.mkfifo(folder / "bad.png"),
    "a bomb": add_bomb,
    "a program": add_program,
    "dangling link": lambda folder: (folder / "bad.png").symlink_to("nowhere.png"),
}


@pytest.mark.parametrize("add", BAD.values(), ids=BAD)
def test_a_file_that_is_no_image_is_counted_and_named(
    add: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(tmp_path / "photos")
    assert callable(add)
    add(root / "玫瑰 花")
    assert len(all_images(load(root))) == 20
    out = capsys.readouterr().out
    assert "note: 1 files are no usable images:" in out
    assert f"{root / '玫瑰 花' / 'bad.'}" in out


def test_a_photograph_whose_exif_holds_text_in_place_of_a_number_is_counted_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(tmp_path)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "text"
    content = exif.tobytes().replace(b"\x01\x0e\0\x02", b"\x01\0\0\x02")  # to ImageWidth
    Image.new("RGB", (32, 32)).save(root / "b c" / "bad.jpg", exif=content)
    assert len(all_images(load(root))) == 20
    out = capsys.readouterr().out
    assert "note: 1 files are no usable images:" in out
    assert "bad.jpg: error: required argument is not an integer" in out


@pytest.mark.parametrize("error", [MemoryError, EOFError, IndexError, ZeroDivisionError])
def test_a_file_that_asks_for_too_much_is_left_out(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error("too much")

    monkeypatch.setattr(Image, "open", fail)
    assert image_folders._decode("a.png", side=8) == f"{error.__name__}: too much"


@pytest.mark.parametrize("number", [500, pytest.param(20_000, marks=pytest.mark.slow)])
def test_whatever_is_in_a_file_the_decoder_says_why_it_is_no_image(number: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.extra_utils.data.fuzz_images", str(number)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == f"0 of {number} mutants raised what is not named\n"
    assert done.returncode == 0


def test_a_link_to_another_image_of_the_folder_is_an_image(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    (root / "玫瑰 花" / "again.png").symlink_to(next((root / "b c").iterdir()))
    assert len(all_images(load(root))) == 21


@pytest.mark.parametrize("place", ["secret", "photos-of-others"])
def test_a_class_that_is_a_link_out_of_the_folder_is_refused(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also to a neighbour whose name begins as the folder's."""
    root = make_folder(tmp_path / "photos")
    (tmp_path / place).mkdir()
    make_photo(tmp_path / place / "x.png")
    (root / "z").symlink_to(tmp_path / place)
    with pytest.raises(ConfigError, match="photos/z, which holds no usable image"):
        load(root)
    assert f"{root / 'z'}: a link out of {root}" in capsys.readouterr().out


def test_a_name_cannot_move_the_cursor_of_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(tmp_path)
    (root / "b c" / "\x1b[2Jbad\n.png").touch()
    load(root)
    assert "\\x1b[2Jbad\\n.png" in capsys.readouterr().out


def test_many_bad_files_are_counted_and_ten_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder(tmp_path)
    for number in range(15):
        (tmp_path / "b c" / f"{number}.txt").touch()
    load(tmp_path)
    out = capsys.readouterr().out
    assert "note: 15 files are no usable images:" in out
    assert out.count("UnidentifiedImageError") == 10


def test_hidden_folders_and_files_are_no_classes_and_no_images(tmp_path: Path) -> None:
    make_folder(tmp_path)
    for name in ("__MACOSX", ".git", "b c/.thumbs", "b c/deep/__MACOSX"):
        make_photo(tmp_path / name / "x.png")
    (tmp_path / "b c" / ".DS_Store").touch()
    dataset = load(tmp_path)
    assert dataset.info.class_names == ["b c", "玫瑰 花"]
    assert len(all_images(dataset)) == 20


def test_one_class_none_and_no_folder_are_errors(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(ConfigError, match="with 0 sub-folders, must have one for each of at least"):
        load(tmp_path / "photos")
    make_photo(tmp_path / "photos" / "only" / "x.png")
    with pytest.raises(ConfigError, match="with 1 sub-folders"):
        load(tmp_path / "photos")
    with pytest.raises(ConfigError, match=r"must be a folder .*flower_photos\.tgz"):
        load(tmp_path / "none", type="flower")
    assert not (tmp_path / "none").exists()


def test_a_class_without_a_usable_image_is_an_error(tmp_path: Path) -> None:
    make_folder(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty, which holds no usable image"):
        load(tmp_path)


def test_a_class_of_one_image_keeps_it_for_training(tmp_path: Path) -> None:
    make_folder(tmp_path)
    make_photo(tmp_path / "single" / "x.png")
    dataset = load(tmp_path)
    assert np.bincount(dataset.train.labels).tolist() == [8, 1, 8]
    assert 1 not in dataset.test.labels
