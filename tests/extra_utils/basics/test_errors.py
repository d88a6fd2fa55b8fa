"""What a user is told is kept for the run that it is of."""

from __future__ import annotations

import pytest

from extra_utils.basics.errors import take_told, tell


def test_what_was_told_is_kept_once_as_it_was_said(capsys: pytest.CaptureFixture[str]) -> None:
    take_told()
    tell(["two\nlines"], iter(["of \udce9"]))
    tell([], ["more"])
    said = capsys.readouterr()
    assert said.out == "note: two\\nlines\n"
    assert said.err == "warning: of \\udce9\nwarning: more\n"
    assert take_told() == ["note: two\\nlines", "warning: of \\udce9", "warning: more"]
    assert take_told() == []
