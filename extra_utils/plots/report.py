"""``report.html``: a run, or a sweep, on one page that needs no other file and no network."""

import base64
import html
import json
import os
from collections.abc import Iterator
from pathlib import Path
from string import Template
from urllib.parse import quote

from extra_utils.basics.errors import printable
from extra_utils.basics.files import write_whole
from extra_utils.plots.run_data import RunData
from extra_utils.run.metrics import SUMMARY_ROUNDS

NAME = "report.html"
COMMAND = "python main.py --config"
SYNTHETIC = "SYNTHETIC DATA: the program made these images. No figure here is of photographs."
PICTURES = ["comparison", "accuracy", "loss", "detection", "class_mean", "partition"]
PICTURES += ["confusion_matrix", "samples"]
Runs = dict[str, RunData | None]  # by their names, None where nothing can be read


def write_report(run: RunData, figures: list[list[str]]) -> Path:
    """The page of a run, ended or not: its figures as a table, and the pictures in its folder."""
    mean = f"Means of the last {SUMMARY_ROUNDS} rounds; all rounds are in metrics.jsonl."
    same = "The config lies beside this page; with these versions it gives the same bytes."
    made = {key: run.run.get(key) for key in ("threads_per_process", "versions")}
    sections = {
        "Setting": [tag("p", run.setting), tag("p", run.config.get("comment"))],
        "Final figures": [table(figures), tag("p", mean)] if run.summary else [],
        "Pictures": [*pictures(run.folder, run.setting)],
        "All settings": [as_json(run.config)],
        "How to repeat it": [tag("pre", f"{COMMAND} config.json"), tag("p", same), as_json(made)],
    }
    return write_page(run.folder, run.title, {run.config["name"]: run}, sections)


def write_sweep_report(folder: Path, runs: Runs, compared: list[list[str]], notes: str) -> Path:
    """The page of a sweep; the runs are named like their folders."""
    versions = dict.fromkeys(as_json(run.run.get("versions")) for run in runs.values() if run)
    pages = [name for name in runs if (folder / name / NAME).is_file()]
    links = {n: f'<a href="{quote(os.fsencode(n))}/{NAME}">{text(n)}</a>' for n in pages}
    sections = {
        "Comparison": [table(compared), tag("p", notes)],
        "Pictures": [*pictures(folder, folder.name)],
        "Runs": [f"<ul>{''.join(f'<li>{links.get(n, text(n))}</li>' for n in runs)}</ul>"],
        "Setting": [tag("pre", (folder / "sweep.json").read_text("utf-8"))],
        "How to repeat it": [tag("pre", f"{COMMAND} sweep.json"), *versions],
    }
    return write_page(folder, folder.resolve().name, runs, sections)


def write_page(folder: Path, title: str, runs: Runs, sections: dict[str, list[str]]) -> Path:
    """First what a reader must know before all else; a section without content is left out."""
    known = [run for run in runs.values() if run]
    loud = [SYNTHETIC] if any(run.run["synthetic"] for run in known) else []
    for name, run in runs.items():
        last = run.rounds[-1]["round"] if run and run.rounds else 0
        state = f"not ended; round {last} is the last" if run else "not begun, or failed at once"
        loud += [] if run and run.summary else [f"{name}: {state}"]
    lines = dict.fromkeys(line for run in known for line in run.run.get("warnings") or [])
    parts = [tag("h1", title), *(tag("p", line, "loud") for line in loud)]
    for name, content in {"Warnings": [tag("p", line) for line in lines], **sections}.items():
        parts += [tag("h2", name), *content] if any(content) else []
    template = Template(Path(__file__).with_name("page.html").read_text("utf-8"))
    write_whole(folder / NAME, template.substitute(title=text(title), body="\n".join(parts)))
    return folder / NAME


def pictures(folder: Path, setting: str) -> Iterator[str]:
    for name in PICTURES:
        if (path := folder / f"{name}.png").is_file():
            source = base64.b64encode(path.read_bytes()).decode()
            yield f'<img alt="{name}. {text(setting)}" src="data:image/png;base64,{source}">'


def table(rows: list[list[str]]) -> str:
    """With a head, in a box of its own that can be scrolled."""
    lines = ("".join(tag("td" if n else "th", cell) for cell in row) for n, row in enumerate(rows))
    inner = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide" tabindex="0"><table>{inner}</table></div>'


def as_json(value: object) -> str:
    return tag("pre", json.dumps(value, indent=2, ensure_ascii=False))


def tag(kind: str, value: object, style: str = "") -> str:
    """An element that holds a text; nothing for None."""
    return "" if value is None else f'<{kind} class="{style}">{text(value)}</{kind}>'


def text(value: object) -> str:
    """Whatever stands in a file, as text that is no HTML and can be printed."""
    return html.escape("\n".join(map(printable, str(value).split("\n"))))
