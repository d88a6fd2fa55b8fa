"""Draws a run's folder, or compares several; reads config.json and metrics.jsonl only.

python -m extra_utils.plots runs/a              # redraw one run
python -m extra_utils.plots runs/a runs/b ...   # compare them in one figure and one table
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from extra_utils.compare import compare_runs
from extra_utils.errors import ConfigError
from extra_utils.figures import ATTACKER, GLOBAL, HONEST, RunData, draw_matrix, read_run, save
from extra_utils.metrics import Row


def draw_run(folder: Path) -> None:
    """Every picture that metrics.jsonl has the figures for."""
    run = read_run(folder)
    draw_curves(run, "accuracy", "accuracy on the test images (%)")
    draw_curves(run, "loss", "mean cross-entropy of a batch or test image")
    if run.clients:
        draw_class_means(run)
    if run.summary:
        draw_confusion(run, run.summary)


def draw_curves(run: RunData, key: str, label: str) -> None:
    """accuracy.png and loss.png: each client's local points, and the global model's rounds."""
    figure = Figure(figsize=(9, 5.5))
    axes = figure.add_subplot()
    for number, client in enumerate(sorted({row["client"] for row in run.points})):
        points = [row for row in run.points if row["client"] == client]
        is_attacker = client in run.attackers
        axes.plot(
            point_places(points),
            [row[key] for row in points],
            color=ATTACKER if is_attacker else HONEST[number % len(HONEST)],
            linestyle="--" if is_attacker else "-",
            linewidth=1,
            label=f"client {client}, local{' (attacker)' if is_attacker else ''}",
        )
    draw_global(axes, run, key)
    axes.set(xlabel="round", ylabel=label, title=f"{run.title}, {key}")
    axes.grid(alpha=0.3)
    axes.legend()
    save(figure, run.folder / f"{key}.png")


def draw_global(axes: Axes, run: RunData, key: str) -> None:
    """The global model after each round; round 0 is the untrained model."""
    places = [row["round"] for row in run.rounds]
    values = [row[key] for row in run.rounds]
    axes.plot(places, values, color=GLOBAL, marker="o", linewidth=2, label="global model")
    if key == "accuracy" and run.rounds and run.rounds[-1]["source_recall"] is not None:
        attack = run.config["attack"]
        names = run.run["class_names"]
        source, target = names[attack["source"]], names[attack["target"]]
        recall = [row["source_recall"] for row in run.rounds]
        success = [row["attack_success_rate"] for row in run.rounds]
        axes.plot(places, recall, color="grey", marker="v", label=f"global, recall of {source}")
        axes.plot(places, success, color="grey", marker="^", linestyle=":",
                  label=f"global, {source} taken for {target}")  # fmt: skip


def point_places(points: list[Row]) -> list[float]:
    """Where a client's points lie on the axis of rounds: evenly within each round."""
    places = []
    rounds = [row["round"] for row in points]
    for round_index in sorted(set(rounds)):
        count = rounds.count(round_index)
        places += [round_index - 1 + (number + 1) / count for number in range(count)]
    return places


def draw_class_means(run: RunData) -> None:
    """class_mean.png: the weight matrix of the last round, and each class over the rounds."""
    last = [row for row in run.clients if row["round"] == run.clients[-1]["round"]]
    values = np.array([row["class_mean"] for row in last])  # [clients, C]
    figure = Figure(figsize=(1.5 + 0.8 * values.shape[1], 2.2 + 0.35 * min(len(last), 40)))
    axes = figure.add_subplot()
    draw_matrix(axes, values, [client_name(r) for r in last], run.run["class_names"],
                numbers=".3f", diverging=True)  # fmt: skip
    mark_attackers(axes, last)
    axes.set_title(f"{run.title}, class means of the last layer, round {last[0]['round']}")
    save(figure, run.folder / "class_mean.png")


def client_name(row: Row) -> str:
    notes = [note for note in ("attacker", "flagged") if row[note]]
    return f"client {row['client']}" + (f" ({', '.join(notes)})" if notes else "")


def mark_attackers(axes: Axes, rows: list[Row]) -> None:
    for label, row in zip(axes.get_yticklabels(), rows, strict=False):
        label.set_color(ATTACKER if row["attacker"] else "black")
        label.set_fontweight("bold" if row["flagged"] else "normal")


def draw_confusion(run: RunData, summary: Row) -> None:
    """confusion_matrix.png: the final global model, each row in percent of its true class."""
    counts = np.array(summary["confusion_matrix"], dtype=np.float64)  # [C, C]
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(2 + 0.75 * len(counts), 1.5 + 0.6 * len(counts)))
    axes = figure.add_subplot()
    names = run.run["class_names"]
    draw_matrix(axes, shares, names, names, numbers=".1f")
    axes.set(xlabel="predicted", ylabel="true", title=f"{run.title}, final model, % of true class")
    save(figure, run.folder / "confusion_matrix.png")


def main(argv: list[str]) -> int:
    """Exit status 2 where a folder is not that of a run."""
    folders = [Path(name) for name in argv]
    if not folders or argv[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if folders else 2
    try:
        if len(folders) == 1:
            draw_run(folders[0])
        else:
            print(compare_runs(folders))
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
