"""metrics.jsonl: one JSON object a line, by ``kind``. Accuracies and rates are in percent."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extra_utils.basics.files import naming, write_whole
from extra_utils.config.keys import AttackConfig

if TYPE_CHECKING:  # main.py reads metrics before torch is there
    from extra_utils.aggregation.messages import ClientReport
    from extra_utils.training.evaluation import Evaluation

Row = dict[str, Any]
FILE_NAME = "metrics.jsonl"
SUMMARY_ROUNDS = 3
PARTS = ("train", "aggregate", "evaluate", "save")


class MetricsWriter:
    """Appends rows to a run's metrics.jsonl, which is on disk when ``write`` returns."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / FILE_NAME

    def create(self) -> None:
        """An empty file, in place of one from before round 1."""
        write_whole(self._path, b"")

    def write(self, rows: list[Row]) -> None:
        """Raises OSError where the file is gone: a new one would lack the rows before."""
        text = "".join(json.dumps(clean(row), ensure_ascii=False) + "\n" for row in rows)
        with naming(self._path), self._path.open("r+b") as file:
            file.seek(0, os.SEEK_END)
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())  # before the checkpoint that counts on these rows


class Stopwatch:
    """The seconds of a round's parts, which sum to the round."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.seconds = dict.fromkeys(PARTS, 0.0)

    def lap(self, part: str) -> None:
        """All time since the last lap was spent on this part."""
        now = time.perf_counter()
        self.seconds[part] += now - self._last
        self._last = now

    def restart(self) -> dict[str, float]:
        """The finished round's seconds."""
        done, self.seconds = self.seconds, dict.fromkeys(PARTS, 0.0)
        return done


def attack_rates(evaluation: Evaluation, attack: AttackConfig | None) -> Row:
    """How the source class fares on the clean test images; null without an attack that has one."""
    parameters = attack.parameters if attack else {}
    source, target = parameters.get("source"), parameters.get("target")
    if not isinstance(source, int) or not isinstance(target, int):
        return {"source_recall": None, "attack_success_rate": None}
    return {
        "source_recall": evaluation.rate(source, source),
        "attack_success_rate": evaluation.rate(source, target),
    }


def detection(reports: list[ClientReport], attackers: set[int]) -> Row:
    """Precision and recall in percent of the flags among a round's clients.

    Recall is null without attackers in the round, precision without flags; both are by a rule that
    does not flag.
    """
    if not reports or reports[0].flagged is None:
        return {"precision": None, "recall": None}
    flagged = {report.client_id for report in reports if report.flagged}
    present = {report.client_id for report in reports} & attackers
    hits = len(flagged & present)
    return {
        "precision": 100.0 * hits / len(flagged) if flagged else None,
        "recall": 100.0 * hits / len(present) if present else None,
    }


def summarize(rounds: list[Row], evaluation: Evaluation) -> Row:
    """The mean of the last rounds, and the final model's confusion matrix, rows true."""
    last = [row for row in rounds if row["round"] > 0][-SUMMARY_ROUNDS:]
    keys = ("accuracy", "loss", "source_recall", "attack_success_rate", "backdoor_success_rate")
    means = {key: _mean([row[key] for row in last]) for key in keys}
    detection = {
        key: _mean([row["detection"][key] for row in last]) for key in ("precision", "recall")
    }
    matrix = evaluation.confusion.tolist()
    return {"kind": "summary", **means, "detection": detection, "confusion_matrix": matrix}


def versions() -> dict[str, str]:
    """Of all that a figure may depend on."""
    from importlib.metadata import version

    packages = {name: version(name) for name in ("torch", "torchvision", "numpy")}
    return {"python": platform.python_version(), **packages}


def clean(value: Any) -> Any:
    """JSON has no NaN and no Infinity: they become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: clean(entry) for key, entry in value.items()}
    return [clean(entry) for entry in value] if isinstance(value, list) else value


def _mean(values: list[float | None]) -> float | None:
    """The mean of those that are there; null without any."""
    numbers = [value for value in values if value is not None and math.isfinite(value)]
    return statistics.fmean(numbers) if numbers else None
