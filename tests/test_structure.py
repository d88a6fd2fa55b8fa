"""How the code is arranged: rooms, imports that go one way, and sizes."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.helpers import ROOT

MOST_LINES = 7_900  # of all sources together
MOST_LINES_OF_MAIN = 190
MOST_LINES_OF_A_FILE = 250  # of the sources
MOST_LINES_OF_A_FUNCTION = 40  # of the tests, too
MOST_FILES_OF_A_ROOM = 8
MOST_ENTRIES = 12  # files and rooms in extra_utils/
MOST_FORMAT_SKIPS = 10
LIGHT_ROOMS = ("config", "plots")  # they load without torch

FOLDERS = ("extra_utils", "federal_defense")
TOP_LEVEL = ("main.py", "client.py", "my_data_loader.py", "get_weight_matrix.py")
SOURCES = sorted(
    [
        *(ROOT / name for name in TOP_LEVEL),  # a script of one's own beside them is none of ours
        *(path for name in FOLDERS for path in (ROOT / name).rglob("*.py")),
    ]
)
SKIP = "# fmt: " + "skip"  # in two pieces, so that this line is none


def module_of(path: Path) -> str:
    """The name by which a source is imported; of an ``__init__.py`` the package's."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def unit_of(module: str) -> str:
    """The room that a module is in, or its own name where it is in none."""
    top, *below = module.split(".")
    return below[0] if below else top


def imported(text: str, known: Collection[str]) -> set[str]:
    """Which of the known modules a source imports: lazily and for type hints alone as well."""
    names: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import, which is not followed here"
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names += [name if name in known else str(node.module) for name in inside]
    return {name for name in names if name in known}


def circle(graph: Mapping[str, Collection[str]]) -> list[str]:
    """One circle of a graph, its first node again at the end; [] where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def may_import(package: str) -> set[str]:
    """What the docstring of a room's ``__init__.py`` allows."""
    said = re.search(r"May import: ([\w\s,]+)\.", ast.get_docstring(ast.parse(package)) or "")
    assert said, f"{package!r} does not say what the room may import"
    return set(re.findall(r"\w+", said[1])) - {"nothing"}


def functions(text: str) -> Iterator[tuple[str, int]]:
    """Each function's name and number of lines."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


def num_lines(path: Path) -> int:
    """As an editor counts: with the empty line after the last end of a line."""
    return path.read_bytes().count(b"\n") + 1


MODULES = {module_of(path): path for path in SOURCES}
TEXTS = {module: path.read_text(encoding="utf-8") for module, path in MODULES.items()}
GRAPH = {module: imported(text, MODULES) for module, text in TEXTS.items()}
PACKAGES = [module for module, path in MODULES.items() if path.stem == "__init__"]
ROOMS = {unit_of(module): TEXTS[module] for module in PACKAGES if "." in module}
UNITS: dict[str, set[str]] = {unit_of(module): set() for module in MODULES}  # what each imports
for module, others in GRAPH.items():
    UNITS[unit_of(module)] |= {unit_of(other) for other in others} - {unit_of(module)}


def test_the_names_of_rooms_and_of_single_files_are_all_different() -> None:
    places = {".".join(module.split(".")[:2]) for module in MODULES}
    assert len(places) == len(set(map(unit_of, places)))


def test_no_module_imports_itself_over_others() -> None:
    assert not circle(GRAPH), circle(GRAPH)


def test_packages_import_nothing_of_others() -> None:
    """So what a module imports is what it says, and not what its package does."""
    others = {m: [o for o in GRAPH[m] if not o.startswith(f"{m}.")] for m in PACKAGES}
    assert not any(others.values()), others


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_says(room: str) -> None:
    assert may_import(ROOMS[room]) <= UNITS.keys()
    assert UNITS[room] <= may_import(ROOMS[room])


def test_rooms_and_single_files_import_downwards_only() -> None:
    """What a room may import counts like what it imports."""
    allowed = {room: may_import(package) for room, package in ROOMS.items()}
    found = circle({unit: used | allowed.get(unit, set()) for unit, used in UNITS.items()})
    assert not found, found
    for module, others in GRAPH.items():
        if module.startswith("extra_utils"):
            assert all(other.startswith("extra_utils") for other in others), module


@pytest.mark.parametrize("room", LIGHT_ROOMS)
def test_the_room_loads_without_torch(room: str) -> None:
    names = [module for module in MODULES if unit_of(module) == room]
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name\n"
    )
    command = [sys.executable, "-c", code, *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert len(names) > 1
    assert done.returncode == 0, done.stderr


def test_a_room_is_small() -> None:
    sizes = {room: sum(unit_of(module) == room for module in MODULES) - 1 for room in ROOMS}
    assert {room: size for room, size in sizes.items() if size > MOST_FILES_OF_A_ROOM} == {}
    entries = {unit_of(m) for m in MODULES if m.startswith("extra_utils.")}
    assert len(entries) <= MOST_ENTRIES, entries


def test_the_sources_are_short() -> None:
    assert sum(map(num_lines, SOURCES)) <= MOST_LINES


def test_no_other_source_is_kept_at_the_top_level() -> None:
    command = ["git", "ls-files", "--", ":(glob)*.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("this checkout is not git's")
    assert set(done.stdout.split()) == set(TOP_LEVEL)


def test_main_is_a_table_of_contents() -> None:
    assert num_lines(ROOT / "main.py") <= MOST_LINES_OF_MAIN


def test_no_file_is_long() -> None:
    sizes = {module: num_lines(path) for module, path in MODULES.items()}
    assert {m: size for m, size in sizes.items() if size > MOST_LINES_OF_A_FILE} == {}


def test_no_function_is_long() -> None:
    paths = [*SOURCES, *(ROOT / "tests").rglob("*.py")]
    found = [(path.name, *each) for path in paths for each in functions(path.read_text("utf-8"))]
    assert len(found) > 500
    assert [each for each in found if each[2] > MOST_LINES_OF_A_FUNCTION] == []


def test_the_formatter_is_seldom_switched_off() -> None:
    assert sum(text.count(SKIP) for text in TEXTS.values()) <= MOST_FORMAT_SKIPS


def test_these_checks_can_fail() -> None:
    found = circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()})
    assert found[0] == found[-1]
    assert set(found) == {"b", "c"}
    assert circle({"a": {"b"}, "b": {"c"}, "d": {"c"}}) == []

    text = (
        "from typing import TYPE_CHECKING\nimport r.first\nfrom r import second\n"
        "if TYPE_CHECKING:\n    from r.third import Kind\n"
        "def f():\n    from r.fourth import g\n    return g\n"
    )
    known = {"r", *(f"r.{name}" for name in ("first", "second", "third", "fourth", "fifth"))}
    assert imported(text, known) == known - {"r", "r.fifth"}
    assert imported("from r import value", known) == {"r"}
    with pytest.raises(AssertionError, match="relative"):
        imported("from .first import value", known)

    assert may_import('"""A room. May import: basics,\nconfig."""') == {"basics", "config"}
    assert may_import('"""A room. May import: nothing."""') == set()
    with pytest.raises(AssertionError, match="does not say"):
        may_import('"""A room."""')
    assert list(functions("x = 1\n\n\n@cached\ndef f():\n    x = 1\n    return x\n")) == [("f", 3)]


def test_what_is_read_here_is_what_is_there() -> None:
    """The numbers above are of real files."""
    assert {"main", "client", "extra_utils.config.keys", "extra_utils.model"} <= MODULES.keys()
    assert {"config", "plots", "rules"} <= ROOMS.keys()
    assert "extra_utils.aggregation.messages" in GRAPH["federal_defense.class_mean"]
    assert "federal_defense.client_mean" in GRAPH["federal_defense.class_mean"]  # for its demo
