"""The cache: built once, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from extra_utils.data_cache import Source, find_or_build, make_cache_root
from extra_utils.my_dataset import Dataset, open_dataset, save_dataset
from tests.helpers import make_dataset


class Builder:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Dataset:
        self.calls += 1
        return make_dataset()

    def source(self, **made_from: int) -> Source:
        return Source(made_from, self)


def test_equal_sources_are_built_once_and_others_beside_them(tmp_path: Path) -> None:
    builder = Builder()
    first = find_or_build(tmp_path, builder.source(seed=0))
    assert find_or_build(tmp_path, builder.source(seed=0)) == first
    assert find_or_build(tmp_path, builder.source(seed=1)) != first
    assert builder.calls == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_a_cache_that_is_not_whole_is_built_again(tmp_path: Path) -> None:
    builder = Builder()
    folder = find_or_build(tmp_path, builder.source())
    (folder / "train_images.npy").write_bytes(b"")
    assert find_or_build(tmp_path, builder.source()) == folder
    assert builder.calls == 2
    assert len(open_dataset(folder).train) == 60


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> Dataset:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        find_or_build(tmp_path, Source({}, fail))
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_faster_keeps_its_own(tmp_path: Path) -> None:
    source = Builder().source()
    theirs = find_or_build(tmp_path, source)
    theirs = theirs.rename(tmp_path / "away")

    def slower() -> Dataset:
        theirs.rename(tmp_path / expected.name)
        return make_dataset(num_train=10)

    expected = Path(theirs.parent, find_name(tmp_path, source))
    folder = find_or_build(tmp_path, Source(source.made_from, slower))
    assert len(open_dataset(folder).train) == 60
    assert [p.name for p in tmp_path.iterdir()] == [folder.name]


def find_name(tmp_path: Path, source: Source) -> str:
    other = tmp_path / "elsewhere"
    other.mkdir()
    name = find_or_build(other, source).name
    for path in sorted(other.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    other.rmdir()
    return name


def test_the_cache_lies_beside_the_data(tmp_path: Path) -> None:
    root = make_cache_root(tmp_path / "new")
    assert root == tmp_path / "new" / ".fl-cache"
    assert root.is_dir()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / ".fl-cache").mkdir(mode=0o500)
    with pytest.raises(OSError, match="not writable"):
        make_cache_root(tmp_path)


def test_a_file_in_place_of_the_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(OSError, match="data"):
        make_cache_root(tmp_path / "data")


def test_saving_writes_the_description_last(tmp_path: Path) -> None:
    save_dataset(tmp_path, make_dataset())
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert max(times, key=lambda name: times[name]) == "info.json"
    assert np.load(tmp_path / "train_labels.npy").dtype == np.int64
