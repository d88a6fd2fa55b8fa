"""What the pictures share: how a run is read back, the colours, and how a figure is saved."""

from __future__ import annotations

import io
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from extra_utils.basics.errors import ConfigError, describe_os_error
from extra_utils.basics.files import write_whole
from extra_utils.config.reader import read_json
from extra_utils.config.values import CountOrZero, Range, check_value
from extra_utils.run.metrics import FILE_NAME, Row, read_metrics

GLOBAL, ATTACKER = "black", "crimson"
HONEST = [mpl.colormaps["tab10"](i) for i in (0, 1, 2, 4, 5, 6, 8, 9)]  # no red, no grey
CELL_TEXT_LIMIT = 20
MOST_NAMES = 40  # rows or columns that are named
MOST_PROBLEMS = 10  # lines of a damaged run that are named; the others are counted
LONGEST_TEXT = 60  # letters of a name in a picture

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
    def attacked(self) -> tuple[str, str] | None:
        """The names of the attack's source and target class, if it has one of each."""
        attack = self.config["attack"] or {}
        source, target = attack.get("source"), attack.get("target")
        if not isinstance(source, int) or not isinstance(target, int):
            return None
        return self.run["class_names"][source], self.run["class_names"][target]

    @property
    def rule(self) -> str:
        """The name of the aggregation rule."""
        defense = self.config.get("defense")
        return readable(str(defense.get("name"))) if isinstance(defense, dict) else "its rule"

    @property
    def attackers(self) -> set[int]:
        return {row["client"] for row in self.clients if row["attacker"]}


def read_run(folder: Path) -> RunData:
    """What is whole of a run's folder; says what is not.

    Raises ConfigError where nothing can be drawn: without its first row nobody knows, for one,
    whether the images were real.
    """
    try:
        rows, problems = read_metrics(folder)
    except OSError as error:
        raise ConfigError(f"{folder}: is not a run's folder: {describe_os_error(error)}") from None
    by_kind: dict[str, list[Row]] = {}
    for row in rows:
        by_kind.setdefault(row["kind"], []).append(row)
    if "run" not in by_kind:
        reason = problems[0] if problems else f"{folder / FILE_NAME}: is empty"
        raise ConfigError(f"{folder}: its run cannot be drawn: {reason}")
    run = by_kind["run"][0]
    run["dataset"] = readable(run["dataset"])
    run["class_names"] = [readable(name) for name in run["class_names"]]
    config = _read_config(folder, len(run["class_names"]), problems)
    for line in problems[:MOST_PROBLEMS]:
        print(f"note: left out: {line}", file=sys.stderr)
    if len(problems) > MOST_PROBLEMS:
        print(f"note: left out: {len(problems) - MOST_PROBLEMS} more", file=sys.stderr)
    return RunData(
        folder,
        config,
        run,
        points=sorted(by_kind.get("point", []), key=lambda row: (row["round"], row["step"])),
        clients=sorted(by_kind.get("client", []), key=lambda row: (row["round"], row["client"])),
        rounds=sorted(by_kind.get("round", []), key=lambda row: row["round"]),
        summary=by_kind["summary"][-1] if "summary" in by_kind else None,
    )


def _read_config(folder: Path, num_classes: int, problems: list[str]) -> dict[str, Any]:
    """The run's config; where it is damaged, what a picture needs of it."""
    path = folder / "config.json"
    number = Annotated[int, Range(0, num_classes - 1)] | Literal["all"] | None
    shapes = {"clients": list[CountOrZero], "source": number, "target": number}
    try:
        config = read_json(path)
        name = check_value(str(path), "name", config.get("name"), str)
        attack = check_value(str(path), "attack", config.get("attack"), dict | None) or {}
        if attack.get("source") == "all":
            attack = {key: value for key, value in attack.items() if key != "target"}
        for key in shapes.keys() & attack.keys():
            check_value(str(path), f"attack.{key}", attack[key], shapes[key])
    except ConfigError as problem:
        problems.append(str(problem))
        return {"name": readable(folder.resolve().name), "attack": None}
    return {**config, "name": readable(name), "attack": attack or None}


def readable(text: str) -> str:
    """A name from a file as a picture can show it."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 3] + "..."


def save(figure: Figure, path: Path) -> None:
    """Writes the figure as PNG, whole or not at all."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a box stands for what no font has
        figure.savefig(
            buffer, format="png", dpi=120, bbox_inches="tight", metadata={"Software": ""}
        )
    write_whole(path, buffer.getvalue())


def draw_matrix(
    axes: Axes, values: NDArray[np.float64], columns: list[str],
    *, numbers: str, shades: NDArray[np.float64] | None = None,
) -> None:  # fmt: skip
    """A matrix [rows, columns] in colours, with its numbers (``numbers`` is their format).

    ``shades`` [rows, columns]: what the colours show instead, blue below 0 and red above. A large
    matrix is drawn without its numbers.
    """
    shown = values if shades is None else shades
    largest = float(np.abs(shown).max()) or 1.0
    low, cmap = (0.0, "Blues") if shades is None else (-largest, "RdBu_r")
    image = axes.imshow(shown, cmap=cmap, vmin=low, vmax=largest, aspect="auto")
    if len(columns) <= MOST_NAMES:
        axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
    if max(values.shape) <= CELL_TEXT_LIMIT:
        for (row, column), value in np.ndenumerate(values):
            color = "white" if abs(shown[row, column]) > 0.6 * largest else "black"
            text = format(value, numbers)
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=color)
    assert axes.figure is not None
    axes.figure.colorbar(image, ax=axes)
