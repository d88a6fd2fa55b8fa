"""Several runs in one figure and one table; runs that differ in their seed become one curve."""

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from extra_utils.basics.errors import printable
from extra_utils.basics.files import write_json, write_whole
from extra_utils.basics.spread import Spread, difference_of, spread_of, with_doubt
from extra_utils.config.sweep import Combination, Part, part_of
from extra_utils.plots import style
from extra_utils.plots.report import write_sweep_report
from extra_utils.plots.run_data import SEPARATOR, RunData, column, read_run, readable
from extra_utils.plots.style import HONEST, marks, save
from extra_utils.run.metrics import FILE_NAME, SUMMARY_ROUNDS

ANY_VALUE = ("seed", "world_size", "timeout_s", "checkpoint_every", "output_dir", "data_path")
MARKERS = "osD^v<P"  # one more than colours, so that more groups than either look different
PANELS = {
    "accuracy": "accuracy (%)",
    "source_recall": "recall of the source class (%)",
    "attack_success_rate": "source taken for target (%)",
}
COLUMNS = {
    "accuracy": "accuracy %",
    "loss": "loss",
    "source_recall": "source recall %",
    "attack_success_rate": "attack success %",
    "recall": "attackers found %",
    "precision": "flags that are right %",
    "flagged": "honest clients flagged %",
}
PAIRED = ("accuracy", "source_recall")  # columns of which the difference is told
NOTES = f"Means of the last {SUMMARY_ROUNDS} rounds, over n seeds with sample standard deviations."
PAIRED_NOTES = (
    ' "less {}": the difference to the run of the same seed with it, a mean over the seeds with '
    "half the 95 % interval (Student's t)."
)


class Group(NamedTuple):
    """Runs of one setting under several seeds."""

    name: str
    runs: list[RunData]
    choice: dict[str, str]  # of a sweep: by key the value that this setting has of several

    def spread(self, key: str) -> Spread | None:
        """Over the runs that have come to their end, in percent but for the loss."""
        return spread_of(figures_of(run)[key] for run in self.runs if run.summary)

    def less(self, groups: "list[Group]", baseline: Part | None, key: str) -> Spread | None:
        """The paired difference to the runs of the same seeds that have the baseline's value."""
        # seed by seed, since honest draws are the same whatever attacks and defends
        wanted = self.choice | dict([baseline]) if baseline else None
        other = next((group for group in groups if group.choice == wanted), self)
        if other is self:
            return None
        mine, others = (
            {run.config.get("seed"): run.summary[key] for run in group.runs if run.summary}
            for group in (self, other)
        )
        return difference_of((mine[seed], others[seed]) for seed in mine.keys() & others.keys())


def figures_of(run: RunData) -> dict[str, float | None]:
    """A finished run's figures over its last rounds, by column."""
    assert run.summary is not None
    last = run.clients[-1]["round"] - SUMMARY_ROUNDS if run.clients else 0
    honest = [row for row in run.clients if row["round"] > last and not row["attacker"]]
    flags = [row["flagged"] for row in honest if row["flagged"] is not None]
    flagged = 100 * statistics.fmean(flags) if flags else None
    found = {**run.summary, **run.summary.get("detection", {}), "flagged": flagged}
    return {key: found.get(key) for key in COLUMNS}


def compare_runs(folders: list[Path], formats: Iterable[str] = ("png",)) -> str:
    """Draws ``comparison.png`` beside the first folder; returns a Markdown table and its place."""
    groups = group_by_setting([read_run(folder) for folder in folders])
    figure, paths = draw(groups), [folders[0].parent / f"comparison.{form}" for form in formats]
    for path in paths:
        save(figure, path)
    places = printable(", ".join(map(str, paths)))
    return f"{markdown(cells(groups, None))}\n\ncomparison: {places}"


def compare_sweep(folder: Path, runs: list[Combination], baseline: Part | None) -> str:
    """Writes ``comparison.*`` and the page; returns the table."""
    places = [folder / run.name for run in runs]
    known = {p.name: read_run(p) if (p / FILE_NAME).is_file() else None for p in places}
    found: dict[str, Group] = {}
    for name, _, shown in runs:
        if (run := known[name]) and run.summary:
            title = ", ".join(part_of(*part) for part in shown.items()) or run.config["name"]
            found.setdefault(title, Group(title, [], shown)).runs.append(run)
    groups = list(found.values())
    table = cells(groups, baseline)
    notes = NOTES + (PAIRED_NOTES.format(part_of(*baseline)) if baseline else "")
    late = [f"not run to its end: {n}" for n, run in known.items() if not (run and run.summary)]
    text = "\n\n".join([markdown(table), notes, *late])
    write_whole(folder / "comparison.md", text)
    write_json(folder / "comparison.json", as_json(groups, baseline))
    if groups:
        save(draw(groups), folder / "comparison.png")
    write_sweep_report(folder, known, table, notes)
    return text


def group_by_setting(runs: list[RunData]) -> list[Group]:
    """Runs of one setting, by its name, or by their first folder where another one has it."""
    groups: dict[str, Group] = {}  # by all of a config that matters but the seed
    for run in runs:
        config = {key: value for key, value in run.config.items() if key not in ANY_VALUE}
        config["attack"] = [  # of drawn attackers the number matters
            attack | {"clients": len(attack.get("clients", []))} for attack in config["attack"]
        ]
        setting = json.dumps(config, sort_keys=True)
        name, taken = run.config["name"], [group.name for group in groups.values()]
        name = f"{name} ({readable(run.folder.name)})" if name in taken else name
        groups.setdefault(setting, Group(name, [], {})).runs.append(run)
    return list(groups.values())


def cells(groups: list[Group], baseline: Part | None) -> list[list[str]]:
    """The table: its head, and a row for each setting; figures that no run has are left out."""
    spreads = [{key: group.spread(key) for key in COLUMNS} for group in groups]
    shown = [key for key in COLUMNS if any(own[key] for own in spreads)]
    if "recall" not in shown:  # without attackers no flag can be right
        shown = [key for key in shown if key != "precision"]
    paired = [key for key in PAIRED if baseline and key in shown]
    head = ["setting", "n", *(COLUMNS[key] for key in shown)]
    head += [f"{COLUMNS[key]} less {part_of(*baseline)}" for key in paired if baseline]
    rows = []
    for group, own in zip(groups, spreads, strict=True):
        row = [group.name, str(len(group.runs))]
        figures = [(own[key], 2 if key == "loss" else 1) for key in shown]
        row += [with_doubt(*spread[:2], digits) if spread else "-" for spread, digits in figures]
        less = [group.less(groups, baseline, key) for key in paired]
        row += [f"{with_doubt(d.mean, d.half, sign='+')} (n = {d.n})" if d else "-" for d in less]
        rows.append(row)
    return [head, *rows]


def as_json(groups: list[Group], baseline: Part | None) -> dict[str, Any]:
    """The table with all digits; the differences' ``half`` is half the 95 % interval."""
    rows = []
    for group in groups:
        own: dict[str, Any] = {"setting": group.name, "runs": [r.folder.name for r in group.runs]}
        own |= {key: s and s._asdict() for key in COLUMNS for s in [group.spread(key)]}
        less = ((key, group.less(groups, baseline, key)) for key in PAIRED)
        own["less"] = {k: d and {"mean": d.mean, "half": d.half, "n": d.n} for k, d in less}
        rows.append(own)
    return {"baseline": baseline and part_of(*baseline), "rows": rows}


def markdown(found: list[list[str]]) -> str:
    head, *rows = [f"| {' | '.join(row)} |" for row in found]
    return "\n".join([head, "|---" * len(found[0]) + "|", *rows])


def draw(groups: list[Group]) -> Figure:
    """By figure and round each setting's mean over the seeds, in a band from lowest to highest."""
    figure, panels = style.new_figure(len(PANELS))
    for axes, (key, label) in zip(panels, PANELS.items(), strict=True):
        for number, (name, runs, _) in enumerate(groups):
            length = min(len(run.rounds) for run in runs)
            values = np.array([column(run.rounds[:length], key) for run in runs])  # [runs, rounds]
            if not length or np.isnan(values).any():
                continue
            places = column(runs[0].rounds[:length], "round")
            curve = name if len(runs) == 1 else f"{name}, {len(runs)} seeds"
            color, marker = HONEST[number % len(HONEST)], MARKERS[number % len(MARKERS)]
            how = marks(len(places), marker=marker)
            axes.plot(places, values.mean(axis=0), "-", color=color, label=curve, **how)
            if len(runs) > 1:
                low, high = values.min(axis=0), values.max(axis=0)
                axes.fill_between(places, low, high, color=color, alpha=0.2)
        axes.set(xlabel="round", ylabel=label, ylim=(-2, 102))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.grid(alpha=0.3)
    drawn = [run for group in groups for run in group.runs]
    title = f"comparison: {', '.join(sorted({run.run['dataset'] for run in drawn}))}"
    style.arrange(figure, title, shared_setting(drawn), 2.2)
    return figure


def shared_setting(runs: list[RunData]) -> str:
    """What the runs have in common, in a few words."""
    parts = [run.setting.split(SEPARATOR) for run in runs]
    return SEPARATOR.join(part for part in parts[0] if all(part in own for own in parts))
