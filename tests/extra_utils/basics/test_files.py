"""Files are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from extra_utils.basics.files import (
    remove_partial_files,
    temporary_folder,
    used_alone,
    write_whole,
    written_beside,
)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_file_is_on_disk_before_it_takes_its_place_and_its_place_before_we_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    replace, fsync = Path.replace, os.fsync

    def look_at_fsync(handle: int) -> None:
        place = Path(f"/proc/self/fd/{handle}").resolve()
        content = place.read_bytes().decode() if place.is_file() else "its folder"
        done.append(f"fsync of {content}")
        fsync(handle)

    def look_at_replace(self: Path, target: Path) -> Path:
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", look_at_fsync)
    monkeypatch.setattr(Path, "replace", look_at_replace)
    with written_beside(tmp_path / "f", b"the ", b"whole"):
        done.append("block")
    assert done == ["fsync of the whole", "block", "rename", "fsync of its folder"]


def test_left_over_temporary_folders_go_and_those_in_use_and_of_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("fl-left-over", "fl-in-use", "fl-of-another", "more"):
        (tmp_path / name).mkdir()
        (tmp_path / name / (".owned" if name != "fl-of-another" else "file")).touch()
    with used_alone(tmp_path / "fl-in-use"), temporary_folder("fl-") as new:
        assert new.parent == tmp_path
        assert new.stat().st_mode & 0o777 == 0o700
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {"fl-in-use", "fl-of-another", "more", new.name}
    assert not new.exists()


def test_partial_files_are_removed_and_others_kept(tmp_path: Path) -> None:
    (tmp_path / ".model.pth.123.partial").touch()
    (tmp_path / "mine.partial").touch()
    remove_partial_files(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.partial"]
