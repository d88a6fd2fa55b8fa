"""What a benchmark's runs say: a table for each setting, and source recall against accuracy."""

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from extra_utils.basics.files import write_whole
from extra_utils.basics.spread import Spread, spread_of
from extra_utils.config.values import read_json
from extra_utils.plots.run_data import RunData, read_run
from extra_utils.plots.style import save
from extra_utils.run.metrics import SUMMARY_ROUNDS
from federal_defense.benchmark.plan import Plan

MOST_COLUMNS = 2  # of panels
MARKERS = "osD^v<>Phd*x"
COLUMNS = {
    "accuracy": "accuracy %",
    "source_recall": "source recall %",
    "attack_success_rate": "attack success %",
    "recall": "attackers found %",
    "precision": "flags that are right %",
    "flagged": "honest clients flagged %",
}
OF_ATTACKERS = ("recall", "precision")  # columns that say nothing where nobody attacks
SHOWN = ["model_name", "num_clients", "num_train", "augment", "alpha"]
SHOWN += ["global_epochs", "local_epochs", "batch_size", "lr"]
UNSHOWN = ["comment", "attack", "defense", "type", "data_path", "output_dir", "world_size"]
UNSHOWN += ["eval_points", "timeout_s"]


Figures = dict[str, Spread | None]  # by column
Results = dict[tuple[str, str], Figures]  # by table and rule


def publish(plan: Plan, folder: Path) -> str:
    """Writes ``benchmark.md`` and ``benchmark.png`` of all runs that are done; the tables."""
    runs: dict[tuple[str, str], list[RunData]] = {}
    for cell in plan.cells:
        if not cell.refused and (folder / cell.name / "model.pth").is_file():
            runs.setdefault((cell.table, cell.rule), []).append(read_run(folder / cell.name))
    if not runs:
        return "no run has come to its end"
    results = {
        place: {key: spread_of([run[key] for run in map(figures_of, group)]) for key in COLUMNS}
        for place, group in runs.items()
    }
    first, *_ = next(iter(runs.values()))
    text = "\n\n".join([label(plan, first), *tables(plan, results)])
    path = folder / "benchmark.png"
    write_whole(path.with_suffix(".md"), (text + "\n").encode("utf-8", "backslashreplace"))
    save(draw(plan, results, first.run["dataset"]), path)
    return f"{text}\n\nfigure: {path}"


def figures_of(run: RunData) -> dict[str, float | None]:
    """A run's figures over its last rounds, by column."""
    assert run.summary is not None
    last = run.clients[-1]["round"] - SUMMARY_ROUNDS
    honest = [row for row in run.clients if row["round"] > last and not row["attacker"]]
    flags = [row["flagged"] for row in honest if row["flagged"] is not None]
    flagged = 100 * statistics.fmean(flags) if flags else None
    found = {**run.summary, **run.summary["detection"], "flagged": flagged}
    return {key: found[key] for key in COLUMNS}


def label(plan: Plan, run: RunData) -> str:
    """The exact setting, as a run's own folder has it."""
    config = read_json(run.folder / "config.json")
    config["num_train"] = config["num_train"] or "all"
    own = [key for key in read_json(plan.sweep.path) if key in config]
    keys = [*SHOWN, *(key for key in own if key not in (*SHOWN, *UNSHOWN))]
    settings = ", ".join(f"{key} {config[key]}" for key in keys if key not in plan.sweep.lists)
    attack = {k: v for k, v in (config["attack"] or {}).items() if k not in ("clients", "fraction")}
    about = ", ".join(f"{key} {value}" for key, value in attack.items()) or "none"
    seeds = ", ".join(map(str, plan.sweep.lists.get("seed", [config["seed"]])))
    return (
        f"{run.run['dataset']}: {settings}; attack: {about}. The mean of the last "
        f"{SUMMARY_ROUNDS} rounds, over seeds {seeds} with the sample standard deviation. krum, "
        "multi_krum and trimmed_mean are told the number of attackers, oracle who they are."
    )


def tables(plan: Plan, results: Results) -> Iterator[str]:
    """Markdown, one for each setting."""
    refused = {(cell.table, cell.rule): cell.refused for cell in plan.cells if cell.refused}
    for title in plan.tables:
        is_attacked = title not in plan.clean.values()
        columns = [key for key in COLUMNS if is_attacked or key not in OF_ATTACKERS]
        lines = [f"| {' | '.join([title, *(COLUMNS[key] for key in columns)])} |"]
        lines.append("|---" * (len(columns) + 1) + "|")
        for rule in plan.rules:
            reason = refused.get((title, rule), "not run to its end")
            cells = [reason, *[""] * (len(columns) - 1)]
            if figures := results.get((title, rule)):
                cells = [spread.text() if (spread := figures[key]) else "-" for key in columns]
            lines.append(f"| `{rule}` | {' | '.join(cells)} |")
        yield "\n".join(lines)


def draw(plan: Plan, results: Results, dataset: str) -> Figure:
    """Source recall against accuracy, a panel for each attacked setting."""
    attacked = [title for title in plan.tables if title not in plan.clean.values()]
    columns = min(len(attacked), MOST_COLUMNS) or 1
    rows = -(-len(attacked) // columns) or 1
    figure = Figure(figsize=(5 * columns + 1.5, 4 * rows), layout="constrained")
    handles: dict[str, Any] = {}
    for place, title in enumerate(attacked, start=1):
        axes = figure.add_subplot(rows, columns, place)
        clean = results.get((plan.clean.get(title, ""), "mean"), {})
        draw_point(axes, clean, "mean, no attack", "+", "grey")
        for number, rule in enumerate(plan.rules):
            marker, color = MARKERS[number % len(MARKERS)], f"C{number % 10}"
            draw_point(axes, results.get((title, rule), {}), rule, marker, color)
        axes.set(xlabel="source recall (%)", ylabel="accuracy (%)", title=title)
        axes.grid(alpha=0.3)
        points, names = axes.get_legend_handles_labels()
        handles |= zip(names, points, strict=True)
    figure.suptitle(dataset)
    figure.legend(handles.values(), handles.keys(), loc="outside right upper")
    return figure


def draw_point(axes: Axes, found: Figures, name: str, marker: str, color: str) -> None:
    x, y = found.get("source_recall"), found.get("accuracy")
    if x and y:
        bars: dict[str, Any] = {"xerr": x.deviation, "yerr": y.deviation, "elinewidth": 0.7}
        axes.errorbar(x.mean, y.mean, fmt=marker, color=color, label=name, **bars)
