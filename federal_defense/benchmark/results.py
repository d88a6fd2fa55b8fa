"""What a benchmark's runs say: a table for each setting, and source recall against accuracy."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from extra_utils.config.reader import read_json
from extra_utils.run.metrics import SUMMARY_ROUNDS, Row, read_metrics
from federal_defense.benchmark.plan import Plan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BASELINE = "mean"  # the rule whose run without attack stands beside the others
MARKERS = "osD^v<>Phd*x"
COLUMNS = {
    "accuracy": "accuracy %",
    "source_recall": "source recall %",
    "attack_success_rate": "attack success %",
    "recall": "attackers found %",
    "precision": "flags that are right %",
    "flagged": "honest clients flagged %",
}
SHOWN = ("model_name", "num_clients", "num_train", "augment", "alpha", "global_epochs",
         "local_epochs", "batch_size", "lr")  # fmt: skip
UNSHOWN = ("type", "data_path", "output_dir", "world_size", "eval_points", "timeout_s")
OF_ATTACKERS = ("recall", "precision")  # columns that say nothing where nobody attacks


def is_done(folder: Path) -> bool:
    """Whether all is written; the samples are a run's last picture."""
    return (folder / "model.pth").is_file() and (folder / "samples.png").is_file()


def figures_of(folder: Path) -> dict[str, float | None]:
    """A run's figures over its last rounds, by column."""
    rows, _ = read_metrics(folder)
    (summary,) = [row for row in rows if row["kind"] == "summary"]
    clients = [row for row in rows if row["kind"] == "client"]
    last = max(row["round"] for row in clients) - SUMMARY_ROUNDS
    honest = [row for row in clients if row["round"] > last and not row["attacker"]]
    flags = honest and honest[0]["flagged"] is not None
    flagged = share_flagged(honest) if flags else None
    found = {key: summary[key] for key in list(COLUMNS)[:3]}
    return {**found, **summary["detection"], "flagged": flagged}


def share_flagged(rows: list[Row]) -> float:
    """Percent."""
    return 100 * statistics.fmean(bool(row["flagged"]) for row in rows)


class Spread(NamedTuple):
    """A figure over the seeds: mean and sample standard deviation (of one seed alone: None)."""

    mean: float
    deviation: float | None


def spread_of(values: list[float | None]) -> Spread | None:
    """None where no seed has the figure."""
    numbers = [value for value in values if value is not None]
    if not numbers:
        return None
    deviation = statistics.stdev(numbers) if len(numbers) > 1 else None
    return Spread(statistics.fmean(numbers), deviation)


Results = dict[tuple[str, float, str], dict[str, Spread | None]]


def collect(plan: Plan) -> Results:
    """What the seeds that are done say, by setting and rule."""
    found: dict[tuple[str, float, str], list[dict[str, float | None]]] = {}
    for cell in plan.cells():
        folder = plan.output_dir / cell.name
        if is_done(folder):
            found.setdefault(cell[:3], []).append(figures_of(folder))
    return {
        key: {column: spread_of([one[column] for one in runs]) for column in COLUMNS}
        for key, runs in found.items()
    }


def done_folders(plan: Plan) -> list[Path]:
    folders = (plan.output_dir / cell.name for cell in plan.cells())
    return [folder for folder in folders if is_done(folder)]


def table(plan: Plan, results: Results) -> str:
    """Markdown, one table for each setting."""
    parts = [label(plan)]
    for partition in plan.partitions:
        for fraction in plan.fractions:
            columns = [key for key in COLUMNS if fraction or key not in OF_ATTACKERS]
            head = [title_of(plan, partition, fraction), *(COLUMNS[key] for key in columns)]
            lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
            for defense in plan.defenses:
                figures = results.get((partition, fraction, defense))
                if figures is not None:
                    cells = [text_of(figures[key]) for key in columns]
                else:
                    reason = plan.refused.get((fraction, defense), "not run to its end")
                    cells = [reason, *[""] * (len(columns) - 1)]
                lines.append(f"| `{defense}` | {' | '.join(cells)} |")
            parts.append("\n".join(lines))
    return "\n\n".join(parts)


def title_of(plan: Plan, partition: str, fraction: float) -> str:
    if not fraction:
        return f"{partition}, no attack"
    return f"{partition}, {plan.num_attackers(fraction)} of {plan.base['num_clients']} attack"


def text_of(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    return f"{spread.mean:.1f}" + ("" if spread.deviation is None else f" ± {spread.deviation:.1f}")


def label(plan: Plan) -> str:
    """The exact setting, as the runs' own folders have it."""
    first = done_folders(plan)[0]
    config, dataset = read_json(first / "config.json"), dataset_of(first)
    shown = [*SHOWN, *(key for key in plan.base if key not in SHOWN and key not in UNSHOWN)]
    config["num_train"] = config["num_train"] or "all"
    settings = ", ".join(f"{key} {config[key]}" for key in shown)
    attack = ", ".join(f"{key} {value}" for key, value in plan.attack.items())
    seeds = ", ".join(map(str, plan.seeds))
    return (
        f"{dataset}: {settings}; attack: {attack}. The mean of the last {SUMMARY_ROUNDS} rounds, "
        f"over seeds {seeds} with the sample standard deviation. krum, multi_krum and trimmed_mean "
        "are told the number of attackers, oracle who they are."
    )


def dataset_of(folder: Path) -> str:
    """A run's data set by name, which says so where it is synthetic."""
    rows, _ = read_metrics(folder)
    return str(next(row["dataset"] for row in rows if row["kind"] == "run"))


def draw(plan: Plan, results: Results) -> Path:
    """Source recall against accuracy, a panel for each attacked setting."""
    from matplotlib.figure import Figure

    from extra_utils.plots.run_data import save

    fractions = [fraction for fraction in plan.fractions if fraction]
    rows, columns = len(plan.partitions), max(len(fractions), 1)
    figure = Figure(figsize=(5 * columns + 1.5, 4 * rows), layout="constrained")
    for row, partition in enumerate(plan.partitions):
        for column, fraction in enumerate(fractions):
            axes = figure.add_subplot(rows, columns, row * columns + column + 1)
            clean = results.get((partition, 0, BASELINE))
            if clean is not None:
                draw_point(axes, clean, f"{BASELINE}, no attack", marker="+", color="grey")
            for number, defense in enumerate(plan.defenses):
                found = results.get((partition, fraction, defense))
                if found is not None:
                    marker, color = MARKERS[number % len(MARKERS)], f"C{number % 10}"
                    draw_point(axes, found, defense, marker=marker, color=color)
            axes.set(xlabel="source recall (%)", ylabel="accuracy (%)",
                     title=title_of(plan, partition, fraction))  # fmt: skip
            axes.grid(alpha=0.3)
    handles = {name: handle for axes in figure.axes
               for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}  # fmt: skip
    figure.suptitle(dataset_of(done_folders(plan)[0]))
    figure.legend(handles.values(), handles.keys(), loc="outside right upper")
    path = plan.output_dir / "benchmark.png"
    save(figure, path)
    return path


def draw_point(
    axes: Axes, found: dict[str, Spread | None], name: str, *, marker: str, color: str
) -> None:
    x, y = found["source_recall"], found["accuracy"]
    if x is not None and y is not None:
        axes.errorbar(x.mean, y.mean, y.deviation, x.deviation, fmt=marker, color=color,
                      elinewidth=0.7, label=name)  # fmt: skip
