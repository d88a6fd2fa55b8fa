"""Reads metrics.jsonl back: the rows that are whole, and a line for each that is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from extra_utils.basics.errors import ConfigError
from extra_utils.config.values import Count, CountOrZero, Range, check_value
from extra_utils.run.metrics import FILE_NAME, Row

Percent = Annotated[float, Range(0, 100)]
Real = Annotated[float, Range(-3.4e38, 3.4e38)]  # float32's
RATES = {"accuracy": Percent, "loss": Real | None, "source_recall": Percent | None,
         "attack_success_rate": Percent | None}  # fmt: skip
SHAPES: dict[str, dict[str, Any]] = {  # what readers rely on, by kind
    "run": {
        "dataset": str,
        "synthetic": bool,
        "class_names": list[str],
        "class_counts": list[list[CountOrZero]],
    },
    "point": {
        "round": Count,
        "client": CountOrZero,
        "step": Count,
        "loss": Real | None,
        "accuracy": Percent,
    },
    "client": {
        "round": Count,
        "client": CountOrZero,
        "class_mean": list[Real],
        "attacker": bool,
        "flagged": bool | None,
    },
    "round": {"round": CountOrZero, **RATES},
    "summary": {**RATES, "confusion_matrix": list[list[CountOrZero]]},
}


def read_metrics(run_dir: Path) -> tuple[list[Row], list[str]]:
    """All whole rows of a run, and for each other line what is wrong with it.

    Raises OSError where there is no file.
    """
    rows: list[Row] = []
    problems: list[str] = []
    num_classes: int | None = None
    for number, line in enumerate((run_dir / FILE_NAME).read_bytes().splitlines(), start=1):
        where = f"{run_dir / FILE_NAME}: line {number}"
        try:
            row = _read_row(where, line)
            num_classes = len(row["class_names"]) if row["kind"] == "run" else num_classes
            _check_classes(where, row, num_classes)
        except ConfigError as problem:
            problems.append(str(problem))
        else:
            rows.append(row)
    return rows, problems


def _read_row(where: str, line: bytes) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise ConfigError(f"{where}: is not JSON, or cut off") from None
    kind = row.get("kind") if isinstance(row, dict) else None
    if not isinstance(kind, str) or kind not in SHAPES:
        raise ConfigError(f"{where}: is no row of a kind that is known")
    for key, hint in SHAPES[kind].items():
        if key not in row:
            raise ConfigError(f"{where}: {key}: is missing")
        check_value(where, key, row[key], hint)
    return dict(row)


def _check_classes(where: str, row: Row, num_classes: int | None) -> None:
    """A ConfigError when a row has figures for another number of classes than the run."""
    matrix = row.get("confusion_matrix", [])
    vectors = [*row.get("class_counts", []), *matrix]
    vectors += [row[key] for key in ("class_mean", "confusion_matrix") if key in row]
    if any(len(vector) != num_classes for vector in vectors):
        raise ConfigError(f"{where}: a list has not one entry for each class")
    if row["kind"] == "run" and not (num_classes and row["class_counts"]):
        raise ConfigError(f"{where}: names no class or no client")
