"""The cache: built once, whole or not at all."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from extra_utils.my_dataset import (
    Dataset,
    Identity,
    find_or_build,
    make_cache_root,
    save_dataset,
)
from tests.helpers import ROOT, make_dataset


class Builder:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Dataset:
        self.calls += 1
        return make_dataset()

    def source(self, **made_from: int) -> tuple[Identity, Callable[[], Dataset]]:
        return lambda: made_from, self


def test_equal_sources_are_built_once_and_others_beside_them(tmp_path: Path) -> None:
    builder = Builder()
    first = find_or_build(tmp_path, *builder.source(seed=0))
    assert find_or_build(tmp_path, *builder.source(seed=0)) == first
    assert find_or_build(tmp_path, *builder.source(seed=1)) != first
    assert builder.calls == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_build_fetches_is_part_of_the_key(tmp_path: Path) -> None:
    builder, files = Builder(), [0]

    def build() -> Dataset:
        files[0] = 1
        return builder()

    source = lambda: {"files": files[0]}, build
    folder = find_or_build(tmp_path, *source)
    assert find_or_build(tmp_path, *source) == folder
    assert builder.calls == 1
    assert list(tmp_path.iterdir()) == [folder]


def change_a_byte(folder: Path) -> None:
    content = bytearray((folder / "train_images.npy").read_bytes())
    content[-1] ^= 1
    (folder / "train_images.npy").write_bytes(content)


def cut_in_half(folder: Path) -> None:
    content = (folder / "test_labels.npy").read_bytes()
    (folder / "test_labels.npy").write_bytes(content[: len(content) // 2])


DAMAGE = {
    "a changed byte": (change_a_byte, "the checksum of train_images.npy does not fit"),
    "cut in half": (cut_in_half, "test_labels|cannot reshape|mmap|array"),
    "empty": (lambda f: (f / "train_images.npy").write_bytes(b""), "No data left"),
    "gone": (lambda f: (f / "train_images.npy").unlink(), "No such file"),
    "no description": (lambda f: (f / "info.json").write_text("{}"), "checksums"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_cache_is_said_and_made_again(
    damage: Callable[[Path], object], message: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    builder = Builder()
    folder = find_or_build(tmp_path, *builder.source())
    damage(folder)
    assert find_or_build(tmp_path, *builder.source()) == folder
    err = capsys.readouterr().err
    note = f"note: {folder} is damaged and is made again: "
    assert re.fullmatch(f"{re.escape(note)}[^\n]*({message})[^\n]*\n", err)
    assert builder.calls == 2
    assert find_or_build(tmp_path, *builder.source()) == folder
    assert builder.calls == 2


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> Dataset:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        find_or_build(tmp_path, dict, fail)
    assert list(tmp_path.iterdir()) == []


SLOW_BUILD = """
import sys, time
from pathlib import Path
from extra_utils.my_dataset import find_or_build
from tests.helpers import ROOT, make_dataset

def build():
    print("building", flush=True)
    time.sleep(float(sys.argv[2]))
    return make_dataset()

print(find_or_build(Path(sys.argv[1]), dict, build), flush=True)
"""


def start_build(root: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SLOW_BUILD, str(root), str(seconds)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=pipe, stderr=pipe)


def test_of_two_runs_at_once_the_second_waits_and_builds_nothing(tmp_path: Path) -> None:
    first = start_build(tmp_path, 3)
    assert first.stdout is not None
    assert first.stdout.readline() == "building\n"
    second = start_build(tmp_path, 0)
    (out, err), (folder, _) = second.communicate(timeout=30), first.communicate(timeout=30)
    assert (first.returncode, second.returncode) == (0, 0)
    assert err == f"note: waiting for another run that fills the cache {tmp_path}\n"
    assert out == folder
    assert [str(path) for path in tmp_path.iterdir()] == [folder.strip()]


def test_what_a_killed_build_left_is_removed(tmp_path: Path) -> None:
    process = start_build(tmp_path, 60)
    assert process.stdout is not None
    assert process.stdout.readline() == "building\n"
    process.kill()
    process.communicate()
    assert [path.name[:10] for path in tmp_path.iterdir()] == [".building-"]
    folder = find_or_build(tmp_path, *Builder().source())
    assert list(tmp_path.iterdir()) == [folder]


def test_the_cache_lies_beside_the_data(tmp_path: Path) -> None:
    root = make_cache_root(tmp_path / "new")
    assert root == tmp_path / "new" / ".fl-cache"
    assert root.is_dir()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".fl-cache").mkdir(mode=0o500)
    root = make_cache_root(tmp_path)
    assert root.parent.name.startswith("fl-cache-")
    note = f"note: {tmp_path}/.fl-cache is not writable; the cache is in {root}"
    assert note in capsys.readouterr().err


def test_a_file_in_place_of_the_folder_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").touch()
    root = make_cache_root(tmp_path / "data")
    assert root.parent.name.startswith("fl-cache-")
    assert re.search(rf"note: .*data.*; the cache is in {root}", capsys.readouterr().err)


def test_saving_writes_the_description_last(tmp_path: Path) -> None:
    save_dataset(tmp_path, make_dataset())
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert max(times, key=lambda name: times[name]) == "info.json"
    assert np.load(tmp_path / "train_labels.npy").dtype == np.int64
