"""The README says what is true."""

from __future__ import annotations

import re
import subprocess

from tests.helpers import ROOT
from tests.readme import KEYS, README, key_tables, with_part

TEXT = README.read_text(encoding="utf-8")


def test_the_tables_of_keys_are_current() -> None:
    assert with_part(TEXT, KEYS, key_tables()) == TEXT, "run python -m tests.readme"


def test_the_two_commands_stand_on_the_first_screen() -> None:
    first_screen = "\n".join(TEXT.splitlines()[:40])
    assert (
        "pip install -r requirements.txt && python main.py --config configs/cifar.json"
        in first_screen
    )
    assert (
        "pip install -r requirements.txt -r tests/requirements.txt && python -m pytest"
        in first_screen
    )


def test_every_source_file_has_its_line_and_every_named_file_is_there() -> None:
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = [n for n in names.stdout.split() if n.endswith(".py") and not n.startswith("tests/")]
    for name in files:
        if not name.endswith("__init__.py"):
            assert f"`{name.split('/')[-1]}`" in TEXT, name
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", TEXT):
        assert (ROOT / path).exists(), path


def test_the_pseudocode_is_short() -> None:
    (block,) = re.findall(r"## The round\n.*?```(.*?)```", TEXT, re.DOTALL)
    assert len(block.splitlines()) < 40
