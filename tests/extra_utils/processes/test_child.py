"""A function in a child process."""

from __future__ import annotations

import os
from multiprocessing import Pipe
from pathlib import Path
from threading import Timer

import pytest

from extra_utils.processes import child
from extra_utils.processes.child import Unavailable, in_child


def test_a_childs_answer_comes_back() -> None:
    assert in_child(divmod, 17, 5) == (3, 2)


def test_a_childs_reason_comes_back_in_one_line() -> None:
    with pytest.raises(Unavailable, match=r"^could not convert string to float: 'a b'$"):
        in_child(float, "a b")


def test_a_child_that_dies_is_said() -> None:
    with pytest.raises(Unavailable, match="the process that reads it died"):
        in_child(os._exit, 3)


def test_a_file_that_goes_while_it_is_counted_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a download's partial file does, when it gets its name."""
    (tmp_path / "part").write_bytes(b"x")

    def vanish(path: Path) -> bool:
        path.unlink(missing_ok=True)
        return True

    monkeypatch.setattr(Path, "is_file", vanish)
    receiver, sender = Pipe(duplex=False)
    Timer(0.5, sender.send, args=["done"]).start()
    child._wait(receiver, tmp_path)
    assert not (tmp_path / "part").exists()
    assert receiver.recv() == "done"
