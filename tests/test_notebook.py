"""docs/first_run.ipynb: it is plain and valid, and runs from its first cell to its last."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from tests.helpers import ROOT, read_rows
from tests.readme import DOCS
from tests.test_tutorial import ENGLISH, RUNS

NOTEBOOK = DOCS / "first_run.ipynb"
BOOK: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
CODE = {cell["id"]: "".join(cell["source"]) for cell in BOOK["cells"] if "outputs" in cell}
PATIENCE_S = 600  # for a cell, on a busy machine
SMALL = ["--num_train=200", "--num_test=50", "--global_epochs=2", "--local_epochs=1"]


def test_it_is_valid_and_has_no_outputs() -> None:
    nbformat.validate(BOOK)
    cells = [cell for cell in BOOK["cells"] if cell["cell_type"] == "code"]
    assert {cell["id"] for cell in cells} == set(CODE)
    assert [cell["id"] for cell in cells if cell["outputs"] or cell["execution_count"]] == []
    assert BOOK["metadata"]["kernelspec"]["name"] == "python3"


def test_its_runs_are_those_of_the_tutorial() -> None:
    assert "](first_run.ipynb)" in ENGLISH
    for number, command in enumerate(RUNS[:3], start=1):
        keys = re.findall(r'"(--\S+)"', CODE[f"run-{number}"])
        config, *typed = re.findall(r"--config \S+|--\S+", command)
        assert config.split()[1] in CODE["tools"]
        assert keys == typed[:-1]  # all but the folder


def test_its_links_lead_somewhere() -> None:
    text = "\n".join("".join(cell["source"]) for cell in BOOK["cells"] if "outputs" not in cell)
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert targets
    assert all((DOCS / target).exists() for target in targets)


@pytest.mark.slow
@pytest.mark.parametrize("folder", [DOCS, ROOT], ids=["docs", "root"])
def test_it_runs_wherever_it_was_opened(folder: Path, data_path: Path, tmp_path: Path) -> None:
    book = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    more = [*SMALL, "--download=false", f"--data_path={data_path}", f"--output_dir={tmp_path}"]
    (cell,) = (cell for cell in book.cells if cell["id"] == "keys")
    cell.source = re.sub(r"\[\]$", json.dumps(more), cell.source)
    assert cell.source != CODE["keys"]
    nbclient.execute(book, cwd=str(folder), timeout=PATIENCE_S)

    said = {cell["id"]: cell["outputs"] for cell in book.cells if cell["cell_type"] == "code"}
    for name in ("picture-1", "picture-2", "picture-3", "curves-3"):
        assert ["image/png" in output["data"] for output in said[name]] == [True], name
    runs = sorted(tmp_path.iterdir())
    assert [len(read_rows(run, "client")) for run in runs] == [2, 6, 6]
    last = read_rows(runs[0], "round")[-1]
    text = "".join(output["text"] for output in said["rows-1"])
    assert f"round  2  accuracy {last['accuracy']:.2f} %  loss {last['loss']:.3f}" in text
