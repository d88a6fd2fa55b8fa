"""docs/article.md: every name on our side is there."""

from __future__ import annotations

import ast
import re
from dataclasses import fields

import pytest

from extra_utils.config.help import parameter_rows, rows_of
from extra_utils.config.keys import KINDS, GivenConfig
from extra_utils.run.metrics import SCHEMA
from federal_defense.rules.table import TABLES
from tests.helpers import ROOT
from tests.readme import DOCS, README, part_of
from tests.test_readme import table_rows

ARTICLE = DOCS / "article.md"


def names() -> list[str]:
    """What stands in code marks on our side of the table of names."""
    rows = table_rows(part_of(ARTICLE.read_text(encoding="utf-8"), "names")[1])
    return [name for _, here, note in rows for name in re.findall(r"`([^`]+)`", here + note)]


def keys() -> set[str]:
    """Every key of a config, as it is written on the command line."""
    found = {field.name for field in fields(GivenConfig)}
    for outer, kind in KINDS.items():
        inner = {row[0] for row in rows_of(kind)}
        for function in TABLES[outer].values():
            inner |= {row[0] for row in parameter_rows(function)}
        found |= {f"{outer}.{key}" for key in inner}
    return found


def defines(text: str, name: str) -> bool:
    """Whether a module has this function, class, or what stands in a class after a dot."""
    body: list[ast.stmt] = ast.parse(text).body
    for part in name.split("."):
        kinds = (ast.FunctionDef, ast.ClassDef)
        found = [node for node in body if isinstance(node, kinds) and node.name == part]
        if not found:
            return False
        body = found[0].body
    return True


def is_here(name: str) -> bool:
    """A config's `--key`, a row's `kind.key`, a picture, a file, or a `file:name` in it."""
    if name.startswith("--"):
        return name[2:] in keys()
    kind, _, key = name.partition(".")
    if key in SCHEMA.get(kind, ()):
        return True
    if name.endswith(".png"):
        return f"`{name}`" in README.read_text(encoding="utf-8")  # what a run leaves
    path, _, inner = name.partition(":")
    place = ROOT / path
    return place.is_file() and (not inner or defines(place.read_text(encoding="utf-8"), inner))


def test_every_name_on_our_side_is_there() -> None:
    found = names()
    assert len(found) > 50
    assert [name for name in found if not is_here(name) and not is_plain(name)] == []


def is_plain(name: str) -> bool:
    """A word of the table's last column that names an attribute or a spelling."""
    return name in ("accuracy", "loss", "module.fc3.weight", "mnist_Net", "args", "conf")


@pytest.mark.parametrize(
    "name",
    ["--only_1", "--attack.targets", "point.cost", "cost.png", "distributed_minist.py",
     "main.py:init_processes", "client.py:Client.train", "client.py:local_train"],
)  # fmt: skip
def test_a_name_that_is_not_there_is_noticed(name: str) -> None:
    assert not is_here(name)


def test_what_the_article_does_not_say_is_marked() -> None:
    text = ARTICLE.read_text(encoding="utf-8")
    marked = [line for line in text.splitlines() if "*assumed" in line]
    for what in ("black edges", "layers are not told", "flower", "tensor by tensor", "Figures"):
        assert any(what in line for line in marked), what
