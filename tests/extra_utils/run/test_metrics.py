"""The rows of metrics.jsonl."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from extra_utils.aggregation.messages import ClientReport
from extra_utils.basics.errors import ConfigError
from extra_utils.config.keys import AttackConfig
from extra_utils.config.values import check_value
from extra_utils.run.metrics import (
    FILE_NAME,
    READ,
    SCHEMA,
    append_rows,
    cut_metrics,
    make_row,
    read_metrics,
)
from extra_utils.run.recorder import attack_rates, detection, summarize
from extra_utils.training.evaluation import Evaluation
from tests.helpers import read_rows

EVALUATION = Evaluation(torch.tensor([[8, 2], [3, 7]]), torch.tensor([10.0]))


def make_round(number: int, accuracy: float, **keys: Any) -> dict[str, Any]:
    values: dict[str, Any] = dict.fromkeys(SCHEMA["round"])
    values |= {"round": number, "accuracy": accuracy, "loss": 1.0}
    values["detection"] = {"precision": None, "recall": None}
    return make_row("round", **values | keys)


def make_run(class_names: list[str]) -> dict[str, Any]:
    values = dict.fromkeys(SCHEMA["run"], 1) | {"dataset": "d", "synthetic": True}
    counts = [[2] * len(class_names)]
    return make_row("run", **values | {"class_names": class_names, "class_counts": counts})


def write_rows(run_dir: Path, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    (run_dir / FILE_NAME).write_bytes(b"")
    append_rows(run_dir, list(rows))
    return list(rows)


def test_rows_are_one_line_each_and_not_escaped(tmp_path: Path) -> None:
    write_rows(tmp_path, make_run(["猫"]), make_round(1, 1.0, loss=math.inf))
    append_rows(tmp_path, [make_round(2, 1.0, recall=[math.nan, 1.5])])
    text = (tmp_path / FILE_NAME).read_text(encoding="utf-8")
    assert '"猫"' in text
    (_, first, second) = read_rows(tmp_path)
    assert (first["loss"], second["recall"]) == (None, [None, 1.5])
    for line in text.splitlines():
        json.loads(line, parse_constant=pytest.fail)


def test_rows_are_on_disk_when_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr("os.fsync", lambda _: seen.append((tmp_path / FILE_NAME).read_text()))
    write_rows(tmp_path, make_round(1, 1.0))
    assert seen == [(tmp_path / FILE_NAME).read_text()]
    assert seen[0].endswith("}\n")


def test_what_a_run_writes_is_the_schemas(finished_run: Path) -> None:
    rows = read_rows(finished_run)
    assert {row["kind"] for row in rows} == SCHEMA.keys()
    for row in rows:
        assert list(row) == ["kind", *SCHEMA[row["kind"]]]
        for key, (hint, meaning) in SCHEMA[row["kind"]].items():
            assert check_value(row["kind"], key, row[key], hint) == row[key]
            assert meaning


def test_a_row_with_other_keys_than_the_schemas_is_not_made() -> None:
    values = dict.fromkeys(SCHEMA["point"], 1)
    assert list(make_row("point", **values)) == ["kind", *SCHEMA["point"]]
    with pytest.raises(AssertionError, match=r"point: {'lost'}"):
        make_row("point", **values, lost=1)
    del values["loss"]
    with pytest.raises(AssertionError, match=r"point: {'loss'}"):
        make_row("point", **values)


def test_rows_that_lack_what_nobody_reads_are_read(tmp_path: Path) -> None:
    rows = [make_run(["a", "b"]), make_round(0, 1.0)]
    older = [{key: row[key] for key in ("kind", *READ[row["kind"]])} for row in rows]
    write_rows(tmp_path, *older)
    assert read_metrics(tmp_path) == (older, [])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"kind": "round", "rou', "is not JSON, or cut off"),
        ('{"kind": "lap"}', "is no row of a kind that is known"),
        ("[1]", "is no row of a kind that is known"),
        ('{"kind": "point", "round": 1, "step": 1}', "client: is missing"),
        ('{"kind": "point", "round": 0}', "round: got 0, must be a whole number from 1 to"),
    ],
)
def test_a_damaged_or_foreign_line_is_named(line: str, problem: str, tmp_path: Path) -> None:
    rows = write_rows(tmp_path, make_run(["a", "b"]), make_round(0, 1.0))
    with (tmp_path / FILE_NAME).open("a") as file:
        file.write(line)
    found, problems = read_metrics(tmp_path)
    assert found == rows
    assert len(problems) == 1
    assert problems[0].startswith(f"{tmp_path / FILE_NAME}: line 3: {problem}")


@pytest.mark.parametrize("value", [-0.5, 100.5, "50", None])
def test_a_share_is_from_0_to_100_percent(value: object, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"")
    row = make_round(1, 1.0) | {"accuracy": value}
    append_rows(tmp_path, [make_run(["a"]), row])
    _, (problem,) = read_metrics(tmp_path)
    assert "line 2: accuracy: got " in problem


@pytest.mark.parametrize(("names", "counts"), [([], [[]]), (["a"], []), ([], [])])
def test_a_run_has_a_class_and_a_client(
    names: list[str], counts: list[list[int]], tmp_path: Path
) -> None:
    write_rows(tmp_path, make_run(names) | {"class_counts": counts})
    found, (problem,) = read_metrics(tmp_path)
    assert found == []
    assert problem.endswith("line 1: names no class or no client")


CLIENT = {"round": 1, "client": 0, "attacker": False, "flagged": None}
SUMMARY = dict.fromkeys(READ["summary"], 1.0)


@pytest.mark.parametrize(
    ("row", "is_right"),
    [
        ({"kind": "client", **CLIENT, "class_mean": [0.5, 0.5]}, True),
        ({"kind": "client", **CLIENT, "class_mean": [0.5]}, False),
        ({"kind": "client", **CLIENT, "class_mean": [0.5, 0.5, 0.5]}, False),
        ({"kind": "summary", **SUMMARY, "confusion_matrix": [[1, 0], [0, 1]]}, True),
        ({"kind": "summary", **SUMMARY, "confusion_matrix": [[1, 0]]}, False),
        ({"kind": "summary", **SUMMARY, "confusion_matrix": [[1], [0]]}, False),
        (make_run(["a", "b"]) | {"class_counts": [[1, 0], [0, 0]]}, True),
        (make_run(["a", "b"]) | {"class_counts": [[1, 0], [1]]}, False),
    ],
)
def test_lists_have_one_entry_for_each_class(
    row: dict[str, Any], is_right: bool, tmp_path: Path
) -> None:
    rows = write_rows(tmp_path, make_run(["a", "b"]), row)
    wrong = f"{tmp_path / FILE_NAME}: line 2: a list has not one entry for each class"
    assert read_metrics(tmp_path) == ((rows, []) if is_right else (rows[:1], [wrong]))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0, 100.0])
def test_a_share_may_be_nothing_or_all(share: float, tmp_path: Path) -> None:
    rows = write_rows(tmp_path, make_run(["a"]), make_round(0, share, attack_success_rate=share))
    assert read_metrics(tmp_path) == (rows, [])


def test_only_a_rounds_own_row_ends_the_reading(tmp_path: Path) -> None:
    point = {"kind": "point", "round": 2, "client": 0, "step": 1, "loss": 1.0, "accuracy": 1.0}
    rows = write_rows(tmp_path, make_run(["a"]), make_round(0, 1.0), point, make_round(2, 1.0))
    append_rows(tmp_path, [make_round(3, 1.0)])
    assert read_metrics(tmp_path, 2) == (rows, [])


def test_rows_after_a_round_are_cut_off(tmp_path: Path) -> None:
    rows = write_rows(tmp_path, make_run(["a"]), *[make_round(n, 1.0) for n in range(4)])
    before = (tmp_path / FILE_NAME).read_bytes()
    with (tmp_path / FILE_NAME).open("a") as file:
        file.write('{"kind": "cli')
    assert cut_metrics(tmp_path, 3) == rows
    assert (tmp_path / FILE_NAME).read_bytes() == before
    assert cut_metrics(tmp_path, 1) == rows[:3]
    assert (tmp_path / FILE_NAME).read_bytes() == b"".join(before.splitlines(keepends=True)[:3])


def test_a_round_is_found_however_its_line_is_written(tmp_path: Path) -> None:
    rows = write_rows(tmp_path, make_run(["a"]), make_round(0, 1.0), make_round(1, 1.0))
    texts = [json.dumps(dict(reversed(row.items())), separators=(",", ":")) for row in rows]
    (tmp_path / FILE_NAME).write_text("\n".join(texts))  # its last line has no end
    assert cut_metrics(tmp_path, 1) == rows
    append_rows(tmp_path, [make_round(2, 1.0)])
    assert read_metrics(tmp_path) == ([*rows, make_round(2, 1.0)], [])


def test_what_cannot_be_cut_back_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lacks round 1, which the checkpoint has"):
        cut_metrics(tmp_path, 1)
    write_rows(tmp_path, make_run(["a"]), make_round(0, 1.0), {"kind": "?"}, make_round(1, 1.0))
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(ConfigError, match="line 3: is no row of a kind that is known"):
        cut_metrics(tmp_path, 1)
    assert (tmp_path / FILE_NAME).read_bytes() == before


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
    return ClientReport(client_id, 1, 0, None, 0.0, [], [], flagged)


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
    assert attack_rates(EVALUATION, [attack]) == rates
    nothing = {"source_recall": None, "attack_success_rate": None}
    assert attack_rates(EVALUATION, []) == nothing
    assert attack_rates(EVALUATION, [AttackConfig(name="other")]) == nothing
    both = [AttackConfig(name="other"), attack, AttackConfig(name="label_flip")]
    assert attack_rates(EVALUATION, both) == rates
