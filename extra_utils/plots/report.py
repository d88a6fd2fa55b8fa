"""``report.html``: a run, or a sweep, on one page that needs no other file and no network."""

import base64
import html
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from string import Template
from urllib.parse import quote

from extra_utils.basics.errors import ConfigError, printable
from extra_utils.basics.files import write_whole
from extra_utils.plots.run_data import RunData, clients, read_run
from extra_utils.run.metrics import RATES, SUMMARY_ROUNDS, Row

NAME = "report.html"
PNG = b"\x89PNG\r\n\x1a\n"
SYNTHETIC = "SYNTHETIC DATA: the program made these images. No figure here is of photographs."
FIGURES = {
    "accuracy": "accuracy",
    "loss": "loss",
    "source_recall": "recall of the source class",
    "attack_success_rate": "source taken for target",
    "backdoor_success_rate": "backdoor success",
    "precision": "attackers among those left out",
    "recall": "attackers left out",
}
NOTHING = "-"
MOST_ROUNDS = 12  # of a table that is not folded
FIRST_KEYS = ["type", "model_name", "num_train", "num_clients", "partition", "global_epochs"]
FIRST_KEYS += ["local_epochs", "batch_size", "lr", "defense", "attack", "seed"]


def write_report(folder: Path, run: RunData | None = None) -> Path:
    """The page of a run, ended or not, read here or before. ConfigError where it has no rows."""
    run = run or read_run(folder)
    parts = [p(run.setting), p(run.config.get("comment"))]
    parts += [p(run.run["synthetic"] and SYNTHETIC, "loud")]
    parts += [p(run.summary is None and f"This run has not ended: {state(run)}", "loud")]
    parts += ["<h2>Final figures</h2>", *figures(run), warnings([run])]
    parts += ["<h2>Pictures</h2>", *pictures(folder, alt_texts(run)), *flags(run)]
    first = {key: run.config[key] for key in FIRST_KEYS if key in run.config}
    parts += ["<h2>Setting</h2>", pairs(first), folded("All keys", pairs(run.config))]
    parts += ["<h2>How to repeat it</h2><pre>python main.py --config config.json</pre>"]
    parts += [p("config.json lies beside this page; the same versions give the same bytes.")]
    kept = {key: run.run.get(key) for key in ("threads_per_process", "versions")}
    parts += [pairs({"seed": run.config.get("seed"), **kept})]
    return write_page(folder, run.title, parts)


def write_sweep_report(folder: Path, runs: list[Path]) -> Path:
    """The page of a sweep, with a link to each run's own."""
    known, lines = [], []
    for path in runs:
        name = text(path.name)
        if (path / NAME).is_file():
            name = f'<a href="{quote(os.fsencode(path.name))}/{NAME}">{name}</a>'
        try:
            known.append(run := read_run(path))
            row, shown = run.summary or {}, state(run)
        except ConfigError as error:
            row, shown = {}, f"failed: {str(error).removeprefix(f'{path}: ')}"
        lines.append([name, *(number(row, key) for key in RATES), text(shown)])
    alt = "Curves of the settings' global models over the rounds; their figures are in the table."
    missing = len(runs) - len([run for run in known if run.summary])
    parts = [p(f"A sweep of {len(runs)} runs")]
    parts += [p(any(run.run["synthetic"] for run in known) and SYNTHETIC, "loud")]
    parts += [p(missing and f"{missing} of the {len(runs)} runs have not ended", "loud")]
    parts += ["<h2>Comparison</h2>", *from_markdown(folder / "comparison.md")]
    parts += pictures(folder, {"comparison": alt})
    parts += ["<h2>Runs</h2>", table(["run", *(FIGURES[key] for key in RATES), "state"], lines)]
    setting = "\n".join(map(text, (folder / "sweep.json").read_text("utf-8").splitlines()))
    parts += [warnings(known), f"<h2>Setting</h2><pre>{setting}</pre>"]
    parts += ["<h2>How to repeat it</h2>", p("Each run's page has its command.")]
    made = list(dict.fromkeys(pairs({"versions": run.run.get("versions")}) for run in known))
    parts += [p(f"The runs were made with {len(made)} versions:", "loud")] if len(made) > 1 else []
    return write_page(folder, folder.resolve().name, [*parts, *made])


def write_page(folder: Path, title: str, parts: Iterable[str]) -> Path:
    body = "\n".join([f"<h1>{text(title)}</h1>", *parts])
    template = Template(Path(__file__).with_name("page.html").read_text("utf-8"))
    write_whole(folder / NAME, template.substitute(title=text(title), body=body).encode())
    return folder / NAME


def state(run: RunData) -> str:
    last = run.rounds[-1]["round"] if run.rounds else 0
    return "finished" if run.summary else f"round {last} of {run.config.get('global_epochs', '?')}"


def warnings(runs: list[RunData]) -> str:
    """Of all runs, each once; rows of older runs have none."""
    kept = [run.run.get("warnings") for run in runs]
    lines = dict.fromkeys(text(line) for own in kept if isinstance(own, list) for line in own)
    items = "".join(f"<li>{line}</li>" for line in lines)
    return items and f"<h2>Warnings</h2><ul>{items}</ul>"


def figures(run: RunData) -> list[str]:
    """Of the last round and the summary, and folded of every round; no line of nulls."""
    columns = {f"after round {row['round']}": row for row in run.rounds[-1:]}
    if run.summary:
        columns[f"mean of {min(SUMMARY_ROUNDS, len(run.rounds) - 1)} rounds"] = run.summary
    rows = {key: [number(row, key) for row in columns.values()] for key in FIGURES}
    rows = {key: shown for key, shown in rows.items() if set(shown) != {NOTHING}}
    lines = [[str(row["round"]), *(number(row, key) for key in rows)] for row in run.rounds]
    every = table(["round", *(FIGURES[key] for key in rows)], lines)
    of = "Source: {}; target: {}.".format(*run.attacked) if run.attacked else ""
    final = table(["global model", *columns], ([FIGURES[k], *shown] for k, shown in rows.items()))
    return [final, p(of), folded("Every round", every)]


def number(row: Row, key: str) -> str:
    """A figure with its unit."""
    place = row.get("detection") if key in ("precision", "recall") else row
    value = place.get(key) if isinstance(place, dict) else None
    if not isinstance(value, int | float):
        return NOTHING
    return f"{value:.3f}" if key == "loss" else f"{value:.2f} %"


def pictures(folder: Path, alts: dict[str, str]) -> list[str]:
    """The folder's PNGs, those first of which it is known in words what they show."""
    parts = []
    for name in [*alts, *sorted({path.stem for path in folder.glob("*.png")} - alts.keys())]:
        path = folder / f"{name}.png"
        content = path.read_bytes() if path.is_file() else b""
        if content.startswith(PNG):
            source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
            image = f'<img alt="{text(alts.get(name, name))}" src="{source}">'
            title = text(name.replace("_", " ").capitalize())
            parts.append(f"<figure><figcaption>{title}</figcaption>{image}</figure>")
    return parts or [p("There are none yet.")]


def alt_texts(run: RunData) -> dict[str, str]:
    """By picture what is in it."""
    counts, last = run.run["class_counts"], run.rounds[-1] if run.rounds else {"round": 0}
    who = f"{len(counts)} clients by {len(counts[0])} classes"
    by = f"attackers: {clients(run.attackers)}."
    flagged = [row["attacker"] for row in run.clients if row["flagged"]]
    curves = {
        key: f"Curves of the {key} over the rounds, of the clients' local models and of the global "
        f"model, which ends at {number(last, key)} after round {last['round']}; {by}"
        for key in ("accuracy", "loss")
    }
    return curves | {
        "detection": f"Clients by rounds, whom {run.rule} left out: {len(flagged)} times a client, "
        f"{sum(flagged)} times an attacker; {by}",
        "class_mean": f"The weight matrix, {who}, by the distance from the clients' median; {by}",
        "partition": f"Training images, {who}, at most {max(map(max, counts))}; {by}",
        "confusion_matrix": "The final model's predicted classes by the true ones, in percent; "
        f"its accuracy is {number(last, 'accuracy')}.",
        "samples": f"Training images with their labels, changed ones marked; {by}",
    }


def flags(run: RunData) -> list[str]:
    """Round by round whom the rule left out, rightly and wrongly, and which attackers it kept."""
    if all(row["flagged"] is None for row in run.clients):
        return []
    lines = []
    for round_index, group in groupby(run.clients, itemgetter("round")):
        found = defaultdict[tuple[bool, bool], list[str]](list)
        for row in group:
            found[row["attacker"], bool(row["flagged"])].append(str(row["client"]))
        kinds = ((True, True), (False, True), (True, False))
        lines.append([str(round_index), *(", ".join(found[kind]) or NOTHING for kind in kinds)])
    flagged = [row["attacker"] for row in run.clients if row["flagged"]]
    total = f"{run.rule} left out {len(flagged)} updates, {sum(flagged)} of them attackers'."
    head = ["round", "attackers left out", "honest clients left out", "attackers kept"]
    shown = folded("Round by round", table(head, lines), " open" * (len(lines) <= MOST_ROUNDS))
    return ["<h2>Who was left out when</h2>", p(total), shown]


def from_markdown(path: Path) -> list[str]:
    """A table, and the lines of text beside it."""
    lines = path.read_text("utf-8").splitlines()
    rows = [re.split(r"(?<!\\)\|", line.strip("| ")) for line in lines if line.startswith("|")]
    cells = [[text(cell.strip().replace("\\|", "|")) for cell in row] for row in rows]
    shown = [table(cells[0], cells[2:])] if cells else []  # the second line is one of dashes
    return [*shown, *(p(line) for line in lines if not line.startswith("|"))]


def table(head: Iterable[str], rows: Iterable[list[str]]) -> str:
    """Of cells that are HTML already; the first of a row names it."""
    lines = [f"<thead><tr>{''.join(f'<th scope=col>{c}</th>' for c in head)}</tr></thead><tbody>"]
    for first, *cells in rows:
        inner = "".join(f"<td>{cell.replace(' %', '&nbsp;%')}</td>" for cell in cells)
        lines.append(f"<tr><th scope=row>{first}</th>{inner}</tr>")
    return f'<div class="wide" tabindex="0"><table>{"".join(lines)}</tbody></table></div>'


def pairs(values: Row) -> str:
    """Keys and values; an object's own as on the command line: a.b."""
    rows = []
    for key, value in values.items():
        inner = value if value and isinstance(value, dict) else {"": value}
        for name, own in inner.items():
            shown = own if isinstance(own, str) else json.dumps(own, ensure_ascii=False)
            rows.append([text(f"{key}.{name}".rstrip(".")), text(shown)])
    return table(["key", "value"], rows)


def p(line: object, kind: str = "") -> str:
    return f'<p class="{kind}">{text(line)}</p>' if line else ""


def text(value: object) -> str:
    """Whatever stands in a file, as text that is no HTML and can be printed."""
    return html.escape(printable(str(value)))


def folded(title: str, inner: str, state: str = "") -> str:
    return f"<details{state}><summary>{title}</summary>{inner}</details>"
