"""A run's and a sweep's report.html: what it says, and how it looks in a real browser."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from extra_utils.basics.errors import ConfigError
from extra_utils.plots.__main__ import main
from extra_utils.plots.draw import report_run
from extra_utils.plots.report import write_sweep_report
from extra_utils.plots.run_data import RunData, read_run
from tests.browser import CHROMIUM, Browser, browser
from tests.extra_utils.plots.test_figures import CLASSES, RATES, figure_of, make_run
from tests.helpers import ROOT, read_rows

Table = list[list[str]]
DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M/wHwAEBgIApD5fRAAAAABJRU5ErkJggg=="
)
HOSTILE = "</title><script>alert(1)</script>\"'&<b>$title \u202e\udce9"


class Page(HTMLParser):
    """What a page holds: its tables, pictures, links, and every tag."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tables: list[Table] = []
        self.images: list[dict[str, str]] = []
        self.links: dict[str, str] = {}
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = {key: value or "" for key, value in attrs}
        self.tags.append(tag)
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "img":
            self.images.append(own)
        elif tag == "a":
            self.href = own["href"]

    def handle_endtag(self, tag: str) -> None:
        while self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        data = data.replace("\xa0", " ")
        self.text += data
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data
        if "a" in self.open:
            self.links[data] = self.href

    def table(self, *head: str) -> Table:
        """The rows of the one table whose first columns are called so."""
        (found,) = [table for table in self.tables if table[0][: len(head)] == [*head]]
        return found


def change_rows(folder: Path, **by_kind: dict[str, Any] | None) -> None:
    """Puts these keys into all rows of a kind; None takes the rows out."""
    kept = [row | (by_kind.get(row["kind"], {}) or {}) for row in read_rows(folder)
            if by_kind.get(row["kind"], {}) is not None]  # fmt: skip
    text = "".join(json.dumps(row) + "\n" for row in kept)
    (folder / "metrics.jsonl").write_text(text)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Four clients in three rounds, client 2 attacks; flags are made up. One picture is a dot."""
    folder = make_run(tmp_path / "run")
    (folder / "accuracy.png").write_bytes(DOT)
    return folder


def sections_of(page: Page) -> list[str]:
    return re.findall(r'<h2 class="">(.*?)</h2>', page.source)


def test_the_final_figures_are_the_rows(run: Path) -> None:
    page = Page(report_run(run))
    head, line = page.table("setting")
    found = dict(zip(head[2:], line[2:], strict=True))
    digits = {"loss": 2}
    shown = [f"{figure_of(key, 2):.{digits.get(key, 1)}f}" for key in RATES]
    assert list(found.values())[:4] == shown
    assert list(found)[:4] == ["accuracy %", "loss", "source recall %", "attack success %"]
    assert "Means of the last 3 rounds" in page.text
    assert sections_of(page) == ["Setting", "Final figures", "Pictures", "All settings",
                                 "How to repeat it"]  # fmt: skip


def test_nothing_from_a_file_is_html(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    strange = {"name": HOSTILE, "comment": HOSTILE, HOSTILE: HOSTILE, "seed": {HOSTILE: HOSTILE}}
    strange["defense"] = {"name": HOSTILE}
    strange["attack"] = config["attack"] | {"name": HOSTILE}
    (run / "config.json").write_text(json.dumps(config | strange))
    names = [HOSTILE, *CLASSES[1:]]
    change_rows(run, run={"class_names": names, "dataset": HOSTILE, "warnings": [HOSTILE],
                          "versions": {HOSTILE: HOSTILE}})  # fmt: skip
    page = Page(report_run(run))
    assert not {"script", "b"} & set(page.tags)
    assert page.text.count("<script>alert(1)</script>") >= 8
    assert "\\u202e\\udce9" in page.text
    assert "\u202e" not in page.source
    assert page.source.count("<title>") == page.source.count("</title>") == 1


def test_pictures_are_inside_and_in_words(run: Path) -> None:
    (run / "own_notes.png").write_bytes(DOT)  # no picture of ours
    page = Page(report_run(run))
    source = f"data:image/png;base64,{base64.b64encode(DOT).decode()}"
    assert [image["src"] for image in page.images] == [source]
    alt = page.images[0]["alt"]
    assert alt == f"accuracy. {read_run(run).setting}"
    assert {url[:5] for url in re.findall(r'(?:src|href)="([^"]*)"', page.source)} == {"data:"}
    (run / "accuracy.png").unlink()
    assert "Pictures" not in sections_of(Page(report_run(run)))


def test_warnings_versions_and_the_command_are_there(run: Path) -> None:
    made = {"python": "3.11.7", "commit": "c0ffee", "sources": "0123456789ab"}
    change_rows(run, run={"warnings": ["warning: lr: no"], "versions": made, "synthetic": True})
    page = Page(report_run(run))
    assert sections_of(page)[0] == "Warnings"
    assert "warning: lr: no" in page.text
    assert "SYNTHETIC DATA" in page.text
    assert "python main.py --config config.json" in page.text
    assert '"commit": "c0ffee"' in page.text
    assert '"seed": 0' in page.text


def test_a_run_that_has_not_ended_and_an_old_one_have_a_page(run: Path) -> None:
    with pytest.raises(ConfigError, match="is not a run's folder"):
        report_run(run / "none")
    assert "not ended" not in Page(report_run(run)).text
    change_rows(run, summary=None, client=None)
    page = Page(report_run(run))
    assert "tiny: not ended; round 3 is the last" in page.text
    assert "Final figures" not in sections_of(page)
    assert "Warnings" not in page.text
    (run / "config.json").write_text("{")
    change_rows(run, round=None)
    assert "run: not ended; round 0 is the last" in Page(report_run(run)).text


def test_the_command_writes_it_anew_without_torch_and_elsewhere(
    finished_run: Path, tmp_path: Path
) -> None:
    """On a copy, of which only what the plots room reads is there."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("config.json", "metrics.jsonl"):
        shutil.copy(finished_run / name, copy)
    code = (
        "import sys\nsys.modules['torch'] = None\n"
        "from extra_utils.plots.__main__ import main\nsys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, str(copy)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(Page(copy / "report.html").images) == 5
    whole = Page(finished_run / "report.html")
    assert len(whole.images) == 6  # and the samples, which need the data
    assert "SYNTHETIC DATA" in whole.text
    assert main([str(tmp_path)]) == 2
    assert not (tmp_path / "report.html").exists()


COMPARED = [["setting", "accuracy %"], ["x|<y>", "20.50"], ["z", "-"]]
NOTES = "Differences to *a=1*."


def make_sweep(folder: Path) -> dict[str, RunData | None]:
    """One run that has ended, one that has not, one of which nothing is there."""
    folder.mkdir()
    report_run(make_run(folder / "a=1"))
    change_rows(make_run(folder / "a=<2>"), summary=None)
    (folder / "comparison.png").write_bytes(DOT)
    (folder / "sweep.json").write_text('{"sweep": {"a": ["<1>", 2]}}')
    return {"a=1": read_run(folder / "a=1"), "a=<2>": read_run(folder / "a=<2>"), "a=3": None}


def test_a_sweep_has_its_table_and_each_run_as_it_stands(tmp_path: Path) -> None:
    runs = make_sweep(tmp_path / "sweep")
    page = Page(write_sweep_report(tmp_path / "sweep", runs, COMPARED, NOTES))
    assert page.tables == [COMPARED]
    assert NOTES in page.text
    assert '{"sweep": {"a": ["<1>", 2]}}' in page.text
    assert page.links == {"a=1": "a%3D1/report.html"}
    for line in ("a=<2>: not ended; round 3 is the last", "a=3: not begun, or failed at once"):
        assert line in page.text
    assert "a=1: " not in page.text
    assert len(page.images) == 1
    assert sections_of(page) == ["Comparison", "Pictures", "Runs", "Setting", "How to repeat it"]


def test_runs_of_different_versions_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    make_sweep(folder)

    def page(*made: dict[str, Any]) -> str:
        names = ["a=1", "a=<2>"]
        for name, own in zip(names, made, strict=True):
            change_rows(folder / name, run={"warnings": ["warning: x"], **own})
        runs: dict[str, RunData | None] = {name: read_run(folder / name) for name in names}
        return Page(write_sweep_report(folder, runs, COMPARED, NOTES)).text

    text = page({"versions": {"torch": "1"}}, {"versions": {"torch": "2"}})
    assert text.count('"torch"') == 2
    assert text.count("warning: x") == 1
    text = page({"versions": {"torch": "1"}}, {"versions": {"torch": "1"}, "synthetic": True})
    assert text.count('"torch"') == 1
    assert "SYNTHETIC DATA" in text


needs_browser = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with browser() as found:
        yield found


LOOKS = [(390, "light"), (390, "dark"), (1200, "light"), (1200, "dark")]


@needs_browser
@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_a_runs_page_in_a_browser(
    width: int, scheme: str, opened: Browser, finished_run: Path
) -> None:
    seen = opened.look(finished_run / "report.html", width=width, scheme=scheme)
    assert seen.problems() == []
    assert len(seen.measured["images"]) == 6
    assert len(seen.measured["contrasts"]) > 20
    assert sum(seen.measured["background"][:3]) == {"light": 3 * 255, "dark": 22 + 22 + 26}[scheme]
    assert seen.measured["innerWidth"] == width
    assert "SYNTHETIC DATA" in seen.measured["text"]


@needs_browser
def test_strange_and_long_names_in_a_browser(opened: Browser, run: Path, tmp_path: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    attack = {**config["attack"], "clients": list(range(500))}
    config |= {"name": HOSTILE + "W" * 300, "attack": attack, "comment": "V" * 500}
    (run / "config.json").write_text(json.dumps(config))
    change_rows(run, run={"class_names": ["W" * 90, "$body", HOSTILE], "warnings": ["M" * 300]})
    runs = make_sweep(tmp_path / "sweep")
    folder = tmp_path / "sweep"
    pages = [report_run(run), write_sweep_report(folder, runs, COMPARED, NOTES)]
    for page in pages:
        assert opened.look(page, width=390, scheme="dark").problems() == []


BAD = {
    "request: https://localhost:9/x.png": "<img alt='x' src='https://localhost:9/x.png'>",
    "not shown: x": "<img alt='x' src='data:image/png;base64,AAAA'>",
    "no alt text": f"<img src='data:image/png;base64,{base64.b64encode(DOT).decode()}'>",
    "scrolls sideways: 391": "<div style='width: 391px; height: 1px'></div>",
    "console: [": "<script>console.error('no')</script>",
    "console: {": "<script>gone()</script>",
    "contrast 1.0: pale": "<p style='color: #fff'>pale</p>",
    "contrast 4.2: grey": "<p style='color: #7b7b7b'>grey</p>",
}


@needs_browser
@pytest.mark.parametrize(("problem", "part"), BAD.items(), ids=BAD)
def test_a_bad_page_is_noticed(problem: str, part: str, opened: Browser, tmp_path: Path) -> None:
    style = "<style>body { margin: 0; background: #fff } p { color: #767676 }</style>"
    page = tmp_path / "page.html"
    page.write_text(f"<!DOCTYPE html><title>x</title>{style}<p>text{part}")
    found = opened.look(page, width=390, scheme="light").problems()
    assert any(each.startswith(problem) for each in found), found
    page.write_text(f"<!DOCTYPE html><title>x</title>{style}<p>text")
    assert opened.look(page, width=390, scheme="light").problems() == []
