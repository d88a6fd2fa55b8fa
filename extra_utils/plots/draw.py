"""Draws a run's folder, or compares several; reads config.json and metrics.jsonl only.

python -m extra_utils.plots.draw runs/a              # redraw one run
python -m extra_utils.plots.draw runs/a runs/b ...   # compare them in one figure and one table
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from extra_utils.plots.run_data import (
    ATTACKER,
    GLOBAL,
    HONEST,
    MOST_NAMES,
    RunData,
    draw_matrix,
    read_run,
    save,
)
from extra_utils.run.metrics import Row

HANDFUL = 6  # clients with a curve of their own
GRID = 10  # places in a round at which the band of all clients is drawn


def draw_run(folder: Path) -> None:
    """Every picture that metrics.jsonl has the figures for."""
    run = read_run(folder)
    draw_curves(run, "accuracy", "accuracy on the test images (%)")
    draw_curves(run, "loss", "mean cross-entropy of a batch or test image")
    draw_partition(run)
    if run.clients:
        draw_class_means(run)
    if any(row["flagged"] is not None for row in run.clients):
        draw_detection(run)
    if run.summary:
        draw_confusion(run, run.summary)
    else:
        print(f"note: {folder}: the run has not ended: no confusion matrix", file=sys.stderr)


def draw_curves(run: RunData, key: str, label: str) -> None:
    """accuracy.png and loss.png: the clients' local points, and the global model's rounds.

    Of many clients a few have their own curve; a band goes from the least to the largest of all.
    """
    figure = Figure(figsize=(9, 5.5))
    axes = figure.add_subplot()
    by_client: dict[int, list[Row]] = {}
    for row in run.points:
        by_client.setdefault(row["client"], []).append(row)
    shown = choose_clients(sorted(by_client), run.attackers)
    if len(shown) < len(by_client):
        draw_band(axes, by_client, key)
    for number, client in enumerate(shown):
        points = by_client[client]
        is_attacker = client in run.attackers
        axes.plot(
            *with_gaps(points, key),
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


def choose_clients(clients: list[int], attackers: set[int]) -> list[int]:
    """The clients that get a curve: client 0, some attackers, and others, a handful in all."""
    if len(clients) <= HANDFUL:
        return clients
    first = [c for c in clients if c == 0] + [c for c in clients if c in attackers][: HANDFUL // 2]
    wanted = list(dict.fromkeys(first))
    others = [c for c in clients if c not in wanted and c not in attackers]
    return sorted(wanted + others[: HANDFUL - len(wanted)])


def with_gaps(points: list[Row], key: str) -> tuple[list[float], list[float]]:
    """Places and values of a client's points, with a break where it sat out a round."""
    places: list[float] = []
    values: list[float] = []
    before = None
    for place, row in zip(point_places(points), points, strict=True):
        if before is not None and row["round"] > before + 1:
            places.append(place)
            values.append(math.nan)
        before = row["round"]
        places.append(place)
        values.append(number_of(row, key))
    return places, values


def draw_band(axes: Axes, by_client: dict[int, list[Row]], key: str) -> None:
    """From the least to the largest of all clients' points.

    Clients with few batches have few points, so each one's curve is read at the same places.
    """
    curves: list[NDArray[np.float64]] = []
    rounds = sorted({row["round"] for points in by_client.values() for row in points})
    steps = np.linspace(0, 1, GRID + 1)[1:]
    grid = np.concatenate([number - 1 + steps for number in rounds])
    for points in by_client.values():
        curve = np.full(len(grid), np.nan)
        places, values = (
            np.array(point_places(points)),
            np.array([number_of(row, key) for row in points]),
        )
        for round_index in {row["round"] for row in points}:
            own = np.array([row["round"] == round_index for row in points])
            inside = (grid > round_index - 1) & (grid <= round_index)
            inside &= grid >= places[own].min() - 1e-9
            curve[inside] = np.interp(grid[inside], places[own], values[own])
        curves.append(curve)
    seen = ~np.isnan(np.array(curves)).all(axis=0)
    low, high = (f(np.array(curves)[:, seen], axis=0) for f in (np.nanmin, np.nanmax))
    label = f"all {len(by_client)} clients, local"
    axes.fill_between(grid[seen], low, high, color="lightgrey", alpha=0.6, label=label)


def draw_global(axes: Axes, run: RunData, key: str) -> None:
    """The global model after each round; round 0 is the untrained model."""
    places = [row["round"] for row in run.rounds]
    values = [number_of(row, key) for row in run.rounds]
    axes.plot(places, values, color=GLOBAL, marker="o", linewidth=2, label="global model")
    if key == "accuracy" and run.attacked and run.rounds:
        source, target = run.attacked
        recall, success = (
            [number_of(row, key) for row in run.rounds]
            for key in ("source_recall", "attack_success_rate")
        )
        axes.plot(places, recall, color="grey", marker="v", label=f"global, recall of {source}")
        axes.plot(places, success, color="grey", marker="^", linestyle=":",
                  label=f"global, {source} taken for {target}")  # fmt: skip


def number_of(row: Row, key: str) -> float:
    """The figure, or a gap in the curve where it is null."""
    return math.nan if row[key] is None else float(row[key])


def point_places(points: list[Row]) -> list[float]:
    """Where a client's points lie on the axis of rounds: evenly within each round."""
    places = []
    rounds = [row["round"] for row in points]
    for round_index in sorted(set(rounds)):
        count = rounds.count(round_index)
        places += [round_index - 1 + (number + 1) / count for number in range(count)]
    return places


def draw_class_means(run: RunData) -> None:
    """class_mean.png: the weight matrix, clients x classes, of the last round.

    The colours show how far each client is from the others, since classes differ anyway.
    """
    last = [row for row in run.clients if row["round"] == run.clients[-1]["round"]]
    title = f"{run.title}, class means of the last layer, round {last[0]['round']}"
    values = np.array([row["class_mean"] for row in last])
    figure = draw_clients(run, last, values, title, numbers=".3f",
                          shades=values - np.median(values, axis=0))  # fmt: skip
    figure.axes[1].set_ylabel("above or below the clients' median")
    save(figure, run.folder / "class_mean.png")


def draw_partition(run: RunData) -> None:
    """partition.png: how many images of each class each client holds."""
    counts = run.run["class_counts"]
    attackers = set((run.config["attack"] or {}).get("clients", []))
    rows = [{"client": c, "attacker": c in attackers, "flagged": None} for c in range(len(counts))]
    title = f"{run.title}, training images by client and class"
    figure = draw_clients(run, rows, np.array(counts, dtype=np.float64), title, numbers=".0f")
    save(figure, run.folder / "partition.png")


def draw_clients(
    run: RunData, rows: list[Row], values: NDArray[np.float64], title: str,
    *, numbers: str, shades: NDArray[np.float64] | None = None,
) -> Figure:  # fmt: skip
    """Clients x classes in colours; attackers' names are red, flagged clients' bold.

    Many clients have no names: red arrows point at attackers, black ones at flagged clients.
    """
    columns, lines = (min(size, MOST_NAMES) for size in (len(values[0]), len(rows)))
    figure = Figure(figsize=(2 + 0.8 * columns, 2.2 + 0.35 * lines))
    axes = figure.add_subplot()
    draw_matrix(axes, values, run.run["class_names"], numbers=numbers, shades=shades)
    axes.set_title(title)
    name_clients(axes, rows, edge=values.shape[1] - 0.5)
    return figure


def name_clients(axes: Axes, rows: list[Row], *, edge: float) -> None:
    """Beside a matrix whose last column ends at ``edge``: names, or arrows where they are many."""
    if len(rows) > MOST_NAMES:
        point_at(axes, rows, "attacker", ATTACKER, place=-0.6, marker=">")
        point_at(axes, rows, "flagged", "black", place=edge + 0.1, marker="<")
        axes.set_ylabel(f"{len(rows)} clients, attackers red")
        return
    axes.set_yticks(range(len(rows)), [client_name(row) for row in rows])
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(ATTACKER if row["attacker"] else "black")
        label.set_fontweight("bold" if row["flagged"] else "normal")


def draw_detection(run: RunData) -> None:
    """detection.png: clients x rounds, who was left out; attackers' names are red."""
    clients = sorted({row["client"] for row in run.clients})
    rounds = sorted({row["round"] for row in run.clients})
    seen = np.zeros((len(clients), len(rounds)))  # 0: not in the round, 1: kept, 2: flagged
    for row in run.clients:
        seen[clients.index(row["client"]), rounds.index(row["round"])] = 1 + bool(row["flagged"])
    lines, columns = min(len(clients), MOST_NAMES), min(len(rounds), MOST_NAMES)
    figure = Figure(figsize=(3.5 + 0.3 * columns, 1.5 + 0.25 * lines))
    axes = figure.add_subplot()
    colors = ListedColormap(["white", "lightgrey", "black"])
    axes.imshow(seen, cmap=colors, vmin=0, vmax=2, aspect="auto", interpolation="none")
    last = {row["client"]: row for row in run.clients}
    name_clients(axes, [{**last[c], "attacker": c in run.attackers, "flagged": None}
                        for c in clients], edge=len(rounds) - 0.5)  # fmt: skip
    step = -(-len(rounds) // columns)
    axes.set_xticks(range(0, len(rounds), step), [str(number) for number in rounds[::step]])
    axes.set(xlabel="round", title=f"{run.title}, left out by {run.rule}")
    handles = [Patch(color="lightgrey", label="kept"), Patch(color="black", label="left out")]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1))
    save(figure, run.folder / "detection.png")


def point_at(
    axes: Axes, rows: list[Row], key: str, color: str, *, place: float, marker: str
) -> None:
    """Arrows beside the rows of which ``key`` is true."""
    marked = [number for number, row in enumerate(rows) if row[key]]
    size = min(30.0, 3000 / len(rows))
    axes.scatter([place] * len(marked), marked, color=color, marker=marker, s=size, clip_on=False)


def client_name(row: Row) -> str:
    notes = [note for note in ("attacker", "flagged") if row[note]]
    return f"client {row['client']}" + (f" ({', '.join(notes)})" if notes else "")


def draw_confusion(run: RunData, summary: Row) -> None:
    """confusion_matrix.png: the final global model, each row in percent of its true class."""
    counts = np.array(summary["confusion_matrix"], dtype=np.float64)  # [C, C]
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = min(len(counts), MOST_NAMES)
    figure = Figure(figsize=(2 + 0.75 * size, 1.5 + 0.6 * size))
    axes = figure.add_subplot()
    names = run.run["class_names"]
    draw_matrix(axes, shares, names, numbers=".1f")
    if len(names) <= MOST_NAMES:
        axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true", title=f"{run.title}, final model, % of true class")
    save(figure, run.folder / "confusion_matrix.png")
