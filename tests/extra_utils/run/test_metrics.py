"""The rows of metrics.jsonl."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from extra_utils.aggregation.messages import ClientReport
from extra_utils.config.keys import AttackConfig
from extra_utils.run.metrics import (
    MetricsWriter,
    Stopwatch,
    attack_rates,
    detection,
    summarize,
    versions,
)
from extra_utils.training.evaluation import Evaluation
from tests.helpers import read_rows

EVALUATION = Evaluation(torch.tensor([[8, 2], [3, 7]]), torch.tensor([10.0]))


def make_round(number: int, accuracy: float, **keys: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": "round", "round": number, "accuracy": accuracy, "loss": 1.0}
    row |= dict.fromkeys(("source_recall", "attack_success_rate", "backdoor_success_rate"))
    return row | {"detection": {"precision": None, "recall": None}} | keys


def test_rows_are_one_line_each_and_not_escaped(tmp_path: Path) -> None:
    writer = MetricsWriter(tmp_path)
    writer.create()
    writer.write([{"kind": "run", "class_names": ["猫"]}, {"kind": "round", "loss": math.inf}])
    writer.write([{"kind": "round", "loss": [math.nan, 1.5]}])
    text = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8")
    assert '"猫"' in text
    assert [row.get("loss") for row in read_rows(tmp_path)] == [None, None, [None, 1.5]]
    for line in text.splitlines():
        json.loads(line, parse_constant=pytest.fail)


def test_the_summary_is_the_mean_of_the_last_three_rounds() -> None:
    rounds = [make_round(number, 10.0 * number) for number in range(6)]
    summary = summarize(rounds, EVALUATION)
    assert summary["accuracy"] == 40.0
    assert summary["source_recall"] is None
    assert summary["confusion_matrix"] == [[8, 2], [3, 7]]
    assert summarize(rounds[:2], EVALUATION)["accuracy"] == 10.0  # not round 0


def test_what_is_null_in_some_rounds_is_averaged_over_the_others() -> None:
    rounds = [make_round(1, 1.0, source_recall=50.0), make_round(2, 1.0, source_recall=None)]
    assert summarize(rounds, EVALUATION)["source_recall"] == 50.0


def make_report(client_id: int, flagged: bool | None) -> ClientReport:
    return ClientReport(client_id, 1, None, 0.0, [], [], flagged)


@pytest.mark.parametrize(
    ("flags", "attackers", "precision", "recall"),
    [
        ({1, 2, 4}, {1, 3, 9}, 100 / 3, 50.0),  # client 9 is not in this round
        ({2}, {1, 3}, 0.0, 0.0),
        (set(), {1, 3}, None, 0.0),  # no flag is not a right one
        ({2}, {9}, 0.0, None),
        (None, {1, 3}, None, None),  # a rule that does not flag
    ],
)
def test_detection_is_the_definitions(
    flags: set[int] | None, attackers: set[int], precision: float | None, recall: float | None
) -> None:
    reports = [make_report(client, None if flags is None else client in flags)
               for client in range(5)]  # fmt: skip
    found = detection(reports, attackers)
    assert found == {"precision": pytest.approx(precision), "recall": pytest.approx(recall)}


def test_attack_rates_are_the_definitions() -> None:
    attack = AttackConfig(name="label_flip", clients=[], parameters={"source": 0, "target": 1})
    rates = {"source_recall": 80.0, "attack_success_rate": 20.0}
    assert attack_rates(EVALUATION, attack) == rates
    nothing = {"source_recall": None, "attack_success_rate": None}
    assert attack_rates(EVALUATION, None) == nothing
    assert attack_rates(EVALUATION, AttackConfig(name="other")) == nothing


def test_a_rounds_parts_sum_to_the_round(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1.0, 3.0, 4.0, 4.5, 10.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    stopwatch = Stopwatch()
    for part in ("train", "save", "train"):
        stopwatch.lap(part)
    seconds = stopwatch.restart()
    assert seconds == {"train": 2.5, "aggregate": 0, "evaluate": 0, "save": 1.0}
    stopwatch.lap("evaluate")
    assert stopwatch.restart()["evaluate"] == 5.5


def test_versions_name_what_computes() -> None:
    assert set(versions()) == {"python", "torch", "torchvision", "numpy"}
