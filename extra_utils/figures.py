"""What the pictures share: how a run is read back, the colours, and how a figure is saved."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from extra_utils.errors import ConfigError
from extra_utils.files import write_whole
from extra_utils.metrics import Row, read_metrics

GLOBAL, ATTACKER = "black", "crimson"
HONEST = [mpl.colormaps["tab10"](i) for i in (0, 1, 2, 4, 5, 6, 8, 9)]  # no red, no grey
CELL_TEXT_LIMIT = 20

mpl.rcParams["text.parse_math"] = False  # a $ in a name is a $
mpl.rcParams.update({"font.sans-serif": [
    "DejaVu Sans", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "SimHei", "Arial Unicode MS"
]})  # fmt: skip


@dataclass(frozen=True)
class RunData:
    """A run's folder as it was read: the config, and metrics.jsonl's rows by kind."""

    folder: Path
    config: dict[str, Any]
    run: Row
    points: list[Row] = field(default_factory=list)
    clients: list[Row] = field(default_factory=list)
    rounds: list[Row] = field(default_factory=list)
    summary: Row | None = None

    @property
    def title(self) -> str:
        """The run in a few words; a synthetic data set's name says that it is one."""
        return f"{self.config['name']}: {self.run['dataset']}"

    @property
    def attackers(self) -> set[int]:
        return {row["client"] for row in self.clients if row["attacker"]}


def read_run(folder: Path) -> RunData:
    """Raises ConfigError where the folder is not that of a run."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        rows = read_metrics(folder)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder}: is not a run's folder: {error}") from None
    by_kind: dict[str, list[Row]] = {}
    for row in rows:
        by_kind.setdefault(row["kind"], []).append(row)
    if not by_kind.get("run"):
        raise ConfigError(f"{folder}: metrics.jsonl holds no run")
    return RunData(
        folder,
        config,
        run=by_kind["run"][0],
        points=by_kind.get("point", []),
        clients=by_kind.get("client", []),
        rounds=by_kind.get("round", []),
        summary=by_kind["summary"][-1] if "summary" in by_kind else None,
    )


def save(figure: Figure, path: Path) -> None:
    """Writes the figure as PNG, whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, bbox_inches="tight", metadata={"Software": ""})
    write_whole(path, buffer.getvalue())


def draw_matrix(
    axes: Axes, values: NDArray[np.float64], columns: list[str],
    *, numbers: str, diverging: bool = False,
) -> None:  # fmt: skip
    """A matrix [rows, columns] in colours, with its numbers (``numbers`` is their format).

    A large matrix is drawn without its numbers.
    """
    largest = float(np.abs(values).max()) or 1.0
    low, high = (-largest, largest) if diverging else (0.0, largest)
    image = axes.imshow(
        values, cmap="RdBu_r" if diverging else "Blues", vmin=low, vmax=high, aspect="auto"
    )
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
    if max(values.shape) <= CELL_TEXT_LIMIT:
        for (row, column), value in np.ndenumerate(values):
            color = "white" if abs(value) > 0.6 * largest else "black"
            text = format(value, numbers)
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=color)
    assert axes.figure is not None
    axes.figure.colorbar(image, ax=axes)
