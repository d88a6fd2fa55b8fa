"""What a benchmark's runs say: a table for each setting, and source recall against accuracy."""

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from extra_utils.basics.files import write_whole
from extra_utils.config.reader import read_json
from extra_utils.plots.run_data import RunData, read_run
from extra_utils.plots.style import save
from extra_utils.run.metrics import SUMMARY_ROUNDS
from federal_defense.benchmark.plan import Plan

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
UNSHOWN = ("type", "data_path", "output_dir", "world_size", "eval_points", "timeout_s")


class Spread(NamedTuple):
    """A figure over the seeds: mean and sample standard deviation (of one seed alone: None)."""

    mean: float
    deviation: float | None


Figures = dict[str, Spread | None]  # by column
Results = dict[tuple[str, float, str], Figures]  # by partition, fraction and rule


def publish(plan: Plan) -> None:
    """Writes and prints the tables and the figure of all runs that are done."""
    runs: dict[tuple[str, float, str], list[RunData]] = {}
    for cell in plan.cells():
        if is_done(folder := plan.output_dir / cell.name):
            runs.setdefault(cell[:3], []).append(read_run(folder))
    if not runs:
        return
    results = {
        setting: {key: spread_of([run[key] for run in map(figures_of, group)]) for key in COLUMNS}
        for setting, group in runs.items()
    }
    first, *_ = next(iter(runs.values()))
    text = "\n\n".join([label(plan, first), *tables(plan, results)])
    path = plan.output_dir / "benchmark.png"
    write_whole(path.with_suffix(".md"), (text + "\n").encode())
    save(draw(plan, results, first.run["dataset"]), path)
    print(f"{text}\n\nfigure: {path}")


def is_done(folder: Path) -> bool:
    """Whether all is written; the samples are a run's last picture."""
    return (folder / "model.pth").is_file() and (folder / "samples.png").is_file()


def figures_of(run: RunData) -> dict[str, float | None]:
    """A run's figures over its last rounds, by column."""
    assert run.summary is not None
    last = run.clients[-1]["round"] - SUMMARY_ROUNDS
    honest = [row for row in run.clients if row["round"] > last and not row["attacker"]]
    flags = [row["flagged"] for row in honest if row["flagged"] is not None]
    flagged = 100 * statistics.fmean(flags) if flags else None
    found = {**run.summary, **run.summary["detection"], "flagged": flagged}
    return {key: found[key] for key in COLUMNS}


def spread_of(values: list[float | None]) -> Spread | None:
    """None where no seed has the figure."""
    numbers = [value for value in values if value is not None]
    if not numbers:
        return None
    deviation = statistics.stdev(numbers) if len(numbers) > 1 else None
    return Spread(statistics.fmean(numbers), deviation)


def text_of(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    return f"{spread.mean:.1f}" + ("" if spread.deviation is None else f" ± {spread.deviation:.1f}")


def label(plan: Plan, run: RunData) -> str:
    """The exact setting, as a run's own folder has it."""
    config = read_json(run.folder / "config.json")
    config["num_train"] = config["num_train"] or "all"
    shown = [*SHOWN, *(key for key in plan.base if key not in SHOWN and key not in UNSHOWN)]
    settings = ", ".join(f"{key} {config[key]}" for key in shown)
    attack = ", ".join(f"{key} {value}" for key, value in plan.attack.items())
    seeds = ", ".join(map(str, plan.seeds))
    return (
        f"{run.run['dataset']}: {settings}; attack: {attack}. The mean of the last "
        f"{SUMMARY_ROUNDS} rounds, over seeds {seeds} with the sample standard deviation. krum, "
        "multi_krum and trimmed_mean are told the number of attackers, oracle who they are."
    )


def tables(plan: Plan, results: Results) -> Iterator[str]:
    """Markdown, one for each setting."""
    for partition, fraction in plan.settings():
        columns = [key for key in COLUMNS if fraction or key not in OF_ATTACKERS]
        head = [title_of(plan, partition, fraction), *(COLUMNS[key] for key in columns)]
        lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        for defense in plan.defenses:
            reason = plan.refused.get((fraction, defense), "not run to its end")
            cells = [reason, *[""] * (len(columns) - 1)]
            if figures := results.get((partition, fraction, defense)):
                cells = [text_of(figures[key]) for key in columns]
            lines.append(f"| `{defense}` | {' | '.join(cells)} |")
        yield "\n".join(lines)


def title_of(plan: Plan, partition: str, fraction: float) -> str:
    if not fraction:
        return f"{partition}, no attack"
    return f"{partition}, {plan.num_attackers(fraction)} of {plan.base['num_clients']} attack"


def draw(plan: Plan, results: Results, dataset: str) -> Figure:
    """Source recall against accuracy, a panel for each attacked setting."""
    attacked = [(partition, fraction) for partition, fraction in plan.settings() if fraction]
    rows, columns = len(plan.partitions), max(sum(map(bool, plan.fractions)), 1)
    figure = Figure(figsize=(5 * columns + 1.5, 4 * rows), layout="constrained")
    handles: dict[str, Any] = {}
    for place, (partition, fraction) in enumerate(attacked, start=1):
        axes = figure.add_subplot(rows, columns, place)
        clean = results.get((partition, 0, "mean"), {})
        draw_point(axes, clean, "mean, no attack", "+", "grey")
        for number, defense in enumerate(plan.defenses):
            marker, color = MARKERS[number % len(MARKERS)], f"C{number % 10}"
            figures = results.get((partition, fraction, defense), {})
            draw_point(axes, figures, defense, marker, color)
        title = title_of(plan, partition, fraction)
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
