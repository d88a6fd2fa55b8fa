"""The README and docs/ say what is true."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from textwrap import indent

import pytest

from extra_utils.basics.errors import ConfigError
from extra_utils.config.reader import parse_arguments, read_config
from extra_utils.config.sweep import baseline_of, read_sweep
from extra_utils.run.sweep import plan_runs
from federal_defense.benchmark import make_plan
from federal_defense.checks import checked_config
from federal_defense.rules.table import TABLES
from tests.helpers import ROOT
from tests.readme import (
    DOCS,
    KEYS,
    PAGES,
    README,
    ROWS,
    key_tables,
    part_of,
    row_tables,
    with_part,
)
from tests.test_structure import SOURCES, num_lines

MOST_LINES = 250
MOST_FILES_TO_READ, MOST_LINES_TO_READ = 9, 1_500
BLOCKS = re.DOTALL | re.MULTILINE
TEXT = README.read_text(encoding="utf-8")
TEXTS = {page: page.read_text(encoding="utf-8") for page in [README, *sorted(DOCS.glob("*.md"))]}


def commands(text: str) -> Iterator[str]:
    """What a page tells to type: lines of code blocks, and code within a line."""
    text = re.sub(r"^```.*?\n(.*?)^```", lambda found: indent(found[1], "    "), text, flags=BLOCKS)
    blocks = re.findall(r"^    (.*)$", text.replace("\\\n", " "), re.MULTILINE)
    for code in [*blocks, *re.findall(r"`([^`]+)`", text)]:
        for part in code.split("&&"):
            words = " ".join(part.split()).split(" # ")[0]
            if found := re.fullmatch(r"(?:[A-Z_]+=\S+ )*((?:python|torchrun) .*)", words):
                yield found[1]


def refusal(command: str) -> str:
    """Why a command cannot be run as it stands; "" where it can, as far as reading it shows."""
    words = shlex.split(command)
    missing = [w for w in words if w.startswith(("configs/", "tests/")) and not (ROOT / w).exists()]
    if missing:
        return f"{missing[0]} does not exist"
    if words[0] == "torchrun":
        return refusal_of_main(words[words.index("main.py") + 1 :])
    if words[1] == "main.py":
        return refusal_of_main(words[2:])
    if words[1] == "-c":
        return ""
    assert words[1] == "-m", command
    return refusal_of_tests(words[3:]) if words[2] == "pytest" else refusal_of_module(*words[2:])


def refusal_of_main(arguments: list[str]) -> str:
    if arguments == ["--help"]:
        return ""
    try:
        given = parse_arguments(arguments)
        if not given.resume and (sweep := read_sweep(given)):
            baseline_of(sweep, given.baseline)
            plan_runs(sweep, TABLES, checked_config, lambda config, _: Path(config.data_path))
        elif not given.resume:
            checked_config(*read_config(given, TABLES))
    except ConfigError as error:
        return str(error)
    return ""


def refusal_of_tests(arguments: list[str]) -> str:
    """The marks and names that tests are chosen by must be there; their files are."""
    pytest_options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]
    marks = [mark.split(":")[0] for mark in pytest_options["ini_options"]["markers"]]
    paths = [ROOT / word for word in arguments if word.startswith("tests/")]
    for option, value in pairwise(arguments):
        if option == "-m" and value not in marks:
            return f"{value} is no mark"
        if option == "-k" and not any(value in path.read_text() for path in paths):
            return f"{value} is in none of the files"
    return ""


def refusal_of_module(module: str, *arguments: str) -> str:
    place = ROOT.joinpath(*module.split("."))
    files = [f for f in (place.with_suffix(".py"), place / "__main__.py") if f.exists()]
    if not files:
        return f"{module} is no module"
    for word in arguments:
        if word.startswith("--") and word.split("=")[0] not in files[0].read_text(encoding="utf-8"):
            return f"{module} does not know {word}"
    if module == "federal_defense.benchmark":
        sweep = read_sweep(parse_arguments(arguments))
        assert sweep
        make_plan(sweep)
    return ""


def links(page: Path) -> list[tuple[Path, str]]:
    """The files that a page links or shows, each with the heading's anchor or ""."""
    targets = re.findall(r"\]\((?!http)([^)#\s]*)#?([^)\s]*)\)", TEXTS[page])
    return [((page.parent / path).resolve() if path else page, anchor) for path, anchor in targets]


def table_rows(part: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    lines = [line for line in part.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize(("mark", "tables"), [(KEYS, key_tables), (ROWS, row_tables)])
def test_the_tables_from_the_sources_are_current(mark: str, tables: Callable[[], str]) -> None:
    text = PAGES[mark].read_text(encoding="utf-8")
    assert with_part(text, mark, tables()) == text, "run python -m tests.readme"


def test_every_page_that_is_written_by_a_command_has_its_place_for_it() -> None:
    for mark, page in PAGES.items():
        assert part_of(TEXTS[page], mark)[1].strip()


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


def test_the_readme_is_short() -> None:
    assert num_lines(README) <= MOST_LINES


def test_every_source_file_is_named_in_its_rooms_line() -> None:
    rows = table_rows(part_of(TEXT, "rooms")[1])
    rooms = {room.strip("`"): set(re.findall(r"`([^`]+)`", files)) for room, _, files in rows}
    assert len(rooms) == len(rows)
    found: dict[str, set[str]] = {}
    for path in SOURCES:
        if path.name != "__init__.py":
            folder = path.parent.relative_to(ROOT).as_posix()
            found.setdefault(f"{folder}/", set()).add(path.name)
    assert rooms == found


def test_the_reading_path_is_short_and_there() -> None:
    rows = table_rows(part_of(TEXT, "reading path")[1])
    assert [int(number) for number, _, _ in rows] == list(range(1, len(rows) + 1))
    paths = [ROOT / file.strip("`") for _, file, _ in rows]
    assert [path.name for path in paths if not path.exists()] == []
    assert len(paths) <= MOST_FILES_TO_READ
    assert sum(map(num_lines, paths)) <= MOST_LINES_TO_READ


def test_every_link_leads_somewhere_and_every_page_and_picture_is_linked() -> None:
    reached = {README}
    for page in TEXTS:
        for target, anchor in links(page):
            assert target.exists(), (page.name, target)
            headings = re.findall(r"^#+ (.*)$", TEXTS.get(target, ""), re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings]
            assert not anchor or anchor in slugs, (page.name, anchor)
    for _ in TEXTS:  # as far as links lead from the README
        reached |= {target for page in reached & TEXTS.keys() for target, _ in links(page)}
    assert set(DOCS.iterdir()) <= reached


def test_every_file_that_is_named_with_its_path_is_there() -> None:
    kinds = r"\b(?:tests|configs|docs|extra_utils|federal_defense)/[\w/]+\.(?:py|json|md|png)\b"
    texts = {**TEXTS, **{path: path.read_text(encoding="utf-8") for path in SOURCES}}
    for page, text in texts.items():
        for path in re.findall(kinds, text):
            assert (ROOT / path).exists(), (page.name, path)


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_every_command_can_be_read(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    refused = {command: why for command in commands(TEXTS[page]) if (why := refusal(command))}
    assert not refused


def test_the_commands_are_found_and_wrong_ones_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = (
        "A `python -m\npytest tests/gone.py` in a line.\n\n"
        "    pip install x && python main.py --config configs/cifar.json  # a note\n"
        "    A=b torchrun --nnodes=2 \\\n        main.py --config configs/gone.json\n\n"
        "```\npython -m tests.gone\nx = y\n```\n"
    )
    assert sorted(commands(text)) == [
        "python -m pytest tests/gone.py",
        "python -m tests.gone",
        "python main.py --config configs/cifar.json",
        "torchrun --nnodes=2 main.py --config configs/gone.json",
    ]
    assert [bool(refusal(command)) for command in sorted(commands(text))] == [1, 1, 0, 1]
    for wrong in (
        "python main.py --config configs/cifar.json --attack.targt=7",
        "python main.py --config configs/cifar.json --lr=fast",
        "python main.py --config configs/cifar.json --seed=0,1 --defense.name=mean,class_mean",
        "python main.py --config configs/cifar.json --defense.name=class_mean",
        "python -m pytest -m slowly tests/test_main.py",
        "python -m pytest -k nothing_of_this_name tests/test_main.py",
        "python -m tests.benchmarks.report --time 3 --tims=4",
    ):
        assert refusal(wrong), wrong
    assert len(list(commands(TEXT))) >= 15


def test_the_pseudocode_is_short() -> None:
    (block,) = re.findall(r"## The round\n.*?```(.*?)```", TEXT, re.DOTALL)
    assert len(block.splitlines()) < 40
