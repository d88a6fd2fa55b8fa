"""A function in a child process."""

from __future__ import annotations

import os

import pytest

from extra_utils.processes.child import Unavailable, in_child


def test_a_childs_answer_comes_back() -> None:
    assert in_child(divmod, 17, 5) == (3, 2)


def test_a_childs_reason_comes_back_in_one_line() -> None:
    with pytest.raises(Unavailable, match=r"^could not convert string to float: 'a b'$"):
        in_child(float, "a b")


def test_a_child_that_dies_is_said() -> None:
    with pytest.raises(Unavailable, match="the process that reads it died"):
        in_child(os._exit, 3)
