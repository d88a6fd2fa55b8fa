"""Clients, classes and rounds as rows and columns in colours."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from extra_utils.plots import style
from extra_utils.plots.run_data import Array, RunData
from extra_utils.plots.style import ATTACKER, SMALL, TEXT
from extra_utils.run.metrics import Row

CELL_TEXT_LIMIT = 20  # rows or columns up to which a matrix shows its numbers
MOST_NAMES = 40  # rows or columns that are named
CELL, ROW = 0.42, 0.2  # inches, of a cell with its number
Form = tuple[str, str, str]  # a title, the numbers' form (like ".1f"), and what the colours show
HEIGHTS = (2.2, 6.0)  # inches, of a matrix
NAME = 1.5  # inches of a class's name
SLANTED: dict[str, Any] = {"rotation_mode": "anchor", "ha": "right", "va": "center"}
TILTED = 0.17  # inches of a column under which its name stands upright


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
    figure, (axes,) = style.new_figure(np.clip(ROW * len(clients), *HEIGHTS))
    colors = ListedColormap(["white", "lightgrey", "black"])
    axes.imshow(seen, cmap=colors, vmin=0, vmax=2, aspect="auto", interpolation="none")
    rows = [{"client": c, "attacker": c in run.attackers, "flagged": None} for c in clients]
    name_clients(axes, rows)
    style.number_ticks(axes.xaxis, rounds)
    axes.set_xlabel("round")
    handles = [Patch(color="lightgrey", label="kept"), Patch(color="black", label="left out")]
    style.arrange(figure, f"{run.title}, left out by {run.rule}", run.setting, handles=handles)
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

    ``shades``: what the colours show instead, of the same shape, blue below 0 and red above.
    """
    figure, (axes,) = style.new_figure(np.clip(ROW * len(values), *HEIGHTS))
    names, shown = run.run["class_names"], values if shades is None else shades
    largest = float(np.abs(shown).max()) or 1.0
    low, cmap = (0.0, "Blues") if shades is None else (-largest, "RdBu_r")
    image = axes.imshow(shown, cmap=cmap, vmin=low, vmax=largest, aspect="auto")
    style.add_scale(figure, image, form[2])
    width = 0.0
    if max(values.shape) <= CELL_TEXT_LIMIT:
        width = CELL * len(names)
        for (row, column), value in np.ndenumerate(values):
            color = "white" if abs(shown[row, column]) > 0.6 * largest else "black"
            text = format(value, form[1])
            text = text if style.width_of(text, SMALL) < CELL else format(value, ".0e")
            axes.text(column, row, text, ha="center", va="center", fontsize=SMALL, color=color)
    name_classes(axes, names, max(width, style.WIDTH - 2 * NAME) / len(names), clients is None)
    if clients is not None:
        name_clients(axes, clients)
    style.arrange(figure, f"{run.title}, {form[0]}", run.setting, width=width)
    return figure


def name_classes(axes: Axes, names: list[str], width: float, is_both: bool) -> None:
    """Under columns of this width, in inches, or beside rows, too; of many classes some numbers."""
    axes.set_xlabel("class")
    if is_both:
        axes.set(xlabel="predicted", ylabel="true")
    if len(names) > MOST_NAMES:
        style.number_ticks(axes.xaxis, range(len(names)))
        return
    names, how = [style.shortened(name, NAME, TEXT) for name in names], {}
    if max(style.width_of(name, TEXT) for name in names) > width - style.PAD:
        angle, size = (45, TEXT) if width > TILTED else (90, SMALL - 1)
        how = {"rotation": angle, "fontsize": size, **SLANTED}
    axes.set_xticks(range(len(names)), names, **how)
    if is_both:
        axes.set_yticks(range(len(names)), names)


def name_clients(axes: Axes, rows: list[Row]) -> None:
    """Beside rows: attackers in their colour, flagged bold; of many some numbers, and arrows."""
    if len(rows) > MOST_NAMES:
        for key, color, place, marker in (("attacker", ATTACKER, 0, 5), ("flagged", "black", 1, 4)):
            marked = [number for number, row in enumerate(rows) if row[key]]
            size, by_row = min(5.5, 55 / len(rows) ** 0.5), axes.get_yaxis_transform()
            how: dict[str, Any] = {"transform": by_row, "clip_on": False, "scaley": False, "ls": ""}
            axes.plot([place] * len(marked), marked, color=color, marker=marker, ms=size, **how)
        style.number_ticks(axes.yaxis, [row["client"] for row in rows])
        axes.set_ylabel("client (▸ attacker, ◂ flagged)")
        return
    notes = [", ".join(key for key in ("attacker", "flagged") if row[key]) for row in rows]
    both = zip(rows, notes, strict=True)
    names = [f"client {row['client']}" + f" ({note})" * bool(note) for row, note in both]
    axes.set_yticks(range(len(rows)), names)
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(ATTACKER if row["attacker"] else "black")
        label.set_fontweight("bold" if row["flagged"] else "normal")
