"""Every picture of a run, from its config.json and metrics.jsonl alone; the curves are here."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from extra_utils.plots import matrices, style
from extra_utils.plots.comparison import Group, cells
from extra_utils.plots.report import write_report
from extra_utils.plots.run_data import Array, RunData, column, read_run, say_once
from extra_utils.plots.style import ATTACKER, ATTACKER_MARK, GLOBAL, HONEST, marks, save
from extra_utils.run.metrics import Row

LABELS = {
    "accuracy": "accuracy on the test images (%)",
    "loss": "mean cross-entropy of a batch or test image (nats)",
}
HANDFUL = 6  # clients with a curve of their own
GRID = 10  # places in a round at which the band of all clients is drawn


def draw_run(folder: Path, formats: Iterable[str] = ("png",)) -> RunData:
    """Every picture that metrics.jsonl has the figures for; returns what was read."""
    run = read_run(folder)
    figures = {key: draw_curves(run, key) for key in ("accuracy", "loss")}
    figures["partition"] = matrices.draw_partition(run)
    if run.clients:
        figures["class_mean"] = matrices.draw_class_means(run)
    if any(row["flagged"] is not None for row in run.clients):
        figures["detection"] = matrices.draw_detection(run)
    if run.summary:
        figures["confusion_matrix"] = matrices.draw_confusion(run, run.summary)
    else:
        say_once(f"note: {folder}: the run has not ended: no confusion matrix")
    for name, figure in figures.items():
        for form in formats:
            save(figure, folder / f"{name}.{form}")
    return run


def report_run(folder: Path) -> Path:
    """The page of a run, once its pictures are drawn."""
    run = read_run(folder)
    return write_report(run, cells([Group("global model", [run], {})], None))


def draw_curves(run: RunData, key: str) -> Figure:
    """Clients' local points (of many a few have a curve, all a band) and the global model's."""
    figure, (axes,) = style.new_figure(3.2)
    by_client: dict[int, list[Row]] = {}
    for row in run.points:
        by_client.setdefault(row["client"], []).append(row)
    shown = choose_clients(sorted(by_client), run.attackers)
    if len(shown) < len(by_client):
        draw_band(axes, by_client, key)
    for number, client in enumerate(shown):
        places, values = with_gaps(by_client[client], key)
        color, note, line = HONEST[number % len(HONEST)], "", "o-"
        size = 4 if len(values) <= style.MOST_TICKS else np.clip(200 / len(values), 0.7, 2)
        how: dict[str, Any] = {"markersize": size, "markeredgewidth": 0}  # one alone is seen, too
        if client in run.attackers:
            color, note, line = ATTACKER, " (attacker)", f"{ATTACKER_MARK}--"
            how = marks(len(values) if np.isfinite(values).all() else 1)
        label, width = f"client {client}, local{note}", np.clip(300 / len(values), 0.3, 1)
        axes.plot(places, values, line, color=color, linewidth=width, label=label, **how)
    draw_global(axes, run, key)
    axes.set(xlabel="round", ylabel=LABELS[key])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    style.arrange(figure, f"{run.title}, {key}", run.setting)
    return figure


def choose_clients(clients: list[int], attackers: set[int]) -> list[int]:
    """The clients that get a curve: some attackers and the first others, a handful in all."""
    if len(clients) <= HANDFUL:
        return clients
    attacking = [client for client in clients if client in attackers][: HANDFUL // 2]
    others = [client for client in clients if client not in attackers]
    return sorted([*attacking, *others[: HANDFUL - len(attacking)]])


def with_gaps(points: list[Row], key: str) -> tuple[Array, Array]:
    """Places and values of a client's points, with a break where it sat out a round."""
    places, values = np.array(point_places(points)), column(points, key)
    gaps = np.flatnonzero(np.diff(column(points, "round")) > 1) + 1
    return np.insert(places, gaps, places[gaps]), np.insert(values, gaps, np.nan)


def point_places(points: list[Row]) -> list[float]:
    """Where a client's points lie on the axis of rounds: evenly within each round."""
    counts = sorted(Counter(row["round"] for row in points).items())
    return [number - 1 + (i + 1) / count for number, count in counts for i in range(count)]


def draw_band(axes: Axes, by_client: dict[int, list[Row]], key: str) -> None:
    """From the least to the largest of all clients' points."""
    # clients with few batches have few points, so each one's curve is read at the same places, in
    # each round from its first point on
    rounds = np.array(sorted({row["round"] for points in by_client.values() for row in points}))
    steps = np.linspace(0, 1, GRID + 1)[1:]
    grid = rounds[:, None] - 1 + steps  # [rounds, GRID]
    curves = np.full((len(by_client), *grid.shape), np.nan)
    for curve, points in zip(curves, by_client.values(), strict=True):
        counts = (column(points, "round") == rounds[:, None]).sum(axis=1, keepdims=True)
        begun = counts * (steps + 1e-9) >= 1
        curve[begun] = np.interp(grid[begun], point_places(points), column(points, key))
    seen = ~np.isnan(curves).all(axis=0)
    low, high = (extreme(curves[:, seen], axis=0) for extreme in (np.nanmin, np.nanmax))
    label = f"all {len(by_client)} clients, local"
    axes.fill_between(grid[seen], low, high, color="lightgrey", alpha=0.6, label=label)


def draw_global(axes: Axes, run: RunData, key: str) -> None:
    """The global model after each round; round 0 is the untrained model."""
    places, values = column(run.rounds, "round"), column(run.rounds, key)
    how = marks(len(places), linewidth=2)
    axes.plot(places, values, "o-", color=GLOBAL, label="global model", **how)
    if key == "accuracy" and run.attacked and run.rounds:
        source, target = run.attacked
        recall, success = (column(run.rounds, k) for k in ("source_recall", "attack_success_rate"))
        taken = f"global, {source} taken for {target}"
        axes.plot(places, recall, "v-", color="grey", label=f"global, recall of {source}", **how)
        axes.plot(places, success, "^:", color="grey", label=taken, **how)
