"""Every picture of a run, from its config.json and metrics.jsonl alone."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from extra_utils.plots import style
from extra_utils.plots.comparison import Group, cells
from extra_utils.plots.report import write_report
from extra_utils.plots.run_data import Array, RunData, column, read_run, say_once
from extra_utils.plots.style import ATTACKER, ATTACKER_MARK, GLOBAL, HONEST, marks, save
from extra_utils.run.metrics import Row

LABELS = {
    "accuracy": "accuracy on the test images (%)",
    "loss": "mean cross-entropy of a batch or test image (nats)",
}
HANDFUL = 6  # clients with a colour of their own
NUMBERED, DIGITS = (20, 10), 6  # rows and columns of a matrix in numbers, and their points
CELL, ROW, SCALE = 0.33, 0.2, 0.14  # inches, of a cell's width and height, and of a colour bar
Form = tuple[str, str, str]  # a title, the numbers' form (like ".1f"), and what the colours show
HEIGHTS = (2.2, 6.0)  # inches, of a matrix


def draw_run(folder: Path, formats: Iterable[str] = ("png",)) -> RunData:
    """Every picture that metrics.jsonl has the figures for; returns what was read."""
    run = read_run(folder)
    figures = {key: draw_curves(run, key) for key in ("accuracy", "loss")}
    figures["partition"] = draw_partition(run)
    if run.clients:
        figures["class_mean"] = draw_class_means(run)
    if any(row["flagged"] is not None for row in run.clients):
        figures["detection"] = draw_detection(run)
    if run.summary:
        figures["confusion_matrix"] = draw_confusion(run, run.summary)
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
    """Clients' local points (of many all but a few are grey) and the global model's."""
    figure, (axes,) = style.new_figure()
    by_client: dict[int, list[Row]] = {}
    for row in run.points:
        by_client.setdefault(row["client"], []).append(row)
    shown = choose_clients(sorted(by_client), run.attackers)
    others = by_client.keys() - set(shown)
    thin: dict[str, Any] = {"linewidth": 0.6, "markersize": 1.5, "markeredgewidth": 0}
    for client in sorted(others):
        label = f"{len(others)} other clients, local"
        curve = point_places(by_client[client]), column(by_client[client], key)
        axes.plot(*curve, "o-", color="lightgrey", label=label, **thin)
    for number, client in enumerate(shown):
        places, values = point_places(by_client[client]), column(by_client[client], key)
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
    style.arrange(figure, f"{run.title}, {key}", run.setting, 3.2)
    return figure


def choose_clients(clients: list[int], attackers: set[int]) -> list[int]:
    """The clients that get a colour: some attackers and the first others, a handful in all."""
    if len(clients) <= HANDFUL:
        return clients
    attacking = [client for client in clients if client in attackers][: HANDFUL // 2]
    others = [client for client in clients if client not in attackers]
    return sorted([*attacking, *others[: HANDFUL - len(attacking)]])


def point_places(points: list[Row]) -> list[float]:
    """Where a client's points lie on the axis of rounds: evenly within each round."""
    counts = sorted(Counter(row["round"] for row in points).items())
    return [number - 1 + (i + 1) / count for number, count in counts for i in range(count)]


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


def draw_class_means(run: RunData) -> Figure:
    """The last round's weight matrix; the colours leave out in what the classes differ anyway."""
    last = [row for row in run.clients if row["round"] == run.clients[-1]["round"]]
    values = np.array([row["class_mean"] for row in last])  # [n, C]
    title = f"class means of the last layer, round {last[0]['round']}"
    label = "weight, above or below the clients' median"
    shades = values - np.median(values, axis=0)
    return draw_matrix(run, last, values, (title, ".3f", label), shades)


def draw_partition(run: RunData) -> Figure:
    """How many images of each class each client holds."""
    counts = np.array(run.run["class_counts"], dtype=np.float64)  # [clients, C]
    attackers = {client for own in run.config["attack"] for client in own.get("clients", [])}
    rows = [{"client": c, "attacker": c in attackers, "flagged": None} for c in range(len(counts))]
    form = ("training images by client and class", ".0f", "training images")
    return draw_matrix(run, rows, counts, form)


def draw_detection(run: RunData) -> Figure:
    """Clients x rounds: who was left out."""
    clients, rounds = (sorted({row[key] for row in run.clients}) for key in ("client", "round"))
    seen = np.zeros((len(clients), len(rounds)))  # 0: not in the round, 1: kept, 2: flagged
    for row in run.clients:
        seen[clients.index(row["client"]), rounds.index(row["round"])] = 1 + bool(row["flagged"])
    figure, (axes,) = style.new_figure()
    colors = ListedColormap(["white", "lightgrey", "black"])
    axes.imshow(seen, cmap=colors, vmin=0, vmax=2, aspect="auto", interpolation="none")
    rows = [{"client": c, "attacker": c in run.attackers, "flagged": None} for c in clients]
    style.name_clients(axes, rows)
    style.number_ticks(axes.xaxis, rounds)
    axes.set_xlabel("round")
    axes.fill_between([], [], color="lightgrey", label="kept")  # for the legend
    axes.fill_between([], [], color="black", label="left out")
    height = np.clip(ROW * len(clients), *HEIGHTS)
    style.arrange(figure, f"{run.title}, left out by {run.rule}", run.setting, height)
    return figure


def draw_confusion(run: RunData, summary: Row) -> Figure:
    """The final global model, each row in percent of its true class."""
    counts = np.array(summary["confusion_matrix"], dtype=np.float64)  # [C, C]
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    form = ("final model, % of true class", ".1f", "% of the true class")
    return draw_matrix(run, None, shares, form)


def draw_matrix(
    run: RunData, clients: list[Row] | None, values: Array, form: Form, shades: Array | None = None
) -> Figure:
    """A matrix [clients or true classes, classes] in colours, and in numbers where it is small.

    ``shades``: what the colours show instead, of the same shape, blue below 0 and red above."""
    figure, (axes,) = style.new_figure()
    height = np.clip(ROW * len(values), *HEIGHTS)
    names, shown = run.run["class_names"], values if shades is None else shades
    largest = float(np.abs(shown).max()) or 1.0
    low, cmap = (0.0, "Blues") if shades is None else (-largest, "RdBu_r")
    image = axes.imshow(shown, cmap=cmap, vmin=low, vmax=largest, aspect="auto")
    label = style.in_lines(form[2], height, style.LABEL)
    figure.colorbar(image, use_gridspec=False, aspect=height / SCALE, label=label)
    if len(values) <= NUMBERED[0] and len(names) <= NUMBERED[1]:
        for (row, column), value in np.ndenumerate(values):
            color = "white" if abs(shown[row, column]) > 0.6 * largest else "black"
            text = format(value, form[1])
            text = text if style.width_of(text, DIGITS) < CELL else format(value, ".0e")
            how: dict[str, Any] = {"fontsize": DIGITS, "color": color, "in_layout": False}
            axes.text(column, row, text, ha="center", va="center", **how)
    style.name_classes(axes, names, clients is None)
    if clients is not None:
        style.name_clients(axes, clients)
    style.arrange(figure, f"{run.title}, {form[0]}", run.setting, height)
    return figure
