"""docs/tutorial.md in both languages: its commands run, its code too, and the two say the same."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT, read_rows, run_main
from tests.readme import DOCS
from tests.test_structure import functions

NUM_STEPS = 8
MOST_BYTES, MOST_LINES = 150_000, 12  # of a picture, and of a function of one's own
PATIENCE_S = 600  # for a command, of those in step 8 up to six runs, on a busy machine
SHORT = ("--num_train=200", "--num_test=50", "--global_epochs=1", "--local_epochs=1")
TEXTS = {page: (DOCS / page).read_text("utf-8") for page in ("tutorial.md", "tutorial.zh-CN.md")}
ENGLISH, CHINESE = TEXTS.values()
# an own number, which is no part of a word, a path or a name such as CIFAR-10
FIGURE = re.compile(r"(?<![\w.-])-?\d+(?:[,.]\d+)*", re.ASCII)
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r"!\[[^\]]+\]\(([^)]+)\)")
ANSWER = re.compile(r"<details><summary>(?:Answer|答案)</summary>\n\n(.*?)</details>", re.DOTALL)
Done = subprocess.CompletedProcess[str]


def steps(text: str) -> list[str]:
    """The text of each step."""
    return re.findall(r"^## \d\. .*?(?=^## )", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """What is to be typed, each on a line of its own."""
    return re.findall(r"^(?: {4})?(python (?:main\.py|mine\.py|-c) .*)$", text, re.MULTILINE)


def run_dir(command: str) -> str:
    """The folder that a command leaves, as the page calls it."""
    (found,) = re.findall(r" --run_dir=(runs/\S+)", command)
    return str(found)


def named_files(text: str) -> set[str]:
    """The files of runs that a page tells to open."""
    return set(re.findall(r"`(runs/[^`\s]+/[^`\s]+)`", text))


RUNS = [command for command in commands(ENGLISH) if "--run_dir=" in command]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs are, and the script of step 8; no data set is here."""
    folder = tmp_path_factory.mktemp("tutorial")
    (code,) = CODE.findall(ENGLISH)
    (folder / "mine.py").write_text(code, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def done(place: Path, data_path: Path) -> dict[str, Done]:
    """Every run of the page, made small, by its command."""
    return {command: run(command, place, data_path) for command in RUNS}


def run(command: str, place: Path, data_path: Path) -> Done:
    _, script, *options = shlex.split(command)
    options += [*SHORT, "--download=false", f"--data_path={data_path}"]
    options += [f"--run_dir={place / run_dir(command)}"]
    if script == "main.py":
        return run_main(*options, timeout=PATIENCE_S)
    # beside main.py it would be in the way of other tests
    return run_python(str(place / script), *options)


def run_python(*words: str, cwd: Path = ROOT) -> Done:
    """Python with these words, which finds the project from anywhere."""
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, env=env, capture_output=True, text=True,
        timeout=PATIENCE_S,
    )  # fmt: skip


def test_there_are_eight_steps_with_one_picture_and_one_question_each() -> None:
    for text in TEXTS.values():
        assert len(steps(text)) == NUM_STEPS
        for number, step in enumerate(steps(text), start=1):
            assert step.startswith(f"## {number}. ")
            assert len(PICTURE.findall(step)) == 1
            assert len(re.findall(r"^\*\*(?:Question\.|问题。)\*\* ", step, re.MULTILINE)) == 1
            (answer,) = ANSWER.findall(step)
            outside = step.replace(answer, "")
            (command,) = commands(outside)
            assert run_dir(command) == f"runs/tutorial-{number}"


def test_both_languages_have_the_same_commands_code_pictures_and_figures() -> None:
    for find in (commands, CODE.findall, PICTURE.findall, FIGURE.findall, named_files):
        for one, other in zip(steps(ENGLISH), steps(CHINESE), strict=True):
            assert sorted(find(one)) == sorted(find(other)), one.splitlines()[0]
    assert sorted(FIGURE.findall(ENGLISH)) == sorted(FIGURE.findall(CHINESE))
    assert all(map(FIGURE.findall, steps(ENGLISH)))
    found = FIGURE.findall("In 3 of 1,000 CIFAR-10 rows -0.5; tutorial-1, krum2.")
    assert found == ["3", "1,000", "-0.5"]


def test_the_pictures_are_there_small_and_all_of_them_are_shown() -> None:
    shown = {(DOCS / path).resolve() for path in PICTURE.findall(ENGLISH)}
    assert shown == set((DOCS / "tutorial").iterdir())
    for path in shown:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size < MOST_BYTES, path.name


def test_what_one_writes_oneself_is_short() -> None:
    (code,) = CODE.findall(ENGLISH)
    own = dict(functions(code))
    assert set(own) == {"swap", "far_rows"}
    assert max(own.values()) <= MOST_LINES
    assert len(ast.parse(code).body) > len(own)


@pytest.mark.slow
@pytest.mark.parametrize("command", RUNS, ids=run_dir)
def test_the_command_runs_without_data(command: str, done: dict[str, Done]) -> None:
    ended = done[command]
    assert ended.returncode == 0, ended.stderr
    assert "SYNTHETIC DATA: CIFAR-10 was not to be had" in ended.stdout


@pytest.mark.slow
def test_the_files_that_the_page_names_are_left(place: Path, done: dict[str, Done]) -> None:
    assert done
    names = named_files(ENGLISH)
    assert len(names) > NUM_STEPS
    assert [name for name in sorted(names) if not (place / name).is_file()] == []


@pytest.mark.slow
def test_what_compares_the_models_of_step_6_says_so(place: Path, done: dict[str, Done]) -> None:
    assert done
    (command,) = (each for each in commands(ENGLISH) if each not in RUNS)
    assert run_python(*shlex.split(command)[1:], cwd=place).stdout == "True\n"


@pytest.mark.slow
def test_the_lie_of_step_7_ends_in_a_warning(place: Path, done: dict[str, Done]) -> None:
    honest, lie = (done[command] for command in RUNS if "secure_aggregation" in command)
    assert "class means" in lie.stderr + lie.stdout
    assert "class means" not in honest.stderr + honest.stdout
    (row,) = (row for row in read_rows(place / "runs/tutorial-7-lie", "round") if row["round"])
    assert 1 in row["misreported"]


@pytest.mark.slow
def test_the_code_of_step_8_is_what_attacks_and_what_defends(
    place: Path, done: dict[str, Done]
) -> None:
    assert done
    folder = place / "runs" / "tutorial-8"
    assert len([path for path in folder.iterdir() if path.is_dir()]) == 6
    clients = read_rows(folder / "attack=swap,defense=far_rows", "client")
    assert sum(row["flagged"] for row in clients) == 4
    assert all((row["edited_labels"] > 0) == row["attacker"] for row in clients)
    said = run_python(str(place / "mine.py"), "--help").stdout
    assert "attack.* of swap: images of two classes trade their labels\n" in said
    assert "\n  --f  (a whole number from 0 to 2147483647; default: 4)\n" in said
