"""What rank 0 writes down, round by round, and in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from extra_utils.aggregation.messages import ClientReport, Point, RoundResult
from extra_utils.basics.heartbeat import RankHeartbeat
from extra_utils.config.keys import AttackConfig
from extra_utils.distributed_utils import Ranks
from extra_utils.processes.launch import Job
from extra_utils.run import metrics
from extra_utils.run.checkpoint import NAME, load_checkpoint
from extra_utils.run.recorder import MainRecorder
from extra_utils.training.evaluation import Evaluation
from tests.helpers import make_config, make_dataset, read_rows

FLIP = AttackConfig(
    name="label_flip", clients=[1], start_round=2, parameters={"source": 0, "target": 1}
)
WHOSE = {"seed": 0}
TOLD = ["warning: nobody attacks"]


def make_recorder(folder: Path, done: int | None = None, **keys: Any) -> MainRecorder:
    ranks = Ranks(0, 1, RankHeartbeat())
    config = make_config(global_epochs=5, attack=[FLIP], defense=DEFENSE, **keys)
    return MainRecorder(ranks, Job(config, folder, TOLD), done, WHOSE)


DEFENSE = make_config().defense


def evaluation_of(number: int) -> Evaluation:
    """Of a hundred images so many more are right in each round."""
    return Evaluation(torch.tensor([[number, 50 - number], [0, 50]]), torch.tensor([100.0]))


def result_of(number: int, flagged: bool | None = None) -> RoundResult:
    points = [Point(1, 2, 0.5 * number, 10.0 * number)]
    reports = [
        ClientReport(c, 9, c, 0.5, 0.1 * number, [1.0 * c] * 10, points, flagged and c == 1)
        for c in range(2)
    ]
    nothing = torch.zeros(0, dtype=torch.int64)
    return RoundResult(nothing, nothing, reports, {"memory": np.full(2, number)})


def begin(found: MainRecorder, model: nn.Module) -> None:
    found.begin(make_dataset(num_test=100), model, [[9] * 10] * 2, evaluation_of(0))


def do_rounds(found: MainRecorder, model: nn.Module, *numbers: int) -> None:
    for number in numbers:
        with torch.no_grad():
            model.get_parameter("weight").fill_(number)
        found.end_round(number, model, evaluation_of(number), result_of(number))


def kept(folder: Path) -> int | None:
    found = load_checkpoint(folder / NAME, WHOSE)
    return found.round_index if found else None


@pytest.mark.parametrize(
    ("every", "expected"),
    [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 0, 2, 2, 4, 5]), (9, [0, 0, 0, 0, 0, 5]), (0, [None] * 6)],
)
def test_a_checkpoint_is_kept_when_it_is_due_and_after_the_last_round(
    every: int, expected: list[int | None], tmp_path: Path
) -> None:
    found, model = make_recorder(tmp_path, checkpoint_every=every), nn.Linear(1, 1)
    begin(found, model)
    stand = [kept(tmp_path)]
    for number in range(1, 6):
        do_rounds(found, model, number)
        stand.append(kept(tmp_path))
    assert stand == expected
    last = load_checkpoint(tmp_path / NAME, WHOSE)
    if last:
        assert last.model["weight"].item() == 5
        assert last.rule["memory"].tolist() == [5, 5]


def test_a_rounds_rows_are_written_before_its_checkpoint_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand, append = [], metrics.append_rows

    def spy(folder: Path, rows: list[metrics.Row]) -> None:
        append(folder, rows)
        stand.append((rows[-1]["kind"], rows[-1].get("round"), kept(folder)))

    monkeypatch.setattr(metrics, "append_rows", spy)
    found, model = make_recorder(tmp_path, checkpoint_every=2), nn.Linear(1, 1)
    begin(found, model)
    do_rounds(found, model, 1, 2, 3)
    rounds = [("round", 0, None), ("round", 1, 0), ("round", 2, 0), ("round", 3, 2)]
    assert stand == [("run", None, None), *rounds]


def test_a_round_whose_rows_cannot_be_written_leaves_the_checkpoint_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, model = make_recorder(tmp_path), nn.Linear(1, 1)
    begin(found, model)
    do_rounds(found, model, 1)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(metrics, "append_rows", fail)
    with pytest.raises(OSError, match="disk full"):
        do_rounds(found, model, 2)
    assert kept(tmp_path) == 1
    assert {path.name for path in tmp_path.iterdir()} == {
        NAME,
        "metrics.jsonl",
        "class_indices.json",
    }


def test_seconds_and_bytes_are_of_their_round_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    found, model = make_recorder(tmp_path), nn.Linear(1, 1)

    def spend(part: str, seconds: float, num_bytes: int) -> None:
        now[0] += seconds
        found.lap(part)
        found._ranks.num_bytes += num_bytes

    now[0], found._ranks.num_bytes = 7.0, 100
    begin(found, model)  # of round 0: the evaluation
    spend("train", 2.0, 40)
    spend("aggregate", 1.0, 2)
    spend("train", 0.5, 0)  # once more
    do_rounds(found, model, 1)
    spend("train", 5.0, 80)
    do_rounds(found, model, 2)
    rows = read_rows(tmp_path, "round")
    assert [row["bytes_per_rank"] for row in rows] == [100, 42, 80]
    assert [list(row["seconds"].values()) for row in rows] == [
        [0, 0, 7.0, 0],
        [2.5, 1.0, 0, 0],
        [5.0, 0, 0, 0],
    ]


def test_after_a_resume_seconds_and_bytes_begin_again_and_the_summary_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, model = [0.0], nn.Linear(1, 1)
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    first = make_recorder(tmp_path)
    begin(first, model)
    do_rounds(first, model, 1, 2, 3, 4)
    again = make_recorder(tmp_path, done=3)
    now[0], again._ranks.num_bytes = 50.0, 1000  # the test of the restored model
    begin(again, model)
    assert [row["round"] for row in read_rows(tmp_path, "round")] == [0, 1, 2, 3]
    now[0] += 2.0
    again.lap("train")
    again._ranks.num_bytes += 5
    do_rounds(again, model, 4, 5)
    fourth = read_rows(tmp_path, "round")[4]
    assert (fourth["bytes_per_rank"], sum(fourth["seconds"].values())) == (5, 2.0)
    again.finish(model, evaluation_of(5))
    (summary,) = read_rows(tmp_path, "summary")
    assert summary["accuracy"] == 50 + 4  # of rounds 3, 4 and 5, of which one was before
    assert summary["confusion_matrix"] == [[5, 45], [0, 50]]
    (run,) = read_rows(tmp_path, "run")
    assert run["warnings"] == TOLD
    saved = torch.load(tmp_path / "model.pth", weights_only=True)
    assert saved["weight"].item() == 5


def test_rows_say_who_attacked_in_which_round_and_what_each_client_sent(tmp_path: Path) -> None:
    found, model = make_recorder(tmp_path), nn.Linear(1, 1)
    begin(found, model)
    do_rounds(found, model, 1)
    found.end_round(2, model, evaluation_of(2), result_of(2, flagged=True))
    clients = read_rows(tmp_path, "client")
    assert [(row["round"], row["client"]) for row in clients] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert [row["attacker"] for row in clients] == [False, False, False, True]  # from round 2 on
    assert [row["flagged"] for row in clients] == [None, None, False, True]
    assert [row["edited_labels"] for row in clients] == [0, 1, 0, 1]
    assert [row["train_loss"] for row in clients] == [0.1, 0.1, 0.2, 0.2]
    points = read_rows(tmp_path, "point")
    assert [(p["round"], p["client"], p["loss"], p["accuracy"]) for p in points] == [
        (1, 0, 0.5, 10.0),
        (1, 1, 0.5, 10.0),
        (2, 0, 1.0, 20.0),
        (2, 1, 1.0, 20.0),
    ]
    _, first, second = read_rows(tmp_path, "round")
    assert first["detection"] == {"precision": None, "recall": None}
    assert second["detection"] == {"precision": 100.0, "recall": 100.0}
    rates = ("source_recall", "attack_success_rate", "accuracy", "loss", "recall")
    assert [second[key] for key in rates] == [4.0, 96.0, 52.0, 1.0, [4.0, 100.0]]
