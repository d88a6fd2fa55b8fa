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
from extra_utils.plots.report import write_report, write_sweep_report
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


def test_the_final_figures_are_the_rows(run: Path) -> None:
    page = Page(write_report(run))
    head, *lines = page.table("global model")
    assert head == ["global model", "after round 3", "mean of 3 rounds"]
    found = {name: values for name, *values in lines}
    forms = {"loss": "{:.3f}"}
    shown = [[forms.get(key, "{:.2f} %").format(figure_of(key, number)) for number in (3, 2)]
             for key in RATES]  # fmt: skip
    assert list(found.values()) == shown
    assert list(found) == ["accuracy", "loss", "recall of the source class",
                           "source taken for target"]  # fmt: skip
    assert "Source: cat; target: owl." in page.text
    every = page.table("round", "accuracy")
    assert [line[0] for line in every[1:]] == ["0", "1", "2", "3"]
    assert every[-1][1:] == [values[0] for values in shown]


def test_detection_is_that_of_the_rows_and_not_the_classes_recall(run: Path) -> None:
    means = {"detection": {"precision": 50.0, "recall": None}, "recall": [1.0]}
    change_rows(run, summary=means)
    lines = Page(write_report(run)).table("global model")
    assert lines[-1] == ["attackers among those left out", "-", "50.00 %"]


def test_who_was_left_out_when(run: Path) -> None:
    page = Page(write_report(run))
    assert page.table("round", "attackers left out") == [
        ["round", "attackers left out", "honest clients left out", "attackers kept"],
        ["1", "2", "-", "-"],
        ["2", "2", "3", "-"],
        ["3", "-", "0", "2"],
    ]
    assert "krum left out 4 updates, 2 of them attackers'." in page.text
    assert "<details open>" in page.source
    change_rows(run, client={"flagged": None})
    assert "left out" not in Page(write_report(run)).text


def test_a_table_of_many_rounds_is_folded(run: Path) -> None:
    rows = read_rows(run)
    own = next(row for row in rows if row["kind"] == "client")
    with (run / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(own | {"round": n}) + "\n" for n in range(4, 14))
    page = Page(write_report(run))
    assert max(len(table) for table in page.tables) == 1 + 13
    assert "<details open>" not in page.source


def test_nothing_from_a_file_is_html(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    strange = {"name": HOSTILE, "comment": HOSTILE, HOSTILE: HOSTILE, "seed": {HOSTILE: HOSTILE}}
    strange["defense"] = {"name": HOSTILE}
    strange["attack"] = config["attack"] | {"name": HOSTILE}
    (run / "config.json").write_text(json.dumps(config | strange))
    names = [HOSTILE, *CLASSES[1:]]
    change_rows(run, run={"class_names": names, "dataset": HOSTILE, "warnings": [HOSTILE],
                          "versions": {HOSTILE: HOSTILE}})  # fmt: skip
    (run / '<img src=x>".png').write_bytes(DOT)
    page = Page(write_report(run))
    assert not {"script", "b"} & set(page.tags)
    assert [image["alt"] for image in page.images][1] == '<img src=x>"'
    assert page.text.count("<script>alert(1)</script>") >= 8
    assert "\\u202e\\udce9" in page.text
    assert "\u202e" not in page.source
    assert page.source.count("<title>") == page.source.count("</title>") == 1


def test_pictures_are_inside_and_in_words_and_what_is_none_is_left_out(run: Path) -> None:
    (run / "loss.png").write_text("<script>")
    (run / "own_notes.png").write_bytes(DOT)
    page = Page(write_report(run))
    assert [image["src"] for image in page.images] == [
        f"data:image/png;base64,{base64.b64encode(DOT).decode()}"
    ] * 2
    first, second = (image["alt"] for image in page.images)
    assert f"ends at {figure_of('accuracy', 3):.2f} % after round 3; attackers: client 2." in first
    assert second == "own_notes"
    change_rows(run, client={"attacker": False})
    assert "; attackers: nobody." in Page(write_report(run)).images[0]["alt"]
    assert {url[:5] for url in re.findall(r'(?:src|href)="([^"]*)"', page.source)} == {"data:"}


def test_warnings_versions_and_the_command_are_there(run: Path) -> None:
    made = {"python": "3.11.7", "commit": "c0ffee", "sources": "0123456789ab"}
    change_rows(run, run={"warnings": ["warning: lr: no"], "versions": made, "synthetic": True})
    page = Page(write_report(run))
    assert "warning: lr: no" in page.text
    assert "SYNTHETIC DATA" in page.text
    assert "python main.py --config config.json" in page.text
    (found,) = [dict(table) for table in page.tables if table[1][0] == "seed"]
    assert found.items() >= {"seed": "0", "versions.commit": "c0ffee"}.items()


def test_the_setting_leads_with_what_is_asked_for_first(finished_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")
    page = Page(write_report(run))
    first, every = (dict(table) for table in page.tables if table[1][0] in ("type", "name"))
    config = json.loads((run / "config.json").read_text())
    assert first == {
        "key": "value", "type": "synthetic", "model_name": "net", "num_train": "300",
        "num_clients": "3", "partition": "iid", "global_epochs": "2", "local_epochs": "1",
        "batch_size": "64", "lr": "0.001", "defense.name": "mean", "attack.name": "label_flip",
        "attack.clients": "[2]", "attack.start_round": "1", "attack.source": "1",
        "attack.target": "4", "seed": "0",
    }  # fmt: skip
    assert len(every) == 1 + len(config) - 2 + 5 + 1  # attack and defense by their keys
    assert every.items() >= {"num_test": "100", "data_path": config["data_path"]}.items()


def test_a_run_that_has_not_ended_and_an_old_one_have_a_page(run: Path) -> None:
    with pytest.raises(ConfigError, match="is not a run's folder"):
        write_report(run / "none")
    assert "not ended" not in Page(write_report(run)).text
    (run / "config.json").write_text("{")
    change_rows(run, summary=None, client=None)
    page = Page(write_report(run))
    assert "This run has not ended: round 3 of ?" in page.text
    assert "Warnings" not in page.text
    change_rows(run, round=None)
    assert "This run has not ended: round 0 of ?" in Page(write_report(run)).text


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


def make_sweep(folder: Path) -> list[Path]:
    """One run that has ended, one that has not, one that failed at once, one that is not there."""
    folder.mkdir()
    ended, begun, failed, _ = runs = [folder / name for name in ("a=1", "a=<2>", "a=3", "a=4")]
    write_report(make_run(ended))
    change_rows(make_run(begun), summary=None)
    failed.mkdir()
    (failed / "metrics.jsonl").touch()
    lines = ["Differences to *a=1*.", "", "| run | accuracy % |", "|---|---|"]
    table = "\n".join([*lines, "| x\\|<y> | 20.50 |", "| z | - |", ""])
    (folder / "comparison.md").write_text(table)
    (folder / "comparison.png").write_bytes(DOT)
    (folder / "sweep.json").write_text('{"sweep": {"a": ["<1>", 2]}}')
    return runs


def test_a_sweep_has_its_table_and_each_run_as_it_stands(tmp_path: Path) -> None:
    runs = make_sweep(tmp_path / "sweep")
    page = Page(write_sweep_report(tmp_path / "sweep", runs))
    compared, states = (table for table in page.tables if table[0][0] == "run")
    assert compared == [["run", "accuracy %"], ["x|<y>", "20.50"], ["z", "-"]]
    assert "Differences to *a=1*." in page.text
    assert "Differences to" not in str(page.tables)
    assert '{"sweep": {"a": ["<1>", 2]}}' in page.text
    assert page.links == {"a=1": "a%3D1/report.html"}
    assert "3 of the 4 runs have not ended" in page.text
    assert [line[0] for line in states[1:]] == ["a=1", "a=<2>", "a=3", "a=4"]
    summary = [f"{figure_of(key, 2):{'.3f' if key == 'loss' else '.2f'}}" for key in RATES]
    assert [cell.removesuffix(" %") for cell in states[1][1:]] == [*summary, "finished"]
    assert states[2][1:] == [*"----", "round 3 of ?"]
    assert states[3][1:5] == states[4][1:5] == [*"----"]
    assert states[3][5].startswith("failed: its run cannot be drawn: ")
    assert states[4][5].startswith("failed: is not a run's folder: ")
    assert len(page.images) == 1


def test_runs_of_different_versions_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    runs = make_sweep(folder)[:2]
    change_rows(runs[0], run={"versions": {"torch": "1"}, "warnings": ["warning: x"]})
    change_rows(runs[1], run={"versions": {"torch": "2"}, "warnings": ["warning: x"]})
    page = Page(write_sweep_report(folder, runs))
    assert "The runs were made with 2 versions:" in page.text
    assert page.text.count("warning: x") == 1
    change_rows(runs[1], run={"versions": {"torch": "1"}, "synthetic": True})
    text = Page(write_sweep_report(folder, runs)).text
    assert "The runs were made with" not in text
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
    assert len(seen.measured["contrasts"]) > 100
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
    pages = [write_report(run), write_sweep_report(tmp_path / "sweep", runs)]
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
