"""The list of wrong programs is of this program."""

from __future__ import annotations

import pytest

from tests.helpers import ROOT
from tests.wiring import ERRORS, WiringError


@pytest.mark.parametrize("error", ERRORS, ids=map(str, range(len(ERRORS))))
def test_what_is_to_be_changed_stands_once(error: WiringError) -> None:
    assert (ROOT / error.path).read_text(encoding="utf-8").count(error.right) == 1
    assert error.right != error.wrong
    names = [name for name in error.tests.split() if name.endswith(".py")]
    assert names
    assert all((ROOT / "tests" / name).is_file() for name in names)
