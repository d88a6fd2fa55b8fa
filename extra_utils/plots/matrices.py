"""Clients, classes and rounds as rows and columns in colours."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from extra_utils.plots.curves import ATTACKER
from extra_utils.plots.run_data import Array, RunData
from extra_utils.run.metrics import Row

CELL_TEXT_LIMIT = 20  # rows or columns up to which a matrix shows its numbers
MOST_NAMES = 40  # rows or columns that are named


def draw_class_means(run: RunData) -> Figure:
    """The weight matrix, clients x classes, of the last round.

    The colours show how far each client is from the others, since classes differ anyway.
    """
    last = [row for row in run.clients if row["round"] == run.clients[-1]["round"]]
    values = np.array([row["class_mean"] for row in last])  # [n, C]
    title = f"class means of the last layer, round {last[0]['round']}"
    figure = draw_clients(run, last, values, title, ".3f", values - np.median(values, axis=0))
    figure.axes[1].set_ylabel("above or below the clients' median")
    return figure


def draw_partition(run: RunData) -> Figure:
    """How many images of each class each client holds."""
    counts = np.array(run.run["class_counts"], dtype=np.float64)  # [clients, C]
    attackers = (run.config["attack"] or {}).get("clients", [])
    rows = [{"client": c, "attacker": c in attackers, "flagged": None} for c in range(len(counts))]
    return draw_clients(run, rows, counts, "training images by client and class", ".0f")


def draw_detection(run: RunData) -> Figure:
    """Clients x rounds: who was left out."""
    clients = sorted({row["client"] for row in run.clients})
    rounds = sorted({row["round"] for row in run.clients})
    seen = np.zeros((len(clients), len(rounds)))  # 0: not in the round, 1: kept, 2: flagged
    for row in run.clients:
        seen[clients.index(row["client"]), rounds.index(row["round"])] = 1 + bool(row["flagged"])
    lines, columns = (min(size, MOST_NAMES) for size in seen.shape)
    figure = Figure(figsize=(3.5 + 0.3 * columns, 1.5 + 0.25 * lines))
    axes = figure.add_subplot()
    colors = ListedColormap(["white", "lightgrey", "black"])
    axes.imshow(seen, cmap=colors, vmin=0, vmax=2, aspect="auto", interpolation="none")
    rows = [{"client": c, "attacker": c in run.attackers, "flagged": None} for c in clients]
    name_clients(axes, rows, edge=len(rounds) - 0.5)
    step = -(-len(rounds) // MOST_NAMES)
    axes.set_xticks(range(0, len(rounds), step), [str(number) for number in rounds[::step]])
    axes.set(xlabel="round", title=f"{run.title}, left out by {run.rule}")
    handles = [Patch(color="lightgrey", label="kept"), Patch(color="black", label="left out")]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def draw_confusion(run: RunData, summary: Row) -> Figure:
    """The final global model, each row in percent of its true class."""
    counts = np.array(summary["confusion_matrix"], dtype=np.float64)  # [C, C]
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = min(len(counts), MOST_NAMES)
    figure = Figure(figsize=(2 + 0.75 * size, 1.5 + 0.6 * size))
    axes = draw_matrix(figure, run, shares, ".1f")
    if len(counts) <= MOST_NAMES:
        axes.set_yticks(range(len(counts)), run.run["class_names"])
    axes.set(xlabel="predicted", ylabel="true", title=f"{run.title}, final model, % of true class")
    return figure


def draw_clients(
    run: RunData, rows: list[Row], values: Array, title: str, form: str, shades: Array | None = None
) -> Figure:
    """Clients x classes, with the clients of the rows named."""
    lines, columns = (min(size, MOST_NAMES) for size in values.shape)
    figure = Figure(figsize=(2 + 0.8 * columns, 2.2 + 0.35 * lines))
    axes = draw_matrix(figure, run, values, form, shades)
    axes.set_title(f"{run.title}, {title}")
    name_clients(axes, rows, edge=values.shape[1] - 0.5)
    return figure


def draw_matrix(
    figure: Figure, run: RunData, values: Array, form: str, shades: Array | None = None
) -> Axes:
    """A matrix [rows, classes] in colours, with its numbers in the given form (like ".1f").

    ``shades`` [rows, classes]: what the colours show instead, blue below 0 and red above. A large
    matrix is drawn without its numbers.
    """
    axes, names = figure.add_subplot(), run.run["class_names"]
    shown = values if shades is None else shades
    largest = float(np.abs(shown).max()) or 1.0
    low, cmap = (0.0, "Blues") if shades is None else (-largest, "RdBu_r")
    image = axes.imshow(shown, cmap=cmap, vmin=low, vmax=largest, aspect="auto")
    if len(names) <= MOST_NAMES:
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    if max(values.shape) <= CELL_TEXT_LIMIT:
        for (row, column), value in np.ndenumerate(values):
            color = "white" if abs(shown[row, column]) > 0.6 * largest else "black"
            text = format(value, form)
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=color)
    figure.colorbar(image, ax=axes)
    return axes


def name_clients(axes: Axes, rows: list[Row], *, edge: float) -> None:
    """Beside a matrix whose last column ends at ``edge``: attackers red, flagged clients bold.

    Many clients have no names: red arrows point at attackers, black ones at flagged clients.
    """
    marks = (("attacker", ATTACKER, -0.6, ">"), ("flagged", "black", edge + 0.1, "<"))
    if len(rows) > MOST_NAMES:
        for key, color, place, marker in marks:
            marked = [number for number, row in enumerate(rows) if row[key]]
            places, size = [place] * len(marked), min(30.0, 3000 / len(rows))
            axes.scatter(places, marked, color=color, marker=marker, s=size, clip_on=False)
        axes.set_ylabel(f"{len(rows)} clients, attackers red")
        return
    axes.set_yticks(range(len(rows)), [client_name(row) for row in rows])
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(ATTACKER if row["attacker"] else "black")
        label.set_fontweight("bold" if row["flagged"] else "normal")


def client_name(row: Row) -> str:
    notes = [note for note in ("attacker", "flagged") if row[note]]
    return f"client {row['client']}" + (f" ({', '.join(notes)})" if notes else "")
